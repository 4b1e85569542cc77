//! Secrets as values, as `${NAME}` or from a file. Nothing here puts one into a message.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::Secret;
use super::check::Checker;
use super::raw::RawSecret;

/// Returns the secret at `path` of the configuration: `value` with its `${NAME}` filled in, or what stands in `file`.
pub(super) fn read(checker: &mut Checker<'_>, path: &str, value: Option<RawSecret>, file: Option<&Path>) -> Option<Secret> {
    match (value, file) {
        (Some(_), Some(_)) => {
            let key = path.rsplit('.').next().unwrap_or(path);
            checker.fault(path, format!("expected either `{key}` or `{key}_file`, found both"));
            None
        }
        (Some(value), None) => match expand(&value.0, |name| checker.environment.get(name)) {
            Ok(text) => Some(Secret::new(text)),
            Err(reason) => {
                checker.fault(path, reason);
                None
            }
        },
        (None, Some(file)) => read_file(checker, &format!("{path}_file"), file),
        (None, None) => None,
    }
}

fn read_file(checker: &mut Checker<'_>, path: &str, file: &Path) -> Option<Secret> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            checker.fault(path, format!("cannot read `{}`: {error}", file.display()));
            return None;
        }
    };
    if std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0) {
        let file = file.display();
        checker.warnings.push(format!("{path}: everybody on this machine may read `{file}`: run `chmod o-r {file}`"));
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Some(Secret::new(text.strip_suffix('\r').unwrap_or(text)))
}

/// Replaces each `${NAME}` by that variable's value; `$${` stands for `${`.
fn expand<'a>(text: &str, variable: impl Fn(&str) -> Option<&'a str>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, after) = (&rest[..start], &rest[start + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        expanded.push_str(before);
        // What lies after an open brace may be the secret itself, so only names that look like names are repeated.
        let name = after.split_once('}').map(|(name, _)| name).filter(|name| is_name(name));
        let name =
            name.ok_or("expected the name of an environment variable between `${` and `}` (write `$${` for a plain `${`)")?;
        expanded.push_str(variable(name).ok_or_else(|| format!("environment variable `{name}` is not set"))?);
        rest = &after[name.len() + 1..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_and_missing_ones_named() {
        let expand = |text| expand(text, |name| (name == "KEY").then_some("s3cret"));
        assert_eq!(expand("a ${KEY}-${KEY}").as_deref(), Ok("a s3cret-s3cret"));
        assert_eq!(expand("pa$$word $${KEY}").as_deref(), Ok("pa$$word ${KEY}"));
        assert_eq!(expand("${MISSING}"), Err("environment variable `MISSING` is not set".into()));
        let error = expand("${hunter 2").unwrap_err();
        assert!(!error.contains("hunter"), "{error}");
    }
}
