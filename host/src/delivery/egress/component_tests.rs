use std::fmt::Write as _;
use std::net::SocketAddr;

use axum::body::Bytes;
use axum::http::{HeaderMap as Headers, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use super::*;
use crate::config::Secret;
use crate::plugins::secrets::BoundSecret;

const ENOUGH: Duration = Duration::from_secs(30);

/// A server that answers with what it was asked, but for some paths.
async fn server() -> SocketAddr {
    async fn answer(uri: Uri, headers: Headers, body: Bytes) -> Response {
        match uri.path() {
            "/elsewhere" => (StatusCode::FOUND, [("location", "/target")]).into_response(),
            "/large" => "x".repeat(3 << 20).into_response(),
            "/edge" => {
                let token = uri.query().unwrap_or_default();
                format!("{}{token}", "x".repeat(95)).into_response()
            }
            "/slow" => std::future::pending().await,
            _ => {
                let mut text = format!("{uri}\n");
                for (name, value) in &headers {
                    let _ = writeln!(text, "{name}: {}", value.to_str().unwrap_or("?"));
                }
                text.push_str(&String::from_utf8_lossy(&body));
                let echoed = headers.get("authorization").cloned().unwrap_or(HeaderValue::from_static("none"));
                ([("x-echo", echoed)], text).into_response()
            }
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(any(answer))).await });
    address
}

fn egress() -> ComponentEgress {
    egress_with(Matcher::builder().build())
}

/// Names mean what their first label says: `loopback`, `private`, or an address that nobody has.
fn egress_with(proxies: Matcher) -> ComponentEgress {
    let look_up: LookUp = Arc::new(|name| {
        Box::pin(async move {
            match name.split('.').next() {
                Some("loopback") => Ok(vec!["127.0.0.1:0".parse().unwrap()]),
                Some("mixed") => Ok(vec!["8.8.8.8:0".parse().unwrap(), "10.0.0.1:0".parse().unwrap()]),
                _ => Err(io::Error::other("no such name")),
            }
        })
    });
    ComponentEgress::with(&Egress::new(None).unwrap(), look_up, proxies).unwrap()
}

fn policy(outbound: &[&str]) -> EgressPolicy {
    EgressPolicy { outbound: outbound.iter().map(|&one| one.to_owned()).collect(), ..EgressPolicy::default() }
}

fn secrets(value: &str, host: &str) -> SecretBox {
    SecretBox::new(Arc::new(vec![BoundSecret { name: "token".into(), value: Secret::new(value), hosts: vec![host.to_owned()] }]))
}

fn get(url: impl Into<String>) -> Request {
    Request {
        method: "GET".into(),
        url: url.into(),
        headers: Vec::new(),
        body: Vec::new(),
        idempotent: true,
        timeout_ms: 0,
        max_reply_bytes: 0,
        extra: Vec::new(),
    }
}

async fn send(egress: &ComponentEgress, policy: &EgressPolicy, secrets: &SecretBox, request: &Request) -> Result<Reply, Failed> {
    egress.send(policy, &ChannelLimits::default(), secrets, request, ENOUGH).await
}

fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}

fn message(failed: Failed) -> String {
    match failed {
        Failed::Refused { kind, message } => format!("{kind}: {message}"),
        Failed::Sent { code, message } => format!("{code}: {message}"),
    }
}

