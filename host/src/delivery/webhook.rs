//! Sends notifications as HTTP POST.

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use url::Url;
use watchfire_types::Timestamp;

use super::channel::Outcome;
use super::egress::Egress;
use super::notification::Notification;
use super::types::{Webhook, WebhookBody};
use super::{render, retry};

/// Most bytes of an answer that are read.
const MAX_REPLY_BYTES: usize = 64 << 10;
/// Most characters of an answer that are kept.
const MAX_REPLY_TEXT: usize = 200;

/// A webhook, ready to send.
pub struct WebhookChannel {
    client: reqwest::Client,
    url: Url,
    headers: HeaderMap,
    slack: bool,
    address: String,
}

impl WebhookChannel {
    /// Returns the channel for `webhook`.
    ///
    /// # Errors
    /// Says what is wrong with its URL or headers, without showing them.
    pub fn new(webhook: &Webhook, egress: &Egress) -> Result<Self, String> {
        let url: Url = webhook.url.reveal().parse().map_err(|error| format!("its URL is not one: {error}"))?;
        let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")).ok_or("its URL is not http or https")?;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let address = format!("{}://{host}{port}", url.scheme());
        let mut headers = HeaderMap::new();
        for (name, value) in &webhook.headers {
            let bad = |what| format!("header `{name}` has a {what} that HTTP does not allow");
            let key: HeaderName = name.parse().map_err(|_| bad("name"))?;
            let mut value = HeaderValue::from_str(value.reveal()).map_err(|_| bad("value"))?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        let slack = match webhook.body {
            WebhookBody::Slack => true,
            WebhookBody::Json => false,
            WebhookBody::Auto => host == "slack.com" || host.ends_with(".slack.com"),
        };
        Ok(Self { client: egress.client(&url).clone(), headers, slack, address, url })
    }

    /// Returns scheme and host: the path may hold a secret.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends `notification`.
    pub async fn send(&self, notification: &Notification, now: Timestamp) -> Outcome {
        let body = if self.slack { render::slack(notification, now) } else { render::alertmanager(notification, now) };
        let request = self
            .client
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header("Idempotency-Key", &notification.id)
            .body(body.to_string());
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return failed(&error),
        };
        let status = response.status().as_u16();
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|text| retry::retry_after(text, now));
        let reply = reply(response).await;
        judge(status, after, &reply)
    }
}

/// Returns what follows from an HTTP answer.
fn judge(status: u16, after: Option<std::time::Duration>, reply: &str) -> Outcome {
    let reason = if reply.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {reply}") };
    match status {
        200..=299 => Outcome::Delivered { receipt: reason.into() },
        401 | 403 => Outcome::Credentials { reason },
        429 => Outcome::Retry { after, class: "rate_limited", reason },
        408 | 425 | 500..=599 => Outcome::Retry { after, class: "server", reason },
        300..=399 => Outcome::Never { reason: format!("{reason} (redirects are not followed: use the final URL)") },
        _ => Outcome::Never { reason },
    }
}

fn failed(error: &reqwest::Error) -> Outcome {
    let class = if error.is_timeout() { "timeout" } else { "network" };
    // The error's own text names the URL, its causes do not.
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    let text = if text.is_empty() { "the request failed".to_owned() } else { text };
    if error.is_builder() {
        return Outcome::Never { reason: text };
    }
    Outcome::Retry { after: None, class, reason: render::cut(&format!("{class}: {text}"), MAX_REPLY_TEXT) }
}

/// Returns the beginning of the answer's text on one line. What cannot be read is left out: the status has been given.
async fn reply(mut response: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= MAX_REPLY_BYTES {
            break;
        }
    }
    bytes.truncate(MAX_REPLY_BYTES);
    let text = String::from_utf8_lossy(&bytes);
    let line: Vec<&str> = text.split_whitespace().collect();
    render::cut(&line.join(" "), MAX_REPLY_TEXT)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Secret;

    fn webhook(url: &str, body: WebhookBody) -> Result<WebhookChannel, String> {
        let headers = vec![("Authorization".to_owned(), Secret::new("Bearer hush"))];
        WebhookChannel::new(&Webhook { url: Secret::new(url), headers, body }, &Egress::new(None).unwrap())
    }

    #[test]
    fn an_address_shows_no_secret() {
        let channel = webhook("https://user:pass@hooks.slack.com:8443/services/T/B/hush?x=hush", WebhookBody::Auto).unwrap();
        assert_eq!(channel.address(), "https://hooks.slack.com:8443");
        assert!(channel.slack);
        assert!(!webhook("https://notslack.com/x", WebhookBody::Auto).unwrap().slack);
        for bad in ["ftp://a/hush", "hush", "mailto:hush@a"] {
            assert!(!webhook(bad, WebhookBody::Auto).err().unwrap().contains("hush"));
        }
    }

    #[test]
    fn an_answer_says_what_follows() {
        let outcome = |status| match judge(status, Some(Duration::from_secs(7)), "") {
            Outcome::Delivered { .. } => "delivered",
            Outcome::Retry { after: Some(_), .. } => "retry",
            Outcome::Retry { .. } => "retry without time",
            Outcome::Credentials { .. } => "credentials",
            Outcome::Never { .. } => "never",
            Outcome::Paced { .. } | Outcome::Unclaimed { .. } => "paced",
        };
        let all = [200, 204, 302, 400, 401, 403, 404, 408, 410, 413, 425, 429, 500, 503]
            .map(|status| format!("{status} {}", outcome(status)));
        insta::assert_snapshot!(all.join(", "), @"200 delivered, 204 delivered, 302 never, 400 never, 401 credentials, 403 credentials, 404 never, 408 retry, 410 never, 413 never, 425 retry, 429 retry, 500 retry, 503 retry");
    }
}
