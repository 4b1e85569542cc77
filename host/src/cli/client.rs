//! Asks the host through its public API.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{ACCEPT, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde_json::Value;

use super::args::HostArgs;
use super::report::AskedWrongly;

/// Why the host did not answer as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// It does not answer at all.
    #[error("cannot reach the host at {url}")]
    Unreachable {
        url: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answers that it will not.
    #[error("the host refused ({status}): {message}")]
    Refused { status: u16, message: String, retry_after: Option<Duration> },
    /// Something else answers.
    #[error("what answers at {url} is no watchfire (it said {status})")]
    Foreign { url: String, status: reqwest::StatusCode },
    /// Its answer broke off.
    #[error("the host's answer broke off")]
    Interrupted(#[source] reqwest::Error),
    /// It answers something that is not JSON.
    #[error("what answers at {url} is no watchfire (it did not send JSON)")]
    Strange {
        url: String,
        #[source]
        source: serde_json::Error,
    },
}

/// A host to ask.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<String>,
}

/// Parameters of a request; names may repeat.
pub(super) type Query<'a> = &'a [(&'static str, String)];

impl Client {
    /// Returns a client of the host that `args` name.
    pub(super) fn new(args: &HostArgs) -> anyhow::Result<Self> {
        let base = Url::parse(&args.url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let base = base.ok_or_else(|| {
            AskedWrongly(format!("`{}` is no address of a host: expected one such as `http://127.0.0.1:3473`", args.url))
        })?;
        // reqwest is built without a cryptography of its own; a second call finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .user_agent(concat!("watchfire/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&base) {
            http = http.no_proxy();
        }
        Ok(Self { http: http.build()?, base, token: args.token.clone().filter(|token| !token.is_empty()) })
    }

    /// Returns the host's address.
    pub(super) fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Of `path`, only the first part may hold slashes; the others are names of things, and what stands in them is escaped.
    fn request(&self, method: Method, path: &[&str], query: Query<'_>) -> RequestBuilder {
        let mut url = self.base.clone();
        if let (Ok(mut segments), Some((path, names))) = (url.path_segments_mut(), path.split_first()) {
            segments.pop_if_empty().extend(path.split('/')).extend(names);
        }
        let request = self.http.request(method, url);
        let request = if query.is_empty() { request } else { request.query(query) };
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|error| ClientError::Unreachable {
            url: self.url().to_owned(),
            // The library's own message repeats the address, with what stands in its query.
            source: Box::new(Causes::of(&error)),
        })?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    async fn refusal(&self, response: Response) -> ClientError {
        let status = response.status();
        let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = response.bytes().await.unwrap_or_default();
        let json: Value = serde_json::from_slice(&body).unwrap_or_default();
        let message = match json["error"]["message"].as_str() {
            Some(message) => message,
            // A proxy between us and the host may well be the one that is busy.
            None if status.is_server_error() => status.canonical_reason().unwrap_or("no reason given"),
            None => return ClientError::Foreign { url: self.url().to_owned(), status },
        };
        let message = message.to_owned();
        ClientError::Refused { status: status.as_u16(), message, retry_after: seconds.map(Duration::from_secs) }
    }

    /// Asks for `path` and returns the JSON that comes back.
    pub(super) async fn get(&self, path: &str, query: Query<'_>) -> Result<Value, ClientError> {
        let request = self.request(Method::GET, &[path], query).timeout(Duration::from_secs(60));
        self.json(self.send(request).await?).await
    }

    /// Asks for `path` and returns the text that comes back.
    pub(super) async fn get_text(&self, path: &str, query: Query<'_>) -> Result<String, ClientError> {
        let request = self.request(Method::GET, &[path], query).timeout(Duration::from_secs(300));
        self.send(request).await?.text().await.map_err(ClientError::Interrupted)
    }

    /// Asks for the thing called `name` under `path`.
    pub(super) async fn get_one(&self, path: &str, name: &str) -> Result<Value, ClientError> {
        let request = self.request(Method::GET, &[path, name], &[]).timeout(Duration::from_secs(60));
        self.json(self.send(request).await?).await
    }

    /// Posts nothing to `path/name/verb`.
    pub(super) async fn act(&self, path: &str, name: &str, verb: &str) -> Result<Value, ClientError> {
        let request = self.request(Method::POST, &[path, name, verb], &[]).timeout(Duration::from_secs(120));
        self.json(self.send(request).await?).await
    }

    /// Posts `body` as JSON to `path/name/verb`.
    pub(super) async fn act_with(&self, path: &str, name: &str, verb: &str, body: &Value) -> Result<Value, ClientError> {
        let request = self.request(Method::POST, &[path, name, verb], &[]).json(body).timeout(Duration::from_secs(120));
        self.json(self.send(request).await?).await
    }

    /// Asks for `path/name/what`.
    pub(super) async fn get_under(&self, path: &str, name: &str, what: &str) -> Result<Value, ClientError> {
        let request = self.request(Method::GET, &[path, name, what], &[]).timeout(Duration::from_secs(60));
        self.json(self.send(request).await?).await
    }

    /// Deletes `path/name`.
    pub(super) async fn delete(&self, path: &str, name: &str) -> Result<Value, ClientError> {
        let request = self.request(Method::DELETE, &[path, name], &[]).timeout(Duration::from_secs(60));
        self.json(self.send(request).await?).await
    }

    /// Posts `body` to `path`.
    pub(super) async fn post(&self, path: &str, query: Query<'_>, kind: &'static str, body: Vec<u8>) -> Result<Value, ClientError> {
        let request = self.request(Method::POST, &[path], query).header("content-type", kind).body(body);
        self.json(self.send(request.timeout(Duration::from_secs(120))).await?).await
    }

    /// Asks for `path` as lines: NDJSON, or server-sent events, of which `last_event` has been seen.
    pub(super) async fn lines(
        &self,
        path: &str,
        query: Query<'_>,
        accept: &'static str,
        last_event: Option<&str>,
    ) -> Result<Lines, ClientError> {
        let request = self.request(Method::GET, &[path], query).header(ACCEPT, accept);
        let request = match last_event {
            Some(id) => request.header("last-event-id", id),
            None => request,
        };
        Ok(Lines { response: self.send(request).await?, buffer: Vec::new(), start: 0 })
    }

    /// Asks for `path` as bytes.
    pub(super) async fn chunks(&self, path: &str, query: Query<'_>) -> Result<Chunks, ClientError> {
        Ok(Chunks(self.send(self.request(Method::GET, &[path], query)).await?))
    }

    async fn json(&self, response: Response) -> Result<Value, ClientError> {
        let bytes = response.bytes().await.map_err(ClientError::Interrupted)?;
        serde_json::from_slice(&bytes).map_err(|source| ClientError::Strange { url: self.url().to_owned(), source })
    }
}

/// The answer's bytes as they arrive.
pub(super) struct Chunks(Response);

impl Chunks {
    /// Returns the next bytes, or `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<bytes::Bytes>, ClientError> {
        self.0.chunk().await.map_err(ClientError::Interrupted)
    }
}

/// The answer's lines as they arrive.
pub(super) struct Lines {
    response: Response,
    buffer: Vec<u8>,
    start: usize,
}

impl Lines {
    /// Returns the next line without its end, or `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<String>, ClientError> {
        let mut searched = self.start;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                let end = searched + at;
                let line = &self.buffer[self.start..end];
                let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
                self.start = end + 1;
                return Ok(Some(line));
            }
            self.buffer.drain(..self.start);
            (self.start, searched) = (0, self.buffer.len());
            match self.response.chunk().await.map_err(ClientError::Interrupted)? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Ok(Some(String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned())),
            }
        }
    }
}

/// Why a request failed, without the request.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Causes(String);

impl Causes {
    fn of(error: &reqwest::Error) -> Self {
        let root = std::iter::successors(std::error::Error::source(error), |error| error.source()).last();
        Self(if error.is_timeout() {
            "no answer in time".into()
        } else {
            root.map_or_else(|| "the request failed".into(), ToString::to_string)
        })
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host.eq_ignore_ascii_case("localhost")
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
