//! Secrets that a plugin uses and never sees. It holds placeholders, which are replaced as a request leaves the host.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::{Arc, OnceLock};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use parking_lot::Mutex;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use url::Url;

use super::origin;
use crate::config::Secret;

/// What placeholders begin with. Text from outside is given to a plugin only after this has been taken out of it.
pub const PREFIX: &str = "wfsecret";
/// What stands where a secret was taken out.
const TAKEN_OUT: &str = "[secret]";
/// Secrets shorter than this are not looked for in what comes back: they would be found everywhere.
const MIN_SCRUBBED_BYTES: usize = 4;
/// Most `Authorization` headers that one delivery may ask for.
const MAX_BASIC: usize = 64;
/// Most placeholders in one text: a body of nothing else would grow without bound.
const MAX_PLACEHOLDERS: usize = 256;
/// `wfsecret`, the nonce, four digits of an index, and a letter, with `_` between them.
const NONCE_CHARS: usize = 32;
const PLACEHOLDER_CHARS: usize = PREFIX.len() + 1 + NONCE_CHARS + 1 + 4 + 1;

/// One secret, and where it may go.
#[derive(Clone, Debug)]
pub struct BoundSecret {
    /// Its name in the plugin's configuration.
    pub name: String,
    /// Its value.
    pub value: Secret,
    /// `scheme://host[:port]` patterns of where it may go.
    pub hosts: Vec<String>,
}

/// The secrets of one plugin for the length of one delivery: its placeholders mean nothing afterwards.
#[derive(Clone)]
pub struct SecretBox {
    secrets: Arc<Vec<BoundSecret>>,
    /// Random: a placeholder cannot be guessed.
    nonce: String,
    /// Users of the `Authorization` headers that were asked for, and the index of their secret.
    basic: Arc<Mutex<Vec<(String, usize)>>>,
    /// What finds the values in what comes back.
    finder: Arc<OnceLock<AhoCorasick>>,
}

impl fmt::Debug for SecretBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.secrets.iter().map(|secret| &secret.name);
        f.debug_list().entries(names).finish()
    }
}

/// Why a text with placeholders does not leave the host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretRefusal {
    /// It was not handed out for this delivery.
    #[error("it holds a placeholder that the host did not hand out for this delivery")]
    Forged,
    /// Its secret goes elsewhere.
    #[error("secret `{name}` is not meant for {target}")]
    NotForThisHost {
        /// Which secret.
        name: String,
        /// Scheme and host of the request.
        target: String,
    },
    /// What should be a URL is none.
    #[error("its URL is not one: {problem}")]
    NotUrl {
        /// What is wrong with it.
        problem: String,
    },
    /// A placeholder stands where it would decide who gets the request.
    #[error("a placeholder may be a whole URL or stand in its path and query, not in its host")]
    InHost,
    /// More placeholders than anybody needs.
    #[error("it holds more than {MAX_PLACEHOLDERS} placeholders")]
    TooMany,
}

/// Says whether a secret may be put in.
type May<'a> = &'a dyn Fn(&BoundSecret) -> Result<(), SecretRefusal>;

/// What becomes of a secret where it stands.
#[derive(Clone, Copy)]
enum Encoding {
    Raw,
    Url,
    Json,
    Basic,
}

impl Encoding {
    const ALL: [(Self, char); 4] = [(Self::Raw, 'r'), (Self::Url, 'u'), (Self::Json, 'j'), (Self::Basic, 'b')];

    fn letter(self) -> char {
        match self {
            Self::Raw => 'r',
            Self::Url => 'u',
            Self::Json => 'j',
            Self::Basic => 'b',
        }
    }
}

impl SecretBox {
    /// Returns a box of `secrets` with placeholders of its own.
    #[must_use]
    pub fn new(secrets: Arc<Vec<BoundSecret>>) -> Self {
        let mut random = [0_u8; NONCE_CHARS / 2];
        SystemRandom::new().fill(&mut random).expect("the system gives random bytes, or TLS would not work either");
        let nonce = random.iter().fold(String::with_capacity(NONCE_CHARS), |mut nonce, byte| {
            let _ = write!(nonce, "{byte:02x}");
            nonce
        });
        Self { secrets, nonce, basic: Arc::default(), finder: Arc::default() }
    }

