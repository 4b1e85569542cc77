//! What is to be found, and what is to be done with it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What is looked for. The order is that of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Values of keys such as `password` and `api_key`: in `key=value`, logfmt, JSON, query strings and attributes.
    Secret,
    /// Credentials after `Bearer` and `Basic`.
    Authorization,
    /// The password in `scheme://user:password@host`.
    UrlPassword,
    /// Private keys in PEM form.
    PrivateKey,
    /// Keys of clouds and services, told by their form.
    CloudKey,
    /// JSON Web Tokens.
    Jwt,
    /// Payment cards: brand, length and check digit.
    Card,
    /// Bank accounts: country, length and check digits.
    Iban,
    /// US social security numbers with hyphens.
    Ssn,
    /// Chinese resident identity numbers: date and check character.
    CnId,
    /// Chinese mobile numbers.
    CnMobile,
    /// E-mail addresses.
    Email,
    /// IPv4 and IPv6 addresses.
    Ip,
    /// Hardware addresses.
    Mac,
    /// Device identities of 15 digits.
    Imei,
    /// UUIDs.
    Uuid,
    /// The user's name in `/home/NAME`, `/Users/NAME` and `C:\Users\NAME`.
    UserPath,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Secret,
        Self::Authorization,
        Self::UrlPassword,
        Self::PrivateKey,
        Self::CloudKey,
        Self::Jwt,
        Self::Card,
        Self::Iban,
        Self::Ssn,
        Self::CnId,
        Self::CnMobile,
        Self::Email,
        Self::Ip,
        Self::Mac,
        Self::Imei,
        Self::Uuid,
        Self::UserPath,
    ];

    /// Returns its name in the configuration, in metrics and in what is put in place.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Authorization => "authorization",
            Self::UrlPassword => "url_password",
            Self::PrivateKey => "private_key",
            Self::CloudKey => "cloud_key",
            Self::Jwt => "jwt",
            Self::Card => "card",
            Self::Iban => "iban",
            Self::Ssn => "ssn",
            Self::CnId => "cn_id",
            Self::CnMobile => "cn_mobile",
            Self::Email => "email",
            Self::Ip => "ip",
            Self::Mac => "mac",
            Self::Imei => "imei",
            Self::Uuid => "uuid",
            Self::UserPath => "user_path",
        }
    }

    /// Returns what is done by default: what is a secret beyond doubt is masked, and so are numbers that prove themselves by their check
    /// digits; what is often needed to find a fault stays.
    #[must_use]
    pub const fn default_action(self) -> Action {
        match self {
            Self::Secret
            | Self::Authorization
            | Self::UrlPassword
            | Self::PrivateKey
            | Self::CloudKey
            | Self::Jwt
            | Self::Card
            | Self::Iban
            | Self::Ssn
            | Self::CnId => Action::Mask,
            Self::CnMobile | Self::Email | Self::Ip | Self::Mac | Self::Imei | Self::Uuid | Self::UserPath => Action::Off,
        }
    }
}

/// What is done with what a rule finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Nothing: it is not looked for.
    Off,
    /// It is replaced by `[redacted:RULE]`.
    #[default]
    Mask,
    /// It is replaced by `[RULE:…]`: sixteen letters that are the same for the same value and key, so that records stay comparable.
    Hash,
    /// It is taken out.
    Remove,
}

impl Action {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 4] =
        [("off", Self::Off), ("mask", Self::Mask), ("hash", Self::Hash), ("remove", Self::Remove)];
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(_, action)| action == self).map_or("", |(name, _)| name))
    }
}

/// Why a text is no rule or action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {expected}, found `{found}`")]
pub struct UnknownName {
    expected: String,
    found: String,
}

impl FromStr for Action {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, action)| *action);
        known.ok_or_else(|| unknown(Self::ALL.iter().map(|(name, _)| *name), text))
    }
}

impl FromStr for Rule {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|rule| rule.name() == text);
        known.ok_or_else(|| unknown(Self::ALL.iter().map(|rule| rule.name()), text))
    }
}

fn unknown<'a>(names: impl Iterator<Item = &'a str>, found: &str) -> UnknownName {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    UnknownName { expected: names.join(", "), found: found.chars().take(80).collect() }
}

/// A rule of the user's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Custom {
    /// Its name: letters, digits, `-` and `_`.
    pub name: String,
    /// What is looked for, as the regular expressions of the crate `regex` say it. If it has a group `secret`, that group is the secret,
    /// else the whole match is.
    pub pattern: String,
    /// What is done with it.
    pub action: Action,
}

/// What a [`crate::Redactor`] does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What differs from [`Rule::default_action`].
    pub rules: BTreeMap<Rule, Action>,
    /// Rules of the user's own. They look at what the others have left.
    pub custom: Vec<Custom>,
    /// Attributes that are left as they are, by name; `body` is the body.
    pub except: Vec<String>,
    /// Key of the hashes. Without one that nobody knows, a hash of something short can be undone by trying.
    pub key: [u8; 32],
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A custom rule's name.
    #[error("custom[{index}].name: expected 1 to 40 letters, digits, `-` and `_`, found `{name}`")]
    Name {
        /// Where.
        index: usize,
        /// What is there.
        name: String,
    },
    /// Two rules of one name.
    #[error("custom[{index}].name: there is a rule `{name}` already")]
    Twice {
        /// Where.
        index: usize,
        /// What is there.
        name: String,
    },
    /// A custom rule's pattern.
    #[error("custom[{index}].pattern: {source}")]
    Pattern {
        /// Where.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: Box<regex::Error>,
    },
    /// A pattern that is met between any two characters.
    #[error("custom[{index}].pattern: it matches the empty text, so it would be found everywhere")]
    Empty {
        /// Where.
        index: usize,
    },
}

impl Settings {
    /// Returns what is done with what `rule` finds.
    #[must_use]
    pub fn action(&self, rule: Rule) -> Action {
        self.rules.get(&rule).copied().unwrap_or(rule.default_action())
    }
}
