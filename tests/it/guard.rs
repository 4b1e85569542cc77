//! Who may talk to the host.

use reqwest::Method;
use serde_json::json;
use watchfire_tests::{Client, Installation, TestHost};

#[tokio::test]
async fn a_foreign_host_or_origin_is_refused() {
    let host = TestHost::start();
    let status = async |header: &str, value: &str| {
        let request = host.client().request(Method::GET, "/api/v1/status").header(header, value);
        host.client().send(request).await.status
    };
    assert_eq!(status("host", "evil.example.com").await, 403);
    assert_eq!(status("host", "localhost:3473").await, 200);
    assert_eq!(status("host", "[::1]:3473").await, 200);
    assert_eq!(status("origin", "https://evil.example.com").await, 403);
    assert_eq!(status("origin", "null").await, 403);
    assert_eq!(status("origin", host.client().url()).await, 200);
    // A development server on this machine is another site too.
    assert_eq!(status("origin", "http://localhost:3000").await, 403);
}

#[tokio::test]
async fn a_foreign_origin_cannot_send_records_either() {
    let host = TestHost::start();
    for origin in ["https://evil.example.com", "http://localhost:3000"] {
        let request = host.client().request(Method::POST, "/api/v1/logs").header("origin", origin);
        let answer = host.client().send(request.body(json!({"message": "planted"}).to_string())).await;
        assert_eq!(answer.status, 403, "{origin}");
        assert_eq!(answer.json()["error"]["code"], "forbidden");
    }
}

#[tokio::test]
async fn listening_off_loopback_needs_a_token() {
    let installation = Installation::new(json!({"server": {"listen": "0.0.0.0:0"}}));
    let refused = installation.run(&["start", "--config", "config.json"]).expect(2);
    assert!(refused.stderr.contains("token"), "{}", refused.stderr);
}

#[tokio::test]
async fn a_caller_from_elsewhere_needs_the_token() {
    let Some(address) = own_address() else { return };
    let installation = Installation::new(json!({"server": {"listen": "0.0.0.0:0", "token": "open sesame"}}));
    let host = installation.start().await;
    let port = host.client().url().rsplit(':').next().expect("an address has a port").to_owned();
    let elsewhere = Client::new(format!("http://{address}:{port}"));
    let get = |token: Option<&str>| {
        let request = elsewhere.request(Method::GET, "/api/v1/status");
        elsewhere.send(match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    };
    assert_eq!(get(None).await.status, 401);
    assert_eq!(get(Some("open")).await.status, 401);
    assert_eq!(get(Some("open sesame")).await.status, 200);
    assert_eq!(host.client().get("/api/v1/status").await.status, 200, "loopback needs none");
}

/// Returns an address of this machine that is not loopback, if it has one. Nothing is sent.
pub(crate) fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}
