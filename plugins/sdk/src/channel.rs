//! Channels: how a notification becomes requests, and what the replies mean.

use serde::de::DeserializeOwned;

pub use crate::bindings::channel::{Batch as Requests, Exchange, Failure, Notification, Outcome, Reply, Request, Step};
use crate::{Descriptor, Result};

/// A notification channel over HTTP. It does nothing itself: it plans requests and reads replies, and the host sends, retries and paces.
/// A new one is made for each delivery.
pub trait Channel: Sized {
    /// Its section of the configuration.
    type Config: DeserializeOwned;

    /// Says what it is.
    fn descriptor() -> Descriptor;

    /// Makes one from its section, which has passed the schema. A secret stands in it as a placeholder.
    ///
    /// # Errors
    /// If the section makes no sense: [`Error::configuration`](crate::Error::configuration) with the key.
    fn init(config: Self::Config) -> Result<Self>;

    /// Turns a notification into requests, or says at once what comes of it. `progress` is the state of an earlier try that got as far as
    /// a reply: what it has sent is not to be sent again. `now` is in nanoseconds since 1970.
    ///
    /// # Errors
    /// If it cannot; the host tries again later.
    fn plan(&self, notification: &Notification, progress: Option<&[u8]>, now: u64) -> Result<Step>;

    /// Reads what came of the last requests, in their order, and says how it goes on. `state` is what went with those requests.
    ///
    /// # Errors
    /// If it cannot; the host tries again later.
    fn next(&self, notification: &Notification, state: &[u8], exchanges: &[Exchange], now: u64) -> Result<Step>;

    /// Says what a person should read after "test this plugin". Nothing can be sent here.
    ///
    /// # Errors
    /// What keeps it from working.
    fn self_test(&self) -> Result<String> {
        Ok("its configuration is good".to_owned())
    }
}

/// What became of a notification: `code` of an [`Outcome`].
pub mod code {
    /// The service has it.
    pub const DELIVERED: u16 = 0;
    /// Worth another try.
    pub const RETRY: u16 = 1;
    /// It will never work.
    pub const NEVER: u16 = 2;
    /// The service does not accept the credentials.
    pub const CREDENTIALS: u16 = 3;
    /// It is too large for the service.
    pub const TOO_LARGE: u16 = 4;
    /// Something in the configuration is wrong.
    pub const MISCONFIGURED: u16 = 5;
}

impl Step {
    /// Sends one request; `state` comes back with its reply.
    pub fn send_one(request: Request, state: impl Into<Vec<u8>>) -> Self {
        Self::Send(Requests { requests: vec![request], sequential: true, state: state.into() })
    }

    /// Sends requests one after the other; the first that fails ends it.
    pub fn send_in_order(requests: Vec<Request>, state: impl Into<Vec<u8>>) -> Self {
        Self::Send(Requests { requests, sequential: true, state: state.into() })
    }

    /// Sends requests in any order, as many at once as the limits say.
    pub fn send_all(requests: Vec<Request>, state: impl Into<Vec<u8>>) -> Self {
        Self::Send(Requests { requests, sequential: false, state: state.into() })
    }
}

impl From<Outcome> for Step {
    fn from(outcome: Outcome) -> Self {
        Self::Done(outcome)
    }
}

impl Request {
    /// Returns a request with `method` to `url`, without a body. The host's own limits apply to time and to the size of the reply.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            idempotent: false,
            timeout_ms: 0,
            max_reply_bytes: 0,
            extra: Vec::new(),
        }
    }

    /// Returns a GET request, which may be repeated.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url).idempotent()
    }

    /// Returns a POST request.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("Content-Type", content_type)
    }

    /// Sets a body of JSON.
    pub fn json(self, value: &serde_json::Value) -> Self {
        self.body("application/json; charset=utf-8", value.to_string())
    }

    /// Says that it may be sent again when it is unclear whether it arrived.
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Sets how long it may take.
    pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
        self.timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        self
    }

    /// Sets how much of the reply is wanted.
    pub fn max_reply_bytes(mut self, bytes: u32) -> Self {
        self.max_reply_bytes = bytes;
        self
    }
}

impl Reply {
    /// Returns whether the status is of the 200s.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns header `name`, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Returns the body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// Returns the body as JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Returns how long the service asks to wait: `Retry-After` in seconds.
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        Some(std::time::Duration::from_secs(self.header("retry-after")?.trim().parse().ok()?))
    }
}