#[tokio::test]
async fn secrets_arrive_and_do_not_come_back() {
    let egress = egress();
    let origin = format!("http://{}", server().await);
    let secrets = secrets("hush/hush&hush", &origin);
    let placeholder = |encoding| secrets.placeholder("token", encoding).unwrap();
    let mut request = get(format!("{origin}/send?t={}", placeholder("url")));
    request.method = "post".into();
    request.headers = vec![
        ("Authorization".into(), secrets.basic("me", "token").unwrap()),
        ("X-Token".into(), format!("t {}", placeholder("raw"))),
    ];
    request.body = format!(r#"{{"t":"{}"}}"#, placeholder("json")).into_bytes();
    let reply = send(&egress, &policy(&[&origin]), &secrets, &request).await.unwrap();
    assert_eq!((reply.status, reply.truncated), (200, false));
    let text = text(&reply);
    // It came back in every place where it had been put.
    assert_eq!(text.matches("[secret]").count(), 4, "{text}");
    assert!(text.contains(r#"{"t":"[secret]"}"#) && text.contains("/send?t=[secret]"), "{text}");
    assert!(!text.contains("hush") && !text.contains(PREFIX), "{text}");
    let echoed = reply.headers.iter().find(|(name, _)| name == "x-echo").unwrap();
    assert!(echoed.1.contains("[secret]"), "{echoed:?}");
}

#[tokio::test]
async fn what_was_not_granted_is_refused_before_anything_is_looked_up() {
    let egress = egress();
    let secrets = secrets("hush-hush", "https://api.example.com");
    let policy = policy(&["https://api.example.com", "https://*.example.org"]);
    for url in [
        "https://evil.example.com/",
        "http://api.example.com/",
        "https://api.example.com:8443/",
        "https://example.org/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://0x7f.1/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::1]/",
        "https://api.example.com@evil.org/",
        "https://me:pass@api.example.com/",
        "ftp://api.example.com/",
        "file:///etc/passwd",
        "api.example.com",
        "",
    ] {
        let failed = send(&egress, &policy, &secrets, &get(url)).await.unwrap_err();
        assert!(matches!(failed, Failed::Refused { kind: "outbound" | "url", .. }), "{url}: {failed:?}");
    }
    let failed = send(&egress, &policy, &secrets, &get("https://evil.example.com/x")).await.unwrap_err();
    insta::assert_snapshot!(message(failed), @"outbound: it may not reach https://evil.example.com: granted is https://api.example.com, https://*.example.org");
    // A secret that is bound to one of two granted hosts.
    let placeholder = secrets.placeholder("token", "url").unwrap();
    let failed = send(&egress, &policy, &secrets, &get(format!("https://a.example.org/{placeholder}"))).await.unwrap_err();
    insta::assert_snapshot!(message(failed), @"secret: secret `token` is not meant for https://a.example.org");
    let failed = send(&egress, &policy, &secrets, &get(format!("https://api.example.com/{PREFIX}_guess"))).await.unwrap_err();
    insta::assert_snapshot!(message(failed), @"placeholder: it holds a placeholder that the host did not hand out for this delivery");
}

#[tokio::test]
async fn a_url_that_is_a_secret_must_be_granted_too() {
    let egress = egress();
    let origin = format!("http://{}", server().await);
    let boxed = secrets(&format!("{origin}/services/hush"), &origin);
    let whole = boxed.placeholder("token", "raw").unwrap();
    let reply = send(&egress, &policy(&[&origin]), &boxed, &get(&whole)).await.unwrap();
    assert!(text(&reply).starts_with("/services/hush"), "{}", text(&reply));
    let failed = send(&egress, &policy(&["https://api.example.com"]), &boxed, &get(&whole)).await.unwrap_err();
    let message = message(failed);
    assert!(message.starts_with("outbound: ") && !message.contains("hush"), "{message}");
}

#[tokio::test]
async fn names_that_stand_for_this_machine_or_its_network_are_refused() {
    let egress = egress();
    let (boxed, port) = (secrets("hush-hush", "https://api.example.com"), server().await.port());
    for name in ["loopback.example.com", "mixed.example.com"] {
        let url = format!("http://{name}:{port}/");
        let mut policy = policy(&["https://api.example.com", &format!("http://{name}:{port}")]);
        let failed = send(&egress, &policy, &boxed, &get(&url)).await.unwrap_err();
        assert!(matches!(failed, Failed::Refused { kind: "address", .. }), "{failed:?}");
        // With the grant it is the system that looks the name up, and it knows none such.
        policy.private_addresses = true;
        let failed = send(&egress, &policy, &boxed, &get(&url)).await.unwrap_err();
        assert!(matches!(failed, Failed::Sent { code: CONNECT, .. }), "{failed:?}");
    }
    let failed =
        send(&egress, &policy(&["http://loopback.example.com"]), &boxed, &get("http://loopback.example.com")).await.unwrap_err();
    insta::assert_snapshot!(message(failed), @"address: `loopback.example.com` stands for 127.0.0.1, a loopback address: grant `private_addresses` if that is meant");
    // Whoever grants an address, or this machine by name, means it.
    for granted in [format!("http://127.0.0.1:{port}"), format!("http://localhost:{port}")] {
        let reply = send(&egress, &policy(&[&granted]), &boxed, &get(&granted)).await.unwrap();
        assert_eq!(reply.status, 200);
    }
}

#[tokio::test]
async fn behind_a_proxy_names_are_looked_at_all_the_same() {
    let proxies = || Matcher::builder().all("http://127.0.0.1:9").build();
    let boxed = secrets("hush-hush", "https://api.example.com");
    let policy = policy(&["http://loopback.example.com"]);
    let request = get("http://loopback.example.com/");
    let failed = egress_with(proxies()).send(&policy, &ChannelLimits::default(), &boxed, &request, ENOUGH).await.unwrap_err();
    assert!(matches!(failed, Failed::Refused { kind: "address", .. }), "{failed:?}");
}

#[tokio::test]
async fn redirects_are_handed_over_and_not_followed() {
    let egress = egress();
    let origin = format!("http://{}", server().await);
    let boxed = secrets("hush-hush", &origin);
    let reply = send(&egress, &policy(&[&origin]), &boxed, &get(format!("{origin}/elsewhere"))).await.unwrap();
    assert_eq!((reply.status, text(&reply)), (302, String::new()));
    assert!(reply.headers.contains(&("location".into(), "/target".into())), "{:?}", reply.headers);
}

#[tokio::test]
async fn headers_methods_and_sizes_have_bounds() {
    let origin = format!("http://{}", server().await);
    let (boxed, policy) = (secrets("hush\r\nX-More: 1", &origin), policy(&[&origin]));
    let egress = egress();
    let refused = async |change: &dyn Fn(&mut Request)| {
        let mut request = get(&origin);
        request.method = "POST".into();
        change(&mut request);
        match send(&egress, &policy, &boxed, &request).await {
            Err(Failed::Refused { message, .. }) => message,
            other => panic!("{other:?}"),
        }
    };
    for name in OWN_HEADERS.into_iter().chain(["Proxy-Authorization", "HOST", "Content-length"]) {
        let message = refused(&|request| request.headers = vec![(name.to_owned(), "1".to_owned())]).await;
        assert!(message.ends_with("is the host's to set"), "{message}");
    }
    let raw = boxed.placeholder("token", "raw").unwrap();
    let split = refused(&|request| request.headers = vec![("X-Token".to_owned(), raw.clone())]).await;
    insta::assert_snapshot!(split, @"header `X-Token` has a value that HTTP does not allow");
    let named = refused(&|request| request.headers = vec![(raw.clone(), "1".to_owned())]).await;
    insta::assert_snapshot!(named, @"header `[secret]` has a name that HTTP does not allow");
    let many = refused(&|request| request.headers = vec![("X-Many".to_owned(), "1".to_owned()); 101]).await;
    insta::assert_snapshot!(many, @"it has more than 100 headers or 32768 bytes of them");
    for method in ["DELETE", "CONNECT", "TRACE", "GE T", ""] {
        assert!(refused(&|request| request.method = method.to_owned()).await.ends_with("only GET, POST"));
    }
    insta::assert_snapshot!(refused(&|request| request.body = vec![b'x'; MAX_BODY_BYTES + 1]).await, @"its body has more than 8388608 bytes");
    insta::assert_snapshot!(refused(&|request| request.url = format!("{origin}/{}", "x".repeat(MAX_URL_BYTES))).await, @"its URL has more than 16384 bytes");
    let small = ChannelLimits { max_body_bytes: 10, ..ChannelLimits::default() };
    let mut request = get(&origin);
    request.body = vec![b'x'; 11];
    let failed = egress.send(&policy, &small, &boxed, &request, ENOUGH).await.unwrap_err();
    insta::assert_snapshot!(message(failed), @"body: its body has more than 10 bytes");
}

#[tokio::test]
async fn a_reply_is_cut_and_a_secret_on_the_edge_is_not_seen() {
    let egress = egress();
    let origin = format!("http://{}", server().await);
    let (boxed, policy) = (secrets("hush-hush-hush", &origin), policy(&[&origin]));
    let mut request = get(format!("{origin}/large"));
    let reply = send(&egress, &policy, &boxed, &request).await.unwrap();
    assert_eq!((reply.body.len(), reply.truncated), (DEFAULT_REPLY_BYTES, true));
    request.max_reply_bytes = u32::MAX;
    let reply = send(&egress, &policy, &boxed, &request).await.unwrap();
    assert_eq!((reply.body.len(), reply.truncated), (MAX_REPLY_BYTES, true));
    request = get(format!("{origin}/edge?{}", boxed.placeholder("token", "raw").unwrap()));
    request.max_reply_bytes = 100;
    let reply = send(&egress, &policy, &boxed, &request).await.unwrap();
    assert_eq!((text(&reply), reply.truncated), (format!("{}[secr", "x".repeat(95)), true));
}

#[tokio::test]
async fn a_failure_says_of_which_kind_it_is_and_no_secret() {
    let egress = egress();
    let address = server().await;
    let origin = format!("http://{address}");
    let boxed = SecretBox::new(Arc::new(vec![BoundSecret {
        name: "token".into(),
        value: Secret::new("hush-hush"),
        hosts: vec![
            origin.clone(),
            format!("https://{address}"),
            "http://127.0.0.1:1".into(),
            "https://nowhere.example.com".into(),
        ],
    }]));
    let hosts = [origin.as_str(), &format!("https://{address}"), "http://127.0.0.1:1", "https://nowhere.example.com"];
    let policy = policy(&hosts);
    let placeholder = boxed.placeholder("token", "url").unwrap();
    let mut slow = get(format!("{origin}/slow?{placeholder}"));
    slow.timeout_ms = 50;
    let broken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broken_origin = format!("http://{}", broken.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = broken.accept().await {
            drop(socket);
        }
    });
    let mut with_broken = policy.clone();
    with_broken.outbound.push(broken_origin.clone());
    for (request, expected) in [
        (slow, TIMEOUT),
        (get(format!("http://127.0.0.1:1/{placeholder}")), CONNECT),
        (get(format!("https://nowhere.example.com/{placeholder}")), CONNECT),
        (get(format!("https://{address}/{placeholder}")), TLS),
        (get(broken_origin), BROKEN),
    ] {
        let failed = send(&egress, &with_broken, &boxed, &request).await.unwrap_err();
        let Failed::Sent { code, message } = failed else { panic!("{failed:?}") };
        assert_eq!(code, expected, "{message}");
        assert!(!message.contains("hush") && !message.contains(PREFIX), "{message}");
    }
}