    /// Returns the placeholder of secret `name`, to be replaced by its value in `encoding`: `raw`, `url`, `json`.
    #[must_use]
    pub fn placeholder(&self, name: &str, encoding: &str) -> Option<String> {
        let encoding = match encoding {
            "raw" => Encoding::Raw,
            "url" => Encoding::Url,
            "json" => Encoding::Json,
            _ => return None,
        };
        self.write(self.index(name)?, encoding)
    }

    /// Returns the value of a Basic `Authorization` header with a placeholder in it.
    #[must_use]
    pub fn basic(&self, user: &str, secret: &str) -> Option<String> {
        let entry = (user.to_owned(), self.index(secret)?);
        let mut basic = self.basic.lock();
        let position = match basic.iter().position(|known| *known == entry) {
            Some(position) => position,
            None if basic.len() == MAX_BASIC => return None,
            None => {
                basic.push(entry);
                basic.len() - 1
            }
        };
        Some(format!("Basic {}", self.write(position, Encoding::Basic)?))
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.secrets.iter().position(|secret| secret.name == name)
    }

    fn write(&self, index: usize, encoding: Encoding) -> Option<String> {
        let index = u16::try_from(index).ok()?;
        Some(format!("{PREFIX}_{}_{index:04x}{}", self.nonce, encoding.letter()))
    }

    /// Signs `message` with `key`, in which placeholders are replaced first.
    ///
    /// # Errors
    /// Says what is wrong, for the plugin's author.
    pub fn sign(&self, algorithm: &str, key: &[u8], message: &[u8]) -> Result<Vec<u8>, String> {
        let algorithm = match algorithm {
            "hmac-sha256" => hmac::HMAC_SHA256,
            "hmac-sha1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            other => return Err(format!("there is no algorithm `{other}`: `hmac-sha256` and `hmac-sha1` there are")),
        };
        if find(key).is_none() {
            return Err("the key holds no placeholder: what needs no secret the plugin can sign itself".to_owned());
        }
        let everywhere = |_: &BoundSecret| Ok(());
        let replace =
            |what, text| self.replace(text, &everywhere).map_err(|refusal| format!("the {what} cannot be used: {refusal}"));
        let (key, message) = (replace("key", key)?, replace("message", message)?);
        Ok(hmac::sign(&hmac::Key::new(algorithm, &key), &message).as_ref().to_vec())
    }

    /// Returns `text` with every placeholder replaced, on its way to `target`.
    ///
    /// # Errors
    /// If a placeholder is forged, or its secret may not go there.
    pub fn expand(&self, text: &[u8], target: &Url) -> Result<Vec<u8>, SecretRefusal> {
        self.replace(text, &|secret| may_go(secret, target))
    }

    /// Returns the URL that `text` stands for: with placeholders in its path and query, or a placeholder with more of a path or query.
    /// Secrets in it go to the host that it names, and a placeholder has no say in which that is.
    ///
    /// # Errors
    /// If it is no URL, a placeholder is forged or decides about the host, or a secret may not go there.
    pub fn url(&self, text: &str) -> Result<Url, SecretRefusal> {
        let read = |text: &str| {
            // The parser's words name no part of the text.
            Url::parse(text).map_err(|error| SecretRefusal::NotUrl { problem: error.to_string() })
        };
        let (base, expanded) = if text.starts_with(PREFIX) {
            let (whole, rest) = text.split_at(text.floor_char_boundary(PLACEHOLDER_CHARS));
            // Where it leads is in the secret itself, so that is read first and asked about afterwards.
            let base = read(&into_text(self.replace(whole.as_bytes(), &|_| Ok(()))?)?)?;
            let mut expanded = self.expand(whole.as_bytes(), &base)?;
            expanded.extend(self.expand(rest.as_bytes(), &base)?);
            (base, expanded)
        } else {
            let base = read(text)?;
            let authority = [base.host_str().unwrap_or_default(), base.username(), base.password().unwrap_or_default()];
            if authority.iter().any(|part| part.contains(PREFIX)) || base.scheme().contains(PREFIX) {
                return Err(SecretRefusal::InHost);
            }
            let expanded = self.expand(text.as_bytes(), &base)?;
            (base, expanded)
        };
        let url = read(&into_text(expanded)?)?;
        if origin::of(&url) != origin::of(&base) || url.username() != base.username() || url.password() != base.password() {
            return Err(SecretRefusal::InHost);
        }
        Ok(url)
    }

