//! Patterns of where a component may send: scheme, name and port.

use url::{Host, Url};

/// Returns whether `url` is meant by `pattern`: `scheme://host[:port]`, or `https://*.example.com` for all names below one.
/// Default ports are equal to none. A pattern with a path, or that is no URL, means nothing.
#[must_use]
pub fn matches(pattern: &str, url: &Url) -> bool {
    let (Some(pattern), Some(host)) = (read(pattern), url.host_str()) else { return false };
    let Some(wanted) = pattern.host_str() else { return false };
    let same_host = match wanted.strip_prefix("*.") {
        Some(parent) => host.strip_suffix(parent).is_some_and(|below| below.len() > 1 && below.ends_with('.')),
        None => host == wanted,
    };
    same_host && pattern.scheme() == url.scheme() && pattern.port_or_known_default() == url.port_or_known_default()
}

/// Returns whether `pattern` itself names an address or this machine: whoever granted it knew where it leads.
#[must_use]
pub fn names_address(pattern: &str) -> bool {
    read(pattern).is_some_and(|pattern| match pattern.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
        None => false,
    })
}

/// Returns scheme, host and port of `url`, as shown to people: nothing of its path, where secrets lie.
#[must_use]
pub fn of(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

fn read(pattern: &str) -> Option<Url> {
    let url = Url::parse(pattern).ok()?;
    let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    (bare && url.username().is_empty() && url.password().is_none()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_meant(pattern: &str, url: &str) -> bool {
        matches(pattern, &Url::parse(url).unwrap())
    }

    #[test]
    fn a_pattern_means_one_origin_or_all_names_below_one() {
        for (pattern, url) in [
            ("https://api.example.com", "https://api.example.com/a?b=c"),
            ("https://api.example.com", "https://API.example.com:443/"),
            ("https://api.example.com:443/", "https://api.example.com"),
            ("http://10.0.0.5:8080", "http://10.0.0.5:8080/x"),
            ("https://*.example.com", "https://a.example.com"),
            ("https://*.example.com", "https://a.b.example.com"),
            ("http://127.0.0.1:9", "http://0x7f.1:9/"),
        ] {
            assert!(is_meant(pattern, url), "{pattern} means {url}");
        }
        for (pattern, url) in [
            ("https://api.example.com", "http://api.example.com"),
            ("https://api.example.com", "https://api.example.com:8443"),
            ("https://api.example.com", "https://api.example.com.evil.org"),
            ("https://api.example.com", "https://evil.org/api.example.com"),
            ("https://api.example.com", "https://api.example.com@evil.org"),
            ("https://api.example.com", "https://api.example.com./"),
            ("https://*.example.com", "https://example.com"),
            ("https://*.example.com", "https://evilexample.com"),
            ("https://*.example.com", "https://.example.com"),
            ("https://api.example.com/hook", "https://api.example.com/hook"),
            ("https://user@api.example.com", "https://api.example.com"),
            ("api.example.com", "https://api.example.com"),
            ("*", "https://api.example.com"),
            ("", "https://api.example.com"),
        ] {
            assert!(!is_meant(pattern, url), "{pattern} does not mean {url}");
        }
    }

    #[test]
    fn an_address_in_a_pattern_is_seen() {
        for pattern in ["http://127.0.0.1:9", "http://[::1]", "https://localhost:8443", "http://2130706433"] {
            assert!(names_address(pattern), "{pattern}");
        }
        for pattern in ["https://example.com", "https://localhost.example.com", "https://*.localhost", "localhost"] {
            assert!(!names_address(pattern), "{pattern}");
        }
    }
}
