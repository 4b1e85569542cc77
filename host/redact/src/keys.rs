//! Which names are those of secrets.

/// How sure it is that the value of a key is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any value is one.
    Password,
    /// One that looks like one, where it stands in running text.
    Token,
    /// One that may be a folder (`PWD`).
    WorkingDirectory,
    /// What follows the scheme.
    Authorization,
    /// All that follows on the line.
    Cookie,
}

/// Longer names are no keys.
pub(crate) const MAX_KEY_BYTES: usize = 64;

/// Words that are a secret as the end of a name.
const SECRET_ENDS: [&[u8]; 6] = [b"secret", b"token", b"apikey", b"secretkey", b"accesskey", b"privatekey"];

/// Words that are a secret as the last word of a name.
const SECRET_WORDS: [&[u8]; 11] = [
    b"credential",
    b"credentials",
    b"jsessionid",
    b"phpsessid",
    b"sessid",
    b"sessionid",
    b"authkey",
    b"encryptionkey",
    b"cvv",
    b"cvv2",
    b"authtoken",
];

/// Words that make a secret of `key` after them.
const BEFORE_KEY: [&[u8]; 22] = [
    b"api",
    b"access",
    b"secret",
    b"private",
    b"auth",
    b"account",
    b"encryption",
    b"signing",
    b"master",
    b"shared",
    b"app",
    b"client",
    b"license",
    b"storage",
    b"deploy",
    b"webhook",
    b"ssh",
    b"session",
    b"consumer",
    b"hmac",
    b"service",
    b"server",
];

/// Returns whether the value of `key` is a secret, and how sure that is.
///
/// What counts is how a name ends: `password_reset` and `token_count` hold none, `db.password` and `x-api-key` do.
pub(crate) fn kind(key: &[u8]) -> Option<Kind> {
    if key.len() > MAX_KEY_BYTES {
        return None;
    }
    let mut buffer = [0; MAX_KEY_BYTES];
    let mut words: [(usize, usize); 2] = [(0, 0); 2];
    let (mut length, mut start, mut count) = (0, 0, 0);
    let mut before = 0;
    let mut end_word = |start: usize, end: usize| {
        if end > start {
            words = [words[1], (start, end)];
            count += 1;
        }
    };
    for byte in key {
        let is_letter = byte.is_ascii_alphanumeric();
        // A new word begins at `_`, `-` and the like, and at a capital after a small letter.
        if !is_letter || (byte.is_ascii_uppercase() && (before as u8).is_ascii_lowercase()) {
            end_word(start, length);
            start = length;
        }
        if is_letter {
            buffer[length] = byte.to_ascii_lowercase();
            length += 1;
        }
        before = i32::from(*byte);
    }
    end_word(start, length);
    let last = &buffer[words[1].0..words[1].1];
    let before_last = &buffer[words[0].0..words[0].1];
    let ends = |ends: &[&[u8]]| ends.iter().any(|end| last.ends_with(end));
    match last {
        b"pwd" if count == 1 => Some(Kind::WorkingDirectory),
        b"pwd" | b"passphrase" | b"passcode" => Some(Kind::Password),
        b"pass" if count > 1 => Some(Kind::Password),
        _ if ends(&[b"password", b"passwd", b"passphrase"]) => Some(Kind::Password),
        b"authorization" => Some(Kind::Authorization),
        b"cookie" => Some(Kind::Cookie),
        b"key" if BEFORE_KEY.contains(&before_last) => Some(Kind::Token),
        b"id" if before_last == b"session" => Some(Kind::Token),
        // Where to go on in a list is no secret.
        b"token" if [&b"page"[..], b"continuation", b"next", b"sync", b"cancellation", b"stop", b"eos"].contains(&before_last) => {
            None
        }
        _ if ends(&SECRET_ENDS) || SECRET_WORDS.contains(&last) => Some(Kind::Token),
        _ => None,
    }
}

/// Returns whether `byte` may be part of a key.
pub(crate) fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_told_from_others() {
        for key in [
            "password",
            "PASSWORD",
            "Passwd",
            "db.password",
            "userPassword",
            "DB_PASS",
            "smtp-pass",
            "passphrase",
            "new_password",
            "pwd2.pwd",
            "secret",
            "client_secret",
            "clientSecret",
            "token",
            "access_token",
            "accessToken",
            "refresh-token",
            "X-Auth-Token",
            "api_key",
            "apikey",
            "apiKey",
            "X-API-Key",
            "AccountKey",
            "SharedAccessKey",
            "aws_secret_access_key",
            "private_key",
            "credentials",
            "Authorization",
            "proxy-authorization",
            "Set-Cookie",
            "JSESSIONID",
            "session_id",
            "cvv",
        ] {
            assert!(kind(key.as_bytes()).is_some(), "{key}");
        }
        for key in [
            "password_reset",
            "passwordless",
            "pass",
            "passed",
            "passenger",
            "compass",
            "secretary",
            "secret_name",
            "token_count",
            "tokens",
            "max_tokens",
            "tokenizer",
            "next_page_token",
            "key",
            "keys",
            "primary_key",
            "foreign-key",
            "Key",
            "SharedAccessKeyName",
            "aws_access_key_id",
            "author",
            "cookies_enabled",
            "session",
            "monkey",
            "",
        ] {
            assert_eq!(kind(key.as_bytes()), None, "{key}");
        }
        assert_eq!(kind(b"PWD"), Some(Kind::WorkingDirectory));
        assert_eq!(kind(&[b'a'; 1000]), None);
    }
}
