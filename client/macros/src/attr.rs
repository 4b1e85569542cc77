//! Reads what stands in the brackets of an attribute.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, LitBool, LitStr, Path, Result, Token, parenthesized};

/// Which macro it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Macro {
    Execution,
    ApiRequest,
    DatabaseOperation,
    TaskExecution,
    Errors,
}

impl Macro {
    /// Returns the arguments that it must have, and those that it may have.
    fn arguments(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Execution => (&[], &["metric_name", "log_args", "skip", "severity"]),
            Self::ApiRequest => (&["endpoint", "method"], &[]),
            Self::DatabaseOperation => (&["operation", "table"], &[]),
            Self::TaskExecution => (&["task_name"], &[]),
            Self::Errors => (&[], &["severity"]),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Execution => "monitor_execution",
            Self::ApiRequest => "monitor_api_request",
            Self::DatabaseOperation => "monitor_database_operation",
            Self::TaskExecution => "monitor_task_execution",
            Self::Errors => "track_errors",
        }
    }
}

/// What is written in the brackets.
#[derive(Default)]
pub(crate) struct Arguments {
    /// Texts by their names.
    texts: Vec<(String, LitStr)>,
    pub(crate) log_args: bool,
    pub(crate) skip: Vec<Ident>,
    /// The severity as an expression.
    pub(crate) severity: Option<TokenStream>,
}

impl Arguments {
    /// Returns the text of argument `name`.
    pub(crate) fn text(&self, name: &str) -> Option<&LitStr> {
        self.texts.iter().find(|(known, _)| known == name).map(|(_, text)| text)
    }

    /// Reads them.
    pub(crate) fn parse(which: Macro, input: ParseStream<'_>) -> Result<Self> {
        let (needed, optional) = which.arguments();
        let mut arguments = Self::default();
        let mut seen: Vec<String> = Vec::new();
        while !input.is_empty() {
            let name: Ident = input
                .call(Ident::parse_any)
                .map_err(|error| Error::new(error.span(), format!("expected `name = value`, one of {}", list(needed, optional))))?;
            let word = name.to_string();
            if !needed.contains(&word.as_str()) && !optional.contains(&word.as_str()) {
                return Err(Error::new(
                    name.span(),
                    format!("`{}` has no argument `{word}`: expected {}", which.name(), list(needed, optional)),
                ));
            }
            if seen.contains(&word) {
                return Err(Error::new(name.span(), format!("`{word}` is given twice")));
            }
            match word.as_str() {
                "log_args" => {
                    arguments.log_args =
                        if input.peek(Token![=]) { value::<LitBool>(input, "`true` or `false`")?.value } else { true };
                }
                "skip" => {
                    if !input.peek(syn::token::Paren) {
                        return Err(Error::new(name.span(), "expected the arguments that are not shown: `skip(password, body)`"));
                    }
                    let content;
                    parenthesized!(content in input);
                    arguments.skip =
                        Punctuated::<Ident, Token![,]>::parse_terminated_with(&content, Ident::parse_any)?.into_iter().collect();
                }
                "severity" => arguments.severity = Some(severity(input)?),
                _ => arguments.texts.push((word.clone(), text(input)?)),
            }
            seen.push(word);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        if let Some(skipped) = arguments.skip.first().filter(|_| !arguments.log_args) {
            return Err(Error::new(skipped.span(), "`skip` goes with `log_args`: without it no argument is shown"));
        }
        for name in needed {
            if !seen.iter().any(|known| known == name) {
                return Err(Error::new(Span::call_site(), format!("`{}` needs `{name} = \"…\"`", which.name())));
            }
        }
        Ok(arguments)
    }
}

fn list(needed: &[&str], optional: &[&str]) -> String {
    let names: Vec<String> = needed.iter().chain(optional).map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn value<T: Parse>(input: ParseStream<'_>, what: &str) -> Result<T> {
    input.parse::<Token![=]>()?;
    input.parse::<T>().map_err(|error| Error::new(error.span(), format!("expected {what}")))
}

fn text(input: ParseStream<'_>) -> Result<LitStr> {
    let text: LitStr = value(input, "a text in quotes")?;
    if text.value().trim().is_empty() {
        return Err(Error::new(text.span(), "expected a text that is not empty"));
    }
    Ok(text)
}

/// Reads `ErrorSeverity::Medium`, which stays as it is written, or `"MEDIUM"`.
fn severity(input: ParseStream<'_>) -> Result<TokenStream> {
    const NAMES: [&str; 4] = ["Low", "Medium", "High", "Critical"];
    const EXPECTED: &str = "expected `ErrorSeverity::Low`, `Medium`, `High` or `Critical`";
    input.parse::<Token![=]>()?;
    if input.peek(LitStr) {
        let text: LitStr = input.parse()?;
        let name =
            NAMES.iter().find(|name| name.eq_ignore_ascii_case(&text.value())).ok_or_else(|| Error::new(text.span(), EXPECTED))?;
        let name = Ident::new(name, text.span());
        return Ok(quote_spanned!(text.span()=> ::watchfire_client::ErrorSeverity::#name));
    }
    let path: Path = input.parse().map_err(|error| Error::new(error.span(), EXPECTED))?;
    match path.segments.last().filter(|last| path.segments.len() > 1 && !NAMES.iter().any(|name| last.ident == name)) {
        Some(last) => Err(Error::new(last.ident.span(), EXPECTED)),
        None => Ok(path.to_token_stream()),
    }
}
