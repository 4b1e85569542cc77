//! Secrets as the host keeps them: the plugin has placeholders, requests leave with values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use url::Url;

/// What placeholders begin with.
const PREFIX: &str = "wfsecret";
/// Digits after the prefix: what the placeholder stands for.
const DIGITS: usize = 8;

#[derive(Default)]
pub(crate) struct Placeholders {
    secrets: Vec<Secret>,
    handed_out: Vec<HandedOut>,
}

struct Secret {
    name: String,
    value: String,
    hosts: Vec<String>,
}

#[derive(Clone, PartialEq)]
struct HandedOut {
    secret: usize,
    writing: Writing,
}

#[derive(Clone, PartialEq)]
enum Writing {
    Raw,
    Url,
    Json,
    Basic(String),
}

impl Placeholders {
    pub(super) fn add(&mut self, name: &str, value: &str, hosts: Vec<String>) {
        self.secrets.retain(|secret| secret.name != name);
        self.secrets.push(Secret { name: name.to_owned(), value: value.to_owned(), hosts });
    }

    pub(super) fn placeholder(&mut self, name: &str, encoding: &str) -> Option<String> {
        let writing = match encoding {
            "raw" => Writing::Raw,
            "url" => Writing::Url,
            "json" => Writing::Json,
            _ => return None,
        };
        self.hand_out(name, writing)
    }

    pub(super) fn basic(&mut self, user: &str, name: &str) -> Option<String> {
        self.hand_out(name, Writing::Basic(user.to_owned())).map(|placeholder| format!("Basic {placeholder}"))
    }

    fn hand_out(&mut self, name: &str, writing: Writing) -> Option<String> {
        let secret = self.secrets.iter().position(|secret| secret.name == name)?;
        let wanted = HandedOut { secret, writing };
        let number = self.handed_out.iter().position(|known| *known == wanted).unwrap_or_else(|| {
            self.handed_out.push(wanted);
            self.handed_out.len() - 1
        });
        Some(format!("{PREFIX}{number:0DIGITS$}"))
    }

    pub(super) fn sign(&self, algorithm: &str, key: &[u8], message: &[u8]) -> Result<Vec<u8>, String> {
        let algorithm = match algorithm {
            "hmac-sha256" => hmac::HMAC_SHA256,
            "hmac-sha1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            _ => return Err(format!("there is no algorithm `{algorithm}`: `hmac-sha256`, `hmac-sha1`")),
        };
        let key = hmac::Key::new(algorithm, &self.expand(key, None)?);
        Ok(hmac::sign(&key, &self.expand(message, None)?).as_ref().to_vec())
    }

    /// Returns `text` with every placeholder replaced; towards `target`, only by what may go there.
    pub(super) fn expand(&self, text: &[u8], target: Option<&Url>) -> Result<Vec<u8>, String> {
        let mut expanded = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.windows(PREFIX.len()).position(|window| window == PREFIX.as_bytes()) {
            let (before, found) = rest.split_at(start);
            expanded.extend_from_slice(before);
            let end = PREFIX.len() + DIGITS;
            let number = found.get(PREFIX.len()..end).and_then(|digits| str::from_utf8(digits).ok()?.parse::<usize>().ok());
            let known = number.and_then(|number| self.handed_out.get(number));
            let HandedOut { secret, writing } = known.ok_or("it holds a placeholder that the host did not hand out")?;
            let secret = &self.secrets[*secret];
            if let Some(target) = target
                && !secret.hosts.iter().any(|pattern| allows(pattern, target))
            {
                return Err(format!("secret `{}` is not meant for {}", secret.name, target.origin().ascii_serialization()));
            }
            expanded.extend_from_slice(&write(&secret.value, writing));
            rest = &found[end..];
        }
        expanded.extend_from_slice(rest);
        Ok(expanded)
    }

    /// Returns `bytes` with every secret taken out.
    pub(super) fn scrub(&self, bytes: &[u8]) -> Vec<u8> {
        let mut text = bytes.to_vec();
        for secret in self.secrets.iter().filter(|secret| !secret.value.is_empty()) {
            for form in
                [secret.value.clone().into_bytes(), write(&secret.value, &Writing::Url), write(&secret.value, &Writing::Json)]
            {
                while let Some(start) = text.windows(form.len()).position(|window| window == form) {
                    text.splice(start..start + form.len(), *b"[redacted]");
                }
            }
        }
        text
    }
}