impl Outcome {
    /// Returns an outcome of `code` (see [`code`]) with words for a person.
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, receipt: None, retry_after_ms: None, message: message.into(), failed_alerts: Vec::new(), extra: Vec::new() }
    }

    /// The service has it.
    pub fn delivered() -> Self {
        Self::new(code::DELIVERED, "")
    }

    /// Worth another try.
    pub fn retry(message: impl Into<String>) -> Self {
        Self::new(code::RETRY, message)
    }

    /// It will never work.
    pub fn never(message: impl Into<String>) -> Self {
        Self::new(code::NEVER, message)
    }

    /// The service does not accept the credentials.
    pub fn credentials(message: impl Into<String>) -> Self {
        Self::new(code::CREDENTIALS, message)
    }

    /// It is too large for the service.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(code::TOO_LARGE, message)
    }

    /// Something in the configuration is wrong.
    pub fn misconfigured(message: impl Into<String>) -> Self {
        Self::new(code::MISCONFIGURED, message)
    }

    /// Keeps what the service calls the message: the next notification of the group has it as `previous_receipt`.
    pub fn receipt(mut self, receipt: impl Into<String>) -> Self {
        self.receipt = Some(receipt.into());
        self
    }

    /// Says how long to wait before the next try.
    pub fn retry_after(mut self, wait: std::time::Duration) -> Self {
        self.retry_after_ms = u64::try_from(wait.as_millis()).ok();
        self
    }

    /// Says which alerts the service did not take, when it took the others.
    pub fn failed_alerts(mut self, indices: impl IntoIterator<Item = u32>) -> Self {
        self.failed_alerts = indices.into_iter().collect();
        self
    }

    /// Returns what an exchange means where the service follows HTTP: a status of the 200s is delivered; 401 and 403 are bad credentials;
    /// 408, 425, 429, the 500s, and every failure before a reply are worth another try, as late as `Retry-After` says; 413 is too large;
    /// what the host refused is misconfigured; the rest never works.
    pub fn from_http(exchange: &Exchange) -> Self {
        match exchange {
            Ok(reply) => {
                let text = reply.text();
                let said = text.chars().take(200).collect::<String>();
                let message = format!("status {}: {said}", reply.status);
                let outcome = match reply.status {
                    200..=299 => Self::delivered(),
                    401 | 403 => Self::credentials(message),
                    413 => Self::too_large(message),
                    408 | 425 | 429 | 500.. => Self::retry(message),
                    _ => Self::never(message),
                };
                match reply.retry_after() {
                    Some(wait) if outcome.code == code::RETRY => outcome.retry_after(wait),
                    _ => outcome,
                }
            }
            Err(failure) if failure.code == Failure::REFUSED => Self::misconfigured(failure.message.clone()),
            Err(failure) => Self::retry(failure.message.clone()),
        }
    }
}

impl Failure {
    /// The host does not allow the request.
    pub const REFUSED: u16 = 1;
    /// Nobody answers there.
    pub const CONNECT: u16 = 2;
    /// The certificate, or the handshake.
    pub const TLS: u16 = 3;
    /// It took too long.
    pub const TIMEOUT: u16 = 4;
    /// The reply broke off, or is none.
    pub const BROKEN: u16 = 5;
    /// It was not sent: an earlier one failed.
    pub const NOT_SENT: u16 = 6;

    /// Returns a failure of `code`.
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl Notification {
    /// Returns whether it says that all is well again.
    pub fn is_resolved(&self) -> bool {
        self.status == 1
    }

    /// Returns link `name` to a page of the host: `group`, `acknowledge`, `silence`.
    pub fn link(&self, name: &str) -> Option<&str> {
        find(&self.links, name)
    }

    /// Returns the value of label `name` if all alerts have the same.
    pub fn common_label(&self, name: &str) -> Option<&str> {
        find(&self.common_labels, name)
    }
}

impl crate::Alert {
    /// Returns whether it says that all is well again.
    pub fn is_resolved(&self) -> bool {
        self.state == 1
    }

    /// Returns the value of label `name`.
    pub fn label(&self, name: &str) -> Option<&str> {
        find(&self.labels, name)
    }

    /// Returns the value of annotation `name`.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        find(&self.annotations, name)
    }

    /// Returns link `name`.
    pub fn link(&self, name: &str) -> Option<&str> {
        find(&self.links, name)
    }
}

fn find<'a>(labels: &'a [(String, String)], name: &str) -> Option<&'a str> {
    labels.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_http_service_answers_says_what_follows() {
        let code = |status: u16| {
            let reply =
                Reply { status, headers: vec![("retry-after".to_owned(), "7".to_owned())], body: Vec::new(), truncated: false };
            let outcome = Outcome::from_http(&Ok(reply));
            (outcome.code, outcome.retry_after_ms)
        };
        assert_eq!([200, 204].map(code), [(code::DELIVERED, None); 2]);
        assert_eq!([429, 503].map(code), [(code::RETRY, Some(7000)); 2]);
        assert_eq!([401, 403].map(code), [(code::CREDENTIALS, None); 2]);
        assert_eq!([413, 400, 301].map(code).map(|(code, _)| code), [code::TOO_LARGE, code::NEVER, code::NEVER]);
        let failed = |kind: u16| Outcome::from_http(&Err(Failure::new(kind, "no"))).code;
        assert_eq!([Failure::REFUSED, Failure::TLS, Failure::TIMEOUT].map(failed), [code::MISCONFIGURED, code::RETRY, code::RETRY]);
    }
}
