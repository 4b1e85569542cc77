//! A client of the public API, as a test needs it: answers are checked, and failures show the whole body.

use std::sync::Once;

use reqwest::{Method, RequestBuilder, header};
use serde_json::Value;
use watchfire_types::LogRecord;

use crate::eventually;

/// A client of one host.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: header::HeaderMap,
    /// Body as text.
    pub body: String,
}

impl Answer {
    /// Returns the body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.body))
    }

    /// Returns the body as one JSON value a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        self.body.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// Returns itself if the status is of the 200s.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!((200..300).contains(&self.status), "status {}: {}", self.status, self.body);
        self
    }

    /// Returns header `name`; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Client {
    /// Returns another client of the same host, with connections of its own.
    pub(crate) fn anew(&self) -> Self {
        Self::new(self.base.clone())
    }

    /// Returns a client of the host at `base`, such as `http://127.0.0.1:3473`.
    pub fn new(base: impl Into<String>) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // Fails only if the host in this process was first, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let http = reqwest::Client::builder().no_proxy().build().expect("a client without TLS files cannot fail");
        Self { http, base: base.into().trim().trim_end_matches('/').to_owned() }
    }

    /// Returns the address that it was made with.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Returns a request for what the other functions do not say: headers, methods.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// Sends `request`; `None` if the host is gone.
    pub async fn try_send(&self, request: RequestBuilder) -> Option<Answer> {
        let response = request.send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Some(Answer { status, headers, body: response.text().await.ok()? })
    }

    /// Sends `request`.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.unwrap_or_else(|| panic!("no answer from {}", self.base))
    }

    /// GETs `path`, whatever the status.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// GETs `path`, which must succeed, as JSON.
    pub async fn get_json(&self, path: &str) -> Value {
        self.get(path).await.ok().json()
    }

    /// GETs `path` with a query, whatever the status.
    pub async fn query(&self, path: &str, query: &[(&str, &str)]) -> Answer {
        self.send(self.request(Method::GET, path).query(query)).await
    }

    /// POSTs `body` to `path`, whatever the status.
    pub async fn post(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.send(self.request(Method::POST, path).header(header::CONTENT_TYPE, content_type).body(body)).await
    }

    /// POSTs JSON to `path`, whatever the status.
    pub async fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.post(path, "application/json", body.to_string()).await
    }

    /// POSTs log lines as NDJSON, which must all be accepted.
    pub async fn ingest(&self, lines: &[Value]) {
        let body = lines.iter().flat_map(|line| [line.to_string(), "\n".into()]).collect::<String>();
        let answer = self.post("/api/v1/logs", "application/x-ndjson", body).await.ok().json();
        assert_eq!(answer["rejected"], 0, "{answer}");
    }

    /// Returns the records that a search finds, newest first.
    pub async fn records(&self, query: &[(&str, &str)]) -> Vec<LogRecord> {
        let answer = self.query("/api/v1/logs", query).await.ok().json();
        serde_json::from_value(answer["records"].clone()).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// Returns the records that a search finds as soon as there are `count`; more are a failure.
    pub async fn records_until(&self, count: usize, query: &[(&str, &str)]) -> Vec<LogRecord> {
        let records = eventually(&format!("{count} records for {query:?}"), async || {
            let records = self.records(query).await;
            (records.len() >= count).then_some(records)
        })
        .await;
        assert_eq!(records.len(), count, "{query:?}");
        records
    }

    /// Returns the series of a metric; none if the name is unknown.
    pub async fn series(&self, name: &str, labels: &[(&str, &str)]) -> Vec<Value> {
        let labels: Vec<_> = labels.iter().map(|(key, value)| ("label", format!("{key}={value}"))).collect();
        let request = self.request(Method::GET, "/api/v1/metrics/query").query(&[("name", name)]).query(&labels);
        let answer = self.send(request).await;
        if answer.status == 404 { Vec::new() } else { answer.ok().json()["series"].as_array().cloned().unwrap_or_default() }
    }

    /// Returns the alerts of rule `rule` in `state`.
    pub async fn alerts(&self, rule: &str, state: &str) -> Vec<Value> {
        let answer = self.query("/api/v1/alerts", &[("state", state)]).await.ok().json();
        let alerts = answer["alerts"].as_array().cloned().unwrap_or_default();
        alerts.into_iter().filter(|alert| alert["rule"] == rule || alert["labels"]["alertname"] == rule).collect()
    }

    /// Returns the notifications of the outbox that are in `state`: `queued`, `delivered` or `dead`.
    pub async fn outbox(&self, state: &str) -> Vec<Value> {
        let answer = self.get_json("/api/v1/outbox").await;
        let notifications = answer["notifications"].as_array().cloned().unwrap_or_default();
        notifications.into_iter().filter(|notification| notification["state"] == state).collect()
    }

    /// Opens a stream of server-sent events.
    pub async fn events(&self, request: RequestBuilder) -> EventStream {
        let response = request.header(header::ACCEPT, "text/event-stream").send().await.expect("the host answers");
        assert_eq!(response.status().as_u16(), 200);
        EventStream { response, buffer: String::new() }
    }
}

/// A stream of log records as server-sent events.
pub struct EventStream {
    response: reqwest::Response,
    buffer: String,
}

/// One event of the stream.
#[derive(Clone, Debug)]
pub struct StreamedRecord {
    /// What `Last-Event-ID` would resume after.
    pub id: String,
    /// The record.
    pub record: LogRecord,
}

impl EventStream {
    /// Waits for the next record; comments that only keep the connection open are passed over.
    pub async fn next(&mut self) -> StreamedRecord {
        loop {
            let event = self.next_event().await;
            let field = |name: &str| {
                let mut values = event.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                values.next().map(|value| value.trim_start().to_owned())
            };
            if let (Some(id), Some(data)) = (field("id"), field("data")) {
                let record = serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}"));
                return StreamedRecord { id, record };
            }
        }
    }

    async fn next_event(&mut self) -> String {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.buffer = rest;
                return event;
            }
            let chunk = self.response.chunk().await.expect("the stream stays open").expect("the stream has no end");
            self.buffer.push_str(&String::from_utf8_lossy(&chunk));
        }
    }
}
