//! Requests to the host's API.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::AskError;
use crate::global::Shared;

/// Most bytes of an answer.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// Where the host is, and how it is asked.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    agent: ureq::Agent,
    url: String,
    token: Option<String>,
    timeout: Duration,
}

/// What the host answers when it refuses.
#[derive(Deserialize)]
struct Refusal {
    error: RefusalDetail,
}

#[derive(Deserialize)]
struct RefusalDetail {
    code: String,
    message: String,
}

impl Connection {
    pub(crate) fn new(shared: &Shared) -> Self {
        let config = &shared.config;
        let (url, token) = (config.url.trim_end_matches('/').to_owned(), config.token.clone());
        Self { agent: shared.agent.clone(), url, token, timeout: config.timeout }
    }

    /// Returns the same connection, with another time for a request.
    pub(crate) fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Asks, and returns the answer as a value of the program.
    pub(crate) fn json<T: DeserializeOwned>(&self, method: &str, path: &str, body: Option<&Json>) -> Result<T, AskError> {
        let text = self.send(method, path, body)?;
        serde_json::from_str(&text).map_err(|error| AskError::Unreadable {
            path: path.to_owned(),
            reason: format!("is {} a watchfire host? {error}", self.url),
        })
    }

    /// Asks, and returns the answer as text.
    pub(crate) fn send(&self, method: &str, path: &str, body: Option<&Json>) -> Result<String, AskError> {
        let unreachable = |reason: String| AskError::Unreachable { url: self.url.clone(), reason };
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let request = request.body(body).map_err(|error| unreachable(error.to_string()))?;
        let request = self.agent.configure_request(request).timeout_global(Some(self.timeout)).build();
        let mut answer = self.agent.run(request).map_err(|error| unreachable(error.to_string()))?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string();
        let text = text.map_err(|error| unreachable(error.to_string()))?;
        if answer.status().is_success() {
            return Ok(text);
        }
        let (code, message) = match serde_json::from_str::<Refusal>(&text) {
            Ok(Refusal { error }) => (error.code, error.message),
            Err(_) => (String::new(), text.chars().take(300).collect()),
        };
        Err(AskError::Refused { status, code, message })
    }
}