    fn replace(&self, text: &[u8], may: May<'_>) -> Result<Vec<u8>, SecretRefusal> {
        self.replace_in(text, may, false)
    }

    fn replace_in(&self, text: &[u8], may: May<'_>, within_basic: bool) -> Result<Vec<u8>, SecretRefusal> {
        let mut replaced = Vec::with_capacity(text.len());
        let mut rest = text;
        let mut left = MAX_PLACEHOLDERS;
        while let Some(start) = find(rest) {
            left = left.checked_sub(1).ok_or(SecretRefusal::TooMany)?;
            let (before, from) = rest.split_at(start);
            let (placeholder, after) = from.split_at_checked(PLACEHOLDER_CHARS).ok_or(SecretRefusal::Forged)?;
            let (index, encoding) = self.read(placeholder).ok_or(SecretRefusal::Forged)?;
            replaced.extend_from_slice(before);
            let (secret, value) = match encoding {
                Encoding::Basic => {
                    let (user, index) = self.basic.lock().get(index).cloned().ok_or(SecretRefusal::Forged)?;
                    let secret = &self.secrets[index];
                    // A token may as well stand where the user does, but not a header within a header.
                    if within_basic {
                        return Err(SecretRefusal::Forged);
                    }
                    let mut pair = self.replace_in(user.as_bytes(), may, true)?;
                    pair.push(b':');
                    pair.extend_from_slice(secret.value.reveal().as_bytes());
                    (secret, STANDARD.encode(pair))
                }
                encoding => {
                    let secret = self.secrets.get(index).ok_or(SecretRefusal::Forged)?;
                    (secret, encode(secret.value.reveal(), encoding))
                }
            };
            may(secret)?;
            replaced.extend_from_slice(value.as_bytes());
            rest = after;
        }
        replaced.extend_from_slice(rest);
        Ok(replaced)
    }

    fn read(&self, placeholder: &[u8]) -> Option<(usize, Encoding)> {
        let text = std::str::from_utf8(placeholder).ok()?;
        let rest = text.strip_prefix(PREFIX)?.strip_prefix('_')?.strip_prefix(self.nonce.as_str())?.strip_prefix('_')?;
        let (index, letter) = rest.split_at_checked(4)?;
        let encoding = Encoding::ALL.into_iter().find(|(_, known)| letter.chars().eq([*known]))?.0;
        Some((usize::from_str_radix(index, 16).ok()?, encoding))
    }

    /// Returns `bytes` with every secret value taken out, in all its encodings, and with nothing in it that looks like a placeholder.
    #[must_use]
    pub fn scrub(&self, bytes: &[u8]) -> Vec<u8> {
        let mut clean = Vec::with_capacity(bytes.len());
        self.finder().replace_all_with_bytes(bytes, &mut clean, |_, found, clean| {
            let broken = broken_prefix();
            clean.extend_from_slice(if found == PREFIX.as_bytes() { broken.as_bytes() } else { TAKEN_OUT.as_bytes() });
            true
        });
        clean
    }

