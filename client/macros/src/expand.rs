//! Writes the function anew, with its measurement around its body.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::parse::Parser as _;
use syn::spanned::Spanned as _;
use syn::{
    Attribute, Block, Error, Expr, ExprAsync, ExprCall, FnArg, Item, Pat, Result, ReturnType, Signature, Stmt, Token, Type,
    Visibility,
};

use crate::attr::{Arguments, Macro};

/// Parts of names of arguments that are secrets.
const SECRETS: [&str; 17] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "privatekey",
    "private_key",
    "access_key",
    "authorization",
    "authorisation",
    "cookie",
    "credential",
    "session",
    "signature",
];

/// A function with a body, as it stands in a module, an `impl` or a `trait`.
struct Function {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    /// `default`, of specialised implementations.
    defaultness: Option<Token![default]>,
    signature: Signature,
    body: Block,
}

/// Returns the function with its measurement, or the error and the function as it was: then only the error is told of.
pub(crate) fn expand(which: Macro, arguments: TokenStream, item: &TokenStream) -> TokenStream {
    let expanded = (|parsed: TokenStream| {
        let function = Function::parse.parse2(item.clone())?;
        let arguments = (|input: syn::parse::ParseStream<'_>| Arguments::parse(which, input)).parse2(parsed)?;
        function.expand(which, &arguments)
    })(arguments);
    expanded.unwrap_or_else(|error| {
        let error = error.to_compile_error();
        quote! { #item #error }
    })
}

impl Function {
    fn parse(input: syn::parse::ParseStream<'_>) -> Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let start = input.fork();
        let visibility = input.parse()?;
        let defaultness = if input.peek(Token![default]) && !input.peek2(Token![!]) { Some(input.parse()?) } else { None };
        let Ok(signature) = input.parse::<Signature>() else {
            // Says what it is instead, if that can be told.
            let found = start.parse::<Item>().map_or("something else", |item| match item {
                Item::Struct(_) => "a struct",
                Item::Enum(_) => "an enum",
                Item::Impl(_) => "an `impl`: put it on its methods",
                Item::Trait(_) => "a trait: put it on its methods",
                Item::Mod(_) => "a module",
                _ => "something else",
            });
            return Err(Error::new(start.span(), format!("expected a function, found {found}")));
        };
        if input.peek(Token![;]) {
            input.parse::<Token![;]>()?;
            return Err(Error::new(
                signature.span(),
                "a method without a body cannot be measured: put the attribute on its implementations",
            ));
        }
        if let Some(word) = signature.constness {
            return Err(Error::new(word.span(), "a `const fn` cannot be measured: it may run while the program is compiled"));
        }
        Ok(Self { attributes, visibility, defaultness, signature, body: input.parse()? })
    }

    fn expand(&self, which: Macro, arguments: &Arguments) -> Result<TokenStream> {
        let Self { attributes, visibility, defaultness, signature, .. } = self;
        let prelude = self.prelude(which, arguments)?;
        let body = self.measured(which);
        Ok(quote! {
            #(#attributes)*
            #visibility #defaultness #signature {
                #prelude
                #body
            }
        })
    }

    /// Returns what comes before the body: where it is measured, and what is shown of the arguments.
    fn prelude(&self, which: Macro, arguments: &Arguments) -> Result<TokenStream> {
        let function = self.signature.ident.to_string();
        let private = quote!(::watchfire_client::__private);
        let text = |name: &str| arguments.text(name).map(|text| quote!(#text));
        let severity = arguments.severity.clone().unwrap_or_else(|| quote!(::watchfire_client::ErrorSeverity::High));
        let monitor = match which {
            Macro::Execution => {
                let metric = text("metric_name")
                    .map_or_else(|| quote!(::core::option::Option::None), |metric| quote!(::core::option::Option::Some(#metric)));
                quote!(Execution { metric: #metric, severity: #severity })
            }
            Macro::ApiRequest => {
                let (endpoint, method) = (text("endpoint"), text("method"));
                quote!(ApiRequest { endpoint: #endpoint, method: #method })
            }
            Macro::DatabaseOperation => {
                let (operation, table) = (text("operation"), text("table"));
                quote!(DatabaseOperation { operation: #operation, table: #table })
            }
            Macro::TaskExecution => {
                let task = text("task_name");
                quote!(TaskExecution { task: #task })
            }
            Macro::Errors => quote!(Errors { severity: #severity }),
        };
        let shown = self.shown(arguments)?;
        let task_id = self.task_id(which);
        Ok(quote! {
            static __WATCHFIRE_SITE: #private::Site =
                #private::Site::new(#private::Monitor::#monitor, ::core::module_path!(), #function);
            let __watchfire_arguments: ::core::option::Option<#private::Fields> = #shown;
            let __watchfire_task_id: ::core::option::Option<::std::string::String> = #task_id;
        })
    }

    /// Returns what is logged of the arguments.
    fn shown(&self, arguments: &Arguments) -> Result<TokenStream> {
        let names = self.names();
        for skipped in &arguments.skip {
            if !names.contains(skipped) {
                let known: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
                return Err(Error::new(skipped.span(), format!("the function has no argument `{skipped}`: {known}")));
            }
        }
        if !arguments.log_args {
            return Ok(quote!(::core::option::Option::None));
        }
        let private = quote!(::watchfire_client::__private);
        let fields = names.iter().filter(|name| !arguments.skip.contains(name)).map(|name| {
            let key = format!("args.{}", unraw(name));
            if is_secret(name) {
                quote!(__watchfire_fields.push(#key, #private::REDACTED);)
            } else {
                // At the argument's place, so that a complaint is about it.
                quote_spanned! {name.span()=> {
                    #[allow(unused_imports)]
                    use #private::{ArgumentDebug as _, ArgumentOther as _};
                    __watchfire_fields.push(#key, (&&#private::Argument(&#name)).__watchfire_show());
                }}
            }
        });
        Ok(quote! {
            if __WATCHFIRE_SITE.shows_arguments() {
                #[allow(unused_mut)]
                let mut __watchfire_fields = #private::Fields::new();
                #(#fields)*
                ::core::option::Option::Some(__watchfire_fields)
            } else {
                ::core::option::Option::None
            }
        })
    }

    /// Returns the id of a task: its argument of that name.
    fn task_id(&self, which: Macro) -> TokenStream {
        let id = self.names().into_iter().find(|name| which == Macro::TaskExecution && name == "task_id");
        id.map_or_else(
            || quote!(::core::option::Option::None),
            |id| {
                quote_spanned! {id.span()=>
                    ::core::option::Option::Some(::std::string::ToString::to_string(&#id))
                }
            },
        )
    }

    /// Returns the names that the arguments' patterns bind.
    fn names(&self) -> Vec<Ident> {
        let mut names = Vec::new();
        for argument in &self.signature.inputs {
            if let FnArg::Typed(argument) = argument {
                bound(&argument.pat, &mut names);
            }
        }
        names
    }

    /// Returns the body with its measurement.
    fn measured(&self, which: Macro) -> TokenStream {
        if let Some(body) = self.future_at_the_end(which) {
            return body;
        }
        let private = quote!(::watchfire_client::__private);
        let (body, output) = (&self.body, &self.signature.output);
        let end = end(which);
        let run = if self.signature.asyncness.is_some() {
            // Says what the block returns, which `?` needs to know, without being called.
            let hint = hint(output);
            quote! {
                #private::run_async(&__WATCHFIRE_SITE, __watchfire_arguments, __watchfire_task_id, async move {
                    #hint
                    #body
                }).await
            }
        } else {
            let output = if has_impl(output) { quote!() } else { quote!(#output) };
            let body = if output.is_empty() { quote!({ #body }) } else { quote!(#body) };
            quote! {
                #private::run(&__WATCHFIRE_SITE, __watchfire_arguments, __watchfire_task_id, move || #output #body)
            }
        };
        quote! {
            #[allow(clippy::redundant_closure_call, clippy::let_unit_value, unreachable_code)]
            let (__watchfire_call, __watchfire_result) = #run;
            #end
            __watchfire_result
        }
    }

    /// Returns the body of a function that is not `async` but ends with a future, as `async_trait` writes it: the future is measured, not
    /// its making.
    fn future_at_the_end(&self, which: Macro) -> Option<TokenStream> {
        if self.signature.asyncness.is_some() {
            return None;
        }
        let (last, before) = self.body.stmts.split_last()?;
        let Stmt::Expr(last, None) = last else { return None };
        let (future, boxed) = match last {
            Expr::Async(future) => (future, None),
            Expr::Call(call) => (pinned(call)?, Some(&call.func)),
            _ => return None,
        };
        let private = quote!(::watchfire_client::__private);
        let (attributes, capture, block) = (&future.attrs, future.capture, &future.block);
        let end = end(which);
        let measured = quote! {
            #(#attributes)* async move {
                let (__watchfire_call, __watchfire_result) =
                    #private::run_async(&__WATCHFIRE_SITE, __watchfire_arguments, __watchfire_task_id, async #capture #block).await;
                #end
                __watchfire_result
            }
        };
        let measured = boxed.map_or_else(|| measured.clone(), |boxed| quote!(#boxed(#measured)));
        Some(quote!(#(#before)* #measured))
    }
}

/// Returns the future in `Box::pin(async { … })`.
fn pinned(call: &ExprCall) -> Option<&ExprAsync> {
    let Expr::Path(function) = &*call.func else { return None };
    let mut names = function.path.segments.iter().rev().map(|segment| segment.ident.to_string());
    let is_pin = names.next().as_deref() == Some("pin") && names.next().as_deref() == Some("Box");
    match call.args.first() {
        Some(Expr::Async(future)) if is_pin && call.args.len() == 1 => Some(future),
        _ => None,
    }
}

/// Returns the code that ends the call, having looked at what the body returned.
fn end(which: Macro) -> TokenStream {
    let private = quote!(::watchfire_client::__private);
    let failure = quote!({
        #[allow(unused_imports)]
        use #private::{
            FailureAny as _, FailureBoxed as _, FailureCarried as _, FailureDebug as _, FailureDisplay as _, FailureError as _,
            FailureResult as _,
        };
        (&&&&&&&#private::Probe(&__watchfire_result)).__watchfire_failure()
    });
    let status = if which == Macro::ApiRequest {
        quote!({
            #[allow(unused_imports)]
            use #private::{
                StatusAny as _, StatusKnown as _, StatusOfError as _, StatusOfResponse as _, StatusPair as _, StatusResult as _,
            };
            (&&&&&&#private::Probe(&__watchfire_result)).__watchfire_status()
        })
    } else {
        quote!(0)
    };
    let rows = if which == Macro::DatabaseOperation {
        quote!({
            #[allow(unused_imports)]
            use #private::{RowsAny as _, RowsResult as _, RowsValue as _};
            (&&&#private::Probe(&__watchfire_result)).__watchfire_rows()
        })
    } else {
        quote!(::core::option::Option::None)
    };
    quote! {
        #[allow(clippy::needless_borrow)]
        __watchfire_call.end(#failure, #status, #rows);
    }
}

/// Returns code that is never run and says which type a block returns.
fn hint(output: &ReturnType) -> TokenStream {
    let declared = match output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, declared) if has_impl(output) || is_never(declared) => return quote!(),
        ReturnType::Type(_, declared) => declared.to_token_stream(),
    };
    quote_spanned! {output.span()=>
        #[allow(unknown_lints, unreachable_code, clippy::diverging_sub_expression, clippy::empty_loop, clippy::let_unit_value, clippy::let_with_type_underscore, clippy::needless_return)]
        if false {
            let __watchfire_hint: #declared = loop {};
            return __watchfire_hint;
        }
    }
}

fn is_never(declared: &Type) -> bool {
    matches!(declared, Type::Never(_))
}

/// Returns whether a type has an `impl Trait` in it, which can only be written in a signature.
fn has_impl(output: &ReturnType) -> bool {
    fn within(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            proc_macro2::TokenTree::Ident(word) => word == "impl",
            proc_macro2::TokenTree::Group(group) => within(group.stream()),
            _ => false,
        })
    }
    within(output.to_token_stream())
}

fn bound(pattern: &Pat, names: &mut Vec<Ident>) {
    match pattern {
        Pat::Ident(pattern) => {
            // Someone who names it `_x` does not use it.
            if !pattern.ident.to_string().starts_with('_') {
                names.push(pattern.ident.clone());
            }
            if let Some((_, inner)) = &pattern.subpat {
                bound(inner, names);
            }
        }
        Pat::Tuple(pattern) => pattern.elems.iter().for_each(|inner| bound(inner, names)),
        Pat::TupleStruct(pattern) => pattern.elems.iter().for_each(|inner| bound(inner, names)),
        Pat::Struct(pattern) => pattern.fields.iter().for_each(|field| bound(&field.pat, names)),
        Pat::Slice(pattern) => pattern.elems.iter().for_each(|inner| bound(inner, names)),
        Pat::Reference(pattern) => bound(&pattern.pat, names),
        Pat::Paren(pattern) => bound(&pattern.pat, names),
        _ => {}
    }
}

fn unraw(name: &Ident) -> String {
    let name = name.to_string();
    name.strip_prefix("r#").unwrap_or(&name).to_owned()
}

fn is_secret(name: &Ident) -> bool {
    let name = unraw(name).to_lowercase();
    name == "auth" || name == "key" || SECRETS.iter().any(|secret| name.contains(secret))
}
