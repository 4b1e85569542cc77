//! Addresses of minified files: what an event says, what a bundle says, and where a map leads from there.

/// Returns under which addresses a bundle may have the file that an event calls `file`, the most exact first.
#[must_use]
pub(super) fn candidates(file: &str) -> Vec<String> {
    let file = file.trim();
    let plain = without_query(file);
    let mut found = vec![file.to_owned(), plain.to_owned()];
    for address in [file, plain] {
        if let Some(path) = path_of(address) {
            found.push(format!("~{path}"));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|address| !address.is_empty() && seen.insert(address.clone()));
    found
}

/// Returns the address that `reference` is, seen from `base`.
#[must_use]
pub(super) fn join(base: &str, reference: &str) -> String {
    let reference = reference.trim();
    if has_scheme(reference) || reference.starts_with("~/") {
        return normal(reference);
    }
    let base = without_query(base);
    if let Some(path) = reference.strip_prefix('/') {
        return match (base.starts_with("~/"), authority_end(base)) {
            (true, _) => normal(&format!("~/{path}")),
            (_, Some(end)) => normal(&format!("{}/{path}", &base[..end])),
            _ => normal(reference),
        };
    }
    match base.rsplit_once('/') {
        Some((folder, _)) => normal(&format!("{folder}/{reference}")),
        None => normal(reference),
    }
}

/// Returns a source as a reader wants to see it: without what a bundler writes before it, and without ways upwards.
#[must_use]
pub(super) fn shown(source: &str) -> String {
    let path = match source.split_once("://") {
        // `webpack://shop/./src/a.ts`, `webpack:///src/a.ts`: what stands between is the bundler's.
        Some((_, rest)) => rest.split_once('/').map_or(rest, |(_, path)| path),
        None => source.strip_prefix("webpack:").unwrap_or(source),
    };
    let kept: Vec<&str> = without_query(path).split('/').filter(|part| !matches!(*part, "" | "." | ".." | "~")).collect();
    kept.join("/")
}

/// Returns the path of an address, with its first slash; `None` if it has none.
fn path_of(address: &str) -> Option<&str> {
    match authority_end(address) {
        Some(end) => Some(&address[end..]).filter(|path| path.starts_with('/')),
        None => Some(address).filter(|path| path.starts_with('/')),
    }
}

/// Returns where the path begins: `https://host` is before it.
fn authority_end(address: &str) -> Option<usize> {
    let begin = address.find("://")? + 3;
    has_scheme(address).then(|| address[begin..].find('/').map_or(address.len(), |end| begin + end))
}

fn has_scheme(address: &str) -> bool {
    let scheme = address.split_once(':').map_or("", |(scheme, _)| scheme);
    !scheme.is_empty()
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        && address.contains("://")
}

fn without_query(address: &str) -> &str {
    address.split(['?', '#']).next().unwrap_or(address)
}

/// Takes `.` and `..` out of an address; ways out of its root lead to the root.
fn normal(address: &str) -> String {
    let begin = match (authority_end(address), address.starts_with("~/")) {
        (Some(end), _) => end,
        (None, true) => 1,
        (None, false) => 0,
    };
    let (head, path) = address.split_at(begin);
    let is_rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("{head}{}{}", if is_rooted { "/" } else { "" }, parts.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_has_the_addresses_that_a_bundle_may_give_it() {
        assert_eq!(
            candidates("https://shop.example/static/app.min.js?v=3"),
            [
                "https://shop.example/static/app.min.js?v=3",
                "https://shop.example/static/app.min.js",
                "~/static/app.min.js?v=3",
                "~/static/app.min.js"
            ]
        );
        assert_eq!(candidates("/srv/app/main.js"), ["/srv/app/main.js", "~/srv/app/main.js"]);
        assert_eq!(candidates("app:///dist/main.js"), ["app:///dist/main.js", "~/dist/main.js"]);
        assert_eq!(candidates("~/app.js"), ["~/app.js"]);
        assert_eq!(candidates("https://shop.example"), ["https://shop.example"]);
    }

    #[test]
    fn a_reference_leads_on() {
        for (base, reference, expected) in [
            ("~/static/app.js", "app.js.map", "~/static/app.js.map"),
            ("~/static/app.js", "../maps/app.js.map", "~/maps/app.js.map"),
            ("~/app.js", "../../src/a.ts", "~/src/a.ts"),
            ("https://shop.example/static/app.js?v=1", "app.js.map", "https://shop.example/static/app.js.map"),
            ("https://shop.example/static/app.js", "/maps/x", "https://shop.example/maps/x"),
            ("~/static/app.js", "/maps/x", "~/maps/x"),
            ("~/app.js", "webpack:///./src/a.ts", "webpack:///src/a.ts"),
            ("/srv/app/dist/main.js", "../src/a.ts", "/srv/app/src/a.ts"),
            ("main.js", "a.ts", "a.ts"),
        ] {
            assert_eq!(join(base, reference), expected, "{base} {reference}");
        }
        for (source, expected) in [
            ("webpack://shop/./src/a.ts", "src/a.ts"),
            ("webpack:///src/a.ts?abcd", "src/a.ts"),
            ("../../src/a.ts", "src/a.ts"),
            ("~/src/a.ts", "src/a.ts"),
            ("a.ts", "a.ts"),
        ] {
            assert_eq!(shown(source), expected, "{source}");
        }
    }

    proptest! {
        #[test]
        fn no_address_panics(base in "[a-z:/.~?é]{0,20}", reference in "[a-z:/.~?é]{0,20}") {
            let _ = (candidates(&base), shown(&reference), join(&base, &reference));
        }

        #[test]
        fn a_way_upwards_never_leads_out(reference in "(\\.\\./|\\./|[a-z]{1,3}/){0,6}[a-z]") {
            for base in ["~/static/app.js", "https://shop.example/static/app.js"] {
                let joined = join(base, &reference);
                prop_assert!(joined.starts_with(&base[..2]) && !joined.contains(".."), "{}", joined);
            }
        }
    }
}