    /// Returns `text`, which a plugin says, for people and for the store: without secrets and placeholders.
    #[must_use]
    pub fn show(&self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(PREFIX) {
            shown.push_str(&rest[..start]);
            let length = rest[start..].bytes().take(PLACEHOLDER_CHARS).take_while(|byte| is_unreserved(*byte)).count();
            shown.push_str(TAKEN_OUT);
            rest = &rest[start + length..];
        }
        shown.push_str(rest);
        String::from_utf8_lossy(&self.scrub(shown.as_bytes())).into_owned()
    }

    /// Returns the length of the longest text that [`Self::scrub`] would take out: what is cut off must be cut behind it.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.scrubbed().flat_map(|value| forms(&value)).map(|form| form.len()).max().unwrap_or(0).max(PREFIX.len())
    }

    fn finder(&self) -> &AhoCorasick {
        self.finder.get_or_init(|| {
            let forms = self.scrubbed().flat_map(|value| forms(&value)).chain([PREFIX.to_owned()]);
            // The longest of several: what remains of it would be a secret too.
            let finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(forms);
            finder.expect("secrets have less than two gigabytes")
        })
    }

    fn scrubbed(&self) -> impl Iterator<Item = String> {
        let values = self.secrets.iter().map(|secret| secret.value.reveal());
        values.filter(|value| value.len() >= MIN_SCRUBBED_BYTES).map(ToOwned::to_owned)
    }
}

/// Returns `text`, which comes from outside, with nothing in it that looks like a placeholder.
#[must_use]
pub fn break_up(text: &str) -> Cow<'_, str> {
    if text.contains(PREFIX) { Cow::Owned(text.replace(PREFIX, &broken_prefix())) } else { Cow::Borrowed(text) }
}

fn broken_prefix() -> String {
    format!("{}_{}", &PREFIX[..2], &PREFIX[2..])
}

fn find(text: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, PREFIX.as_bytes())
}

fn may_go(secret: &BoundSecret, target: &Url) -> Result<(), SecretRefusal> {
    if secret.hosts.iter().any(|pattern| origin::matches(pattern, target)) {
        return Ok(());
    }
    Err(SecretRefusal::NotForThisHost { name: secret.name.clone(), target: origin::of(target) })
}

fn into_text(bytes: Vec<u8>) -> Result<String, SecretRefusal> {
    String::from_utf8(bytes).map_err(|_| SecretRefusal::NotUrl { problem: "it is not UTF-8".to_owned() })
}

fn encode(value: &str, encoding: Encoding) -> String {
    match encoding {
        Encoding::Raw | Encoding::Basic => value.to_owned(),
        Encoding::Url => percent_encoded(value),
        Encoding::Json => json_escaped(value),
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Encodes everything but the unreserved characters of RFC 3986.
fn percent_encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn json_escaped(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Returns the shapes in which `value` may come back.
fn forms(value: &str) -> Vec<String> {
    let (url, json) = (percent_encoded(value), json_escaped(value));
    let form: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
    let mut ascii = String::new();
    for unit in json.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => ascii.push(char::from(byte)),
            _ => {
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    let mut forms =
        vec![value.to_owned(), lower_escapes(&url), lower_escapes(&form), json.replace('/', "\\/"), ascii, url, form, json];
    // Within a longer text, three bytes at a time become four characters: there are three ways to begin.
    for lead in 0..3 {
        let bytes: Vec<u8> = std::iter::repeat_n(0, lead).chain(value.bytes()).collect();
        let first = (lead * 8).div_ceil(6);
        let last = bytes.len() * 8 / 6;
        for engine in [STANDARD, URL_SAFE] {
            forms.push(engine.encode(&bytes)[first..last].to_owned());
        }
    }
    forms.sort();
    forms.dedup();
    forms
}

/// Returns percent-encoded text with small letters in its escapes, as some write them.
fn lower_escapes(encoded: &str) -> String {
    let mut lowered = String::with_capacity(encoded.len());
    let mut since = 3;
    for character in encoded.chars() {
        since = if character == '%' { 0 } else { since + 1 };
        lowered.push(if since <= 2 { character.to_ascii_lowercase() } else { character });
    }
    lowered
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