fn write(value: &str, writing: &Writing) -> Vec<u8> {
    match writing {
        Writing::Raw => value.as_bytes().to_vec(),
        Writing::Url => {
            let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            let write = |byte: u8| if unreserved(byte) { vec![byte] } else { format!("%{byte:02X}").into_bytes() };
            value.bytes().flat_map(write).collect()
        }
        Writing::Json => {
            let quoted = serde_json::Value::from(value).to_string();
            quoted.as_bytes()[1..quoted.len() - 1].to_vec()
        }
        Writing::Basic(user) => STANDARD.encode(format!("{user}:{value}")).into_bytes(),
    }
}

/// Returns whether `pattern`, `scheme://host[:port]` with `*.` for all names below one, holds for `target`.
pub(super) fn allows(pattern: &str, target: &Url) -> bool {
    let Some((scheme, rest)) = pattern.split_once("://") else { return false };
    let rest = rest.split('/').next().unwrap_or(rest);
    // A colon within brackets belongs to an address.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (rest, None),
    };
    let port = port.or(match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    });
    let name = target.host_str().unwrap_or_default();
    let names = match host.strip_prefix("*.") {
        Some(parent) => name.strip_suffix(parent).is_some_and(|child| child.ends_with('.') && child.len() > 1),
        None => name.eq_ignore_ascii_case(host),
    };
    names && target.scheme() == scheme && target.port_or_known_default() == port
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placeholders() -> Placeholders {
        let mut placeholders = Placeholders::default();
        placeholders.add("token", "a\"b/c", vec!["https://api.example.com".to_owned()]);
        placeholders
    }

    #[test]
    fn a_placeholder_becomes_its_value_in_its_encoding() {
        let mut secrets = placeholders();
        let target = Url::parse("https://api.example.com/x").unwrap();
        let texts = ["raw", "url", "json"].map(|encoding| secrets.placeholder("token", encoding).unwrap());
        let text = format!("{} {} {}; {}", texts[0], texts[1], texts[2], secrets.basic("ann", "token").unwrap());
        assert!(!text.contains("a\"b"));
        let expanded = String::from_utf8(secrets.expand(text.as_bytes(), Some(&target)).unwrap()).unwrap();
        assert_eq!(expanded, format!("a\"b/c a%22b%2Fc a\\\"b/c; Basic {}", STANDARD.encode("ann:a\"b/c")));
        assert_eq!(secrets.scrub(b"you sent a%22b%2Fc"), b"you sent [redacted]");
        assert_eq!((secrets.placeholder("other", "raw"), secrets.placeholder("token", "rot13")), (None, None));
    }

    #[test]
    fn a_secret_goes_only_where_it_may() {
        let mut secrets = placeholders();
        let text = secrets.placeholder("token", "raw").unwrap();
        let target = Url::parse("https://example.org/").unwrap();
        assert_eq!(
            secrets.expand(text.as_bytes(), Some(&target)).unwrap_err(),
            "secret `token` is not meant for https://example.org"
        );
        assert!(secrets.expand(b"wfsecret99999999", None).unwrap_err().contains("did not hand out"));
        assert!(secrets.expand(b"wfsecret", None).is_err());
    }

    #[test]
    fn patterns_name_scheme_host_and_port() {
        let allows = |pattern: &str, url: &str| allows(pattern, &Url::parse(url).unwrap());
        assert!(allows("https://a.example", "https://a.example/x") && allows("https://a.example:443", "https://a.example/"));
        assert!(!allows("https://a.example", "http://a.example/") && !allows("https://a.example", "https://a.example:8443/"));
        assert!(allows("https://*.a.example", "https://b.a.example/") && !allows("https://*.a.example", "https://a.example/"));
        assert!(!allows("https://*.a.example", "https://ba.example/") && allows("http://[::1]:80", "http://[::1]/"));
    }

    #[test]
    fn signing_is_hmac_over_the_values() {
        let mut secrets = Placeholders::default();
        secrets.add("key", "Jefe", Vec::new());
        let key = secrets.placeholder("key", "raw").unwrap();
        // RFC 4231, test case 2.
        let signed = secrets.sign("hmac-sha256", key.as_bytes(), b"what do ya want for nothing?").unwrap();
        let hex = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signed, (0..32).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect::<Vec<_>>());
        assert!(secrets.sign("md5", b"", b"").is_err());
    }
}
