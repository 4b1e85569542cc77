//! A receiver of webhooks that remembers what came and answers by a script.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use parking_lot::Mutex;
use serde_json::Value;

use crate::{background, eventually};

/// What the receiver does with one request.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// Answers with a status.
    Status(u16),
    /// Answers with a status and `Retry-After` in seconds.
    RetryAfter(u16, u32),
    /// Answers 200, but late.
    Slow(Duration),
    /// Closes the connection without an answer.
    Reset,
    /// Answers with a status and a body.
    Body(u16, &'static str),
    /// Sends elsewhere.
    Redirect(&'static str),
    /// Answers 200 with what came: path, headers and body.
    Echo,
}

/// One request that came.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// When.
    pub at: Instant,
    /// Path and query.
    pub path: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, as it came.
    pub body: String,
    /// What was done with it.
    pub reply: Reply,
}

impl Delivery {
    /// Returns the body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// Returns the `Idempotency-Key`: the same for every attempt to deliver one notification.
    pub fn key(&self) -> &str {
        self.headers.get("idempotency-key").and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Returns whether the sender was told that it arrived.
    pub fn accepted(&self) -> bool {
        matches!(self.reply, Reply::Status(200..=299) | Reply::Body(200..=299, _) | Reply::Slow(_) | Reply::Echo)
    }
}

/// An HTTP server on port 0 that ends with the process.
#[derive(Clone)]
pub struct WebhookReceiver {
    shared: Arc<Mutex<Shared>>,
    url: String,
}

struct Shared {
    script: VecDeque<Reply>,
    otherwise: Reply,
    deliveries: Vec<Delivery>,
}

impl WebhookReceiver {
    /// Starts one that answers 200.
    pub fn start() -> Self {
        Self::with_script([])
    }

    /// Starts one that answers as `script` says, and then 200.
    pub fn with_script(script: impl IntoIterator<Item = Reply>) -> Self {
        Self::answering(script, Reply::Status(200))
    }

    /// Starts one that answers as `script` says, and then with `otherwise`.
    pub fn answering(script: impl IntoIterator<Item = Reply>, otherwise: Reply) -> Self {
        let shared = Shared { script: script.into_iter().collect(), otherwise, deliveries: Vec::new() };
        let shared = Arc::new(Mutex::new(shared));
        let router = Router::new().fallback(receive).with_state(shared.clone());
        let listener = background::block_on(|| tokio::net::TcpListener::bind(("127.0.0.1", 0))).expect("a free port exists");
        let url = format!("http://{}/hook", listener.local_addr().expect("it is bound"));
        background::runtime().spawn(async move { axum::serve(listener, router).await });
        Self { shared, url }
    }

    /// Returns where to post.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns everything that came, in order.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.lock().deliveries.clone()
    }

    /// Returns the bodies that were accepted and say `status` (`firing` or `resolved`), in order.
    pub fn accepted(&self, status: &str) -> Vec<Value> {
        let deliveries = self.deliveries();
        let bodies = deliveries.iter().filter(|delivery| delivery.accepted()).map(Delivery::json);
        bodies.filter(|body| body["status"] == status).collect()
    }

    /// Waits until `count` requests have come, whatever was answered.
    pub async fn wait_for(&self, count: usize) -> Vec<Delivery> {
        eventually(&format!("{count} requests at the receiver"), async || {
            let deliveries = self.deliveries();
            (deliveries.len() >= count).then_some(deliveries)
        })
        .await
    }
}

async fn receive(State(shared): State<Arc<Mutex<Shared>>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let (reply, echo) = {
        let mut shared = shared.lock();
        let reply = shared.script.pop_front().unwrap_or(shared.otherwise);
        let body = String::from_utf8_lossy(&body).into_owned();
        let echo = format!("{uri}\n{headers:?}\n{body}");
        shared.deliveries.push(Delivery { at: Instant::now(), path: uri.to_string(), headers, body, reply });
        (reply, echo)
    };
    let answer = |status: u16| Response::builder().status(status);
    let mut body = Body::empty();
    let response = match reply {
        Reply::Body(status, text) => {
            body = Body::from(text);
            answer(status).header("Content-Type", "application/json")
        }
        Reply::Redirect(url) => answer(302).header("Location", url),
        Reply::Echo => {
            body = Body::from(echo);
            answer(200)
        }
        Reply::Status(status) => answer(status),
        Reply::RetryAfter(status, seconds) => answer(status).header("Retry-After", seconds.to_string()),
        Reply::Slow(duration) => {
            tokio::time::sleep(duration).await;
            answer(200)
        }
        // Ends the connection's task: hyper then closes the socket. Without the panic hook, so that nothing is printed.
        Reply::Reset => std::panic::resume_unwind(Box::new("reset")),
    };
    response.body(body).expect("these statuses are valid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Client;

    #[tokio::test]
    async fn a_script_is_played_and_everything_is_remembered() {
        let receiver = WebhookReceiver::with_script([Reply::Status(500), Reply::RetryAfter(429, 7), Reply::Reset]);
        let client = Client::new(receiver.url().trim_end_matches("/hook"));
        let post = async |body: &str| {
            let request = client.request(reqwest::Method::POST, "/hook").body(body.to_owned());
            client.try_send(request).await.map(|answer| (answer.status, answer.header("retry-after").to_owned()))
        };
        assert_eq!(post("one").await, Some((500, String::new())));
        assert_eq!(post("two").await, Some((429, "7".to_owned())));
        assert_eq!(post("three").await, None);
        assert_eq!(post(r#"{"status": "firing"}"#).await, Some((200, String::new())));
        assert_eq!((receiver.deliveries().len(), receiver.accepted("firing").len()), (4, 1));
    }
}
