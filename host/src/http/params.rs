//! Query parameters, repeated ones included, with an error that says which one is wrong.

use std::convert::Infallible;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use watchfire_types::Timestamp;

use super::ApiError;
use super::time_range::parse_moment;
use crate::nearest::suggestion;

/// The query parameters of a request, in their order.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or("")))
    }
}

impl Params {
    /// Reads a query string.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Reads a JSON object: a list gives a parameter several values.
    ///
    /// # Errors
    /// 400 when it is no object, or one of its values is neither text, number nor a list of these.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, ApiError> {
        use serde_json::Value;
        let object = json.as_object().ok_or_else(|| ApiError::bad_request("expected one JSON object with the parameters"))?;
        let mut params = Vec::new();
        for (name, value) in object {
            let values = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
            for value in values {
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Number(number) => number.to_string(),
                    _ => return Err(ApiError::bad_request(format!("`{name}`: expected text or a number"))),
                };
                params.push((name.clone(), text));
            }
        }
        Ok(Self(params))
    }

    /// Refuses parameters other than `known`.
    ///
    /// # Errors
    /// 400, naming the parameter and the nearest known one.
    pub fn only(&self, known: &[&str]) -> Result<&Self, ApiError> {
        let Some((unknown, _)) = self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) else { return Ok(self) };
        let hint = suggestion(unknown, known.iter().copied());
        Err(ApiError::bad_request(format!("unknown parameter `{unknown}`{hint}")))
    }

    /// Returns `name`, if it is given, as one of `words`.
    ///
    /// # Errors
    /// 400, naming the words.
    pub fn word(&self, name: &str, words: &[&'static str]) -> Result<Option<&'static str>, ApiError> {
        let Some(text) = self.one(name) else { return Ok(None) };
        let word = words.iter().copied().find(|word| *word == text);
        let wrong = || ApiError::bad_request(format!("`{name}`: `{text}` is none of {}", words.join(", ")));
        word.map(Some).ok_or_else(wrong)
    }

    /// Returns the last value of `name`; an empty one counts as not given.
    #[must_use]
    pub fn one(&self, name: &str) -> Option<&str> {
        self.many(name).next_back()
    }

    /// Returns all values of `name` that are not empty.
    pub fn many(&self, name: &str) -> impl DoubleEndedIterator<Item = &str> {
        self.0.iter().filter(move |(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Returns `name` as a number of at most `most`, or `default`.
    ///
    /// # Errors
    /// 400 when it is no number or too large.
    pub fn number<N: Copy + FromStr + PartialOrd + std::fmt::Display>(
        &self,
        name: &str,
        default: N,
        most: N,
    ) -> Result<N, ApiError> {
        let Some(text) = self.one(name) else { return Ok(default) };
        match text.parse() {
            Ok(number) if number <= most => Ok(number),
            _ => Err(ApiError::bad_request(format!("`{name}`: `{text}` is not a whole number up to {most}"))),
        }
    }

    /// Returns `name` as a moment, if it is given.
    ///
    /// # Errors
    /// 400 when it is no time.
    pub fn moment(&self, name: &str, now: Timestamp) -> Result<Option<Timestamp>, ApiError> {
        let read = |text| parse_moment(text, now).map_err(|error| ApiError::bad_request(format!("`{name}`: {}", error.message())));
        self.one(name).map(read).transpose()
    }

    /// Returns the range from `since` to `until`; by default from `back` before `until`, or from the beginning, to the end of time.
    ///
    /// # Errors
    /// 400 when one is no time, or when the range ends before it begins.
    pub fn range(&self, back: Option<Duration>, now: Timestamp) -> Result<(Timestamp, Timestamp), ApiError> {
        let until = self.moment("until", now)?.unwrap_or(Timestamp::MAX);
        let default = back.map_or(Timestamp::ZERO, |back| now.min(until).minus(back));
        let since = self.moment("since", now)?.unwrap_or(default);
        if since > until {
            return Err(ApiError::bad_request(format!("the range ends ({until}) before it begins ({since})")));
        }
        Ok((since, until))
    }

    /// Returns all values of `name` as `key=value` pairs.
    ///
    /// # Errors
    /// 400 when one has no `=`.
    pub fn pairs(&self, name: &str) -> Result<Vec<(String, String)>, ApiError> {
        let pair = |text: &str| {
            let (key, value) = text
                .split_once('=')
                .ok_or_else(|| ApiError::bad_request(format!("`{name}`: `{text}` is not of the form key=value")))?;
            Ok((key.to_owned(), value.to_owned()))
        };
        self.many(name).map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_parameter() {
        let params = Params::parse("limti=5&limit=x&attribute=a%3D1&attribute=b");
        assert_eq!(params.only(&["limit", "attribute"]).unwrap_err().message(), "unknown parameter `limti`; did you mean `limit`?");
        assert_eq!(params.number("limit", 1, 9).unwrap_err().message(), "`limit`: `x` is not a whole number up to 9");
        assert_eq!(params.pairs("attribute").unwrap_err().message(), "`attribute`: `b` is not of the form key=value");
        assert_eq!(params.many("attribute").collect::<Vec<_>>(), ["a=1", "b"]);
    }
}
