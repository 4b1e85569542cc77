//! What a component can learn of its secrets, and where it can send them.

use serde_json::{Value, json};
use watchfire_tasks::components;
use watchfire_tests::{Installation, Process, Reply, WebhookReceiver, eventually};

/// With characters that each encoding writes in its own way.
const TOKEN: &str = "hush/hush\"hush+hush";

fn disguised(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| byte ^ 0x5a).collect()
}

/// Tries receiver `watcher` and returns whether it delivered, and what it said.
async fn try_receiver(host: &Process) -> (bool, String) {
    eventually("an answer of the plugin", async || {
        let result = host.client().post_json("/api/v1/receivers/watcher/test", &json!({})).await.ok().json();
        let detail = result["detail"].as_str().unwrap_or_default().to_owned();
        (!detail.starts_with("no plugin is called")).then(|| (result["delivered"] == true, detail))
    })
    .await
}

fn installation(component: &str, config: &Value) -> Installation {
    let file = components::find(component);
    Installation::new(json!({
        "plugins": {"components": {"watcher": {
            "component": file, "capabilities": ["secrets"], "config": config, "secrets": {"token": TOKEN},
        }}},
        "alerting": {"receivers": [{"name": "watcher", "component": {"plugin": "watcher"}}]},
    }))
}

/// A component can read all of its own memory and nothing else, so what it does not find there it does not know.
#[tokio::test]
async fn a_component_never_has_its_secret_in_its_memory() {
    let service = WebhookReceiver::answering([], Reply::Echo);
    let basic = "bWU6aHVzaC9odXNoImh1c2graHVzaA==";
    let texts = ["This is a test of receiver watcher", "[secret]", TOKEN, "hush%2Fhush", "hush\\\"hush", basic];
    let config = json!({"url": service.url(), "hidden": texts.map(disguised)});
    let installation = installation("memory-searcher", &config);
    let host = installation.start().await;
    let (delivered, detail) = try_receiver(&host).await;
    assert!(delivered, "{detail}");
    // The search works: what it may know is found, even that something was taken out of the reply.
    assert!(detail.ends_with("found: true true false false false false"), "{detail}");
    // And the service was told all of it.
    let sent = &service.deliveries()[0];
    assert_eq!(sent.path, "/hook?token=hush%2Fhush%22hush%2Bhush");
    assert_eq!(sent.headers["authorization"], format!("Basic {basic}"));
    assert_eq!(sent.headers["x-token"], TOKEN);
    assert_eq!(sent.json()["token"], TOKEN);
}

#[tokio::test]
async fn a_component_reaches_only_what_it_was_granted() {
    let (granted, forbidden) = (WebhookReceiver::start(), WebhookReceiver::start());
    for (config, expected) in [
        (json!({"forbidden_url": forbidden.url()}), "it may not reach http://127.0.0.1:"),
        (json!({"where": "plan", "mode": "forged-placeholder"}), "a placeholder that the host did not hand out"),
        (json!({"where": "plan", "mode": "odd-header"}), "has a name that HTTP does not allow"),
        (json!({"where": "plan", "mode": "odd-method"}), "it does not say of itself that it uses method"),
        (json!({"where": "plan", "mode": "huge-body"}), "`plan` trapped: too much data"),
        (json!({"where": "plan", "mode": "empty-url"}), "its URL is not one"),
        (json!({"where": "plan", "mode": "secret-elsewhere", "forbidden_url": forbidden.url()}), "it may not reach"),
        (json!({"where": "plan", "mode": "huge-state"}), "a state of more than 65536 bytes"),
        (json!({"where": "plan", "mode": "many-requests"}), "a batch of more than 32 requests"),
        (json!({"where": "plan", "mode": "no-requests"}), "a batch without requests"),
        (json!({"where": "plan", "mode": "panic"}), "plugin `watcher`: `plan` trapped"),
    ] {
        let mut with_url = config.clone();
        with_url["url"] = granted.url().into();
        let installation = installation("hostile-channel", &with_url);
        let host = installation.start().await;
        let (delivered, detail) = try_receiver(&host).await;
        assert!(!delivered && detail.contains(expected), "{config}: {detail}");
        assert!(!detail.contains("hush"), "{detail}");
    }
    assert_eq!((granted.deliveries().len(), forbidden.deliveries().len()), (0, 0));
}

#[tokio::test]
async fn a_component_that_is_never_done_is_stopped() {
    let service = WebhookReceiver::start();
    let config = json!({"url": service.url(), "where": "next", "mode": "never-done"});
    let installation = installation("hostile-channel", &config);
    let host = installation.start().await;
    let (delivered, detail) = try_receiver(&host).await;
    assert!(!delivered && detail.contains("more than 16 batches of requests"), "{detail}");
    assert_eq!(service.deliveries().len(), 16);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = WebhookReceiver::start();
    let service = WebhookReceiver::answering([], Reply::Redirect(elsewhere.url().to_owned().leak()));
    let installation = installation("hostile-channel", &json!({"url": service.url()}));
    let host = installation.start().await;
    let (delivered, detail) = try_receiver(&host).await;
    assert!(!delivered && detail.contains("status 302"), "{detail}");
    assert_eq!((service.deliveries().len(), elsewhere.deliveries().len()), (1, 0));
}

/// Returns a name that is not `localhost` and stands for this machine.
fn name_of_this_machine() -> Option<String> {
    use std::net::ToSocketAddrs as _;
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let names = [own, "ip6-localhost".to_owned(), "localhost.localdomain".to_owned()];
    names.into_iter().find(|name| {
        let mut addresses = (name.as_str(), 80).to_socket_addrs().into_iter().flatten();
        addresses.any(|address| address.ip().is_loopback())
    })
}

#[tokio::test]
async fn a_name_that_stands_for_this_machine_is_not_connected_to() {
    let service = WebhookReceiver::start();
    let Some(name) = name_of_this_machine() else {
        watchfire_tasks::loudly("no name but `localhost` stands for this machine: that such names are refused is not tried");
        return;
    };
    let url = service.url().replace("127.0.0.1", &name);
    let mut installation = installation("hostile-channel", &json!({"url": url}));
    let (delivered, detail) = try_receiver(&installation.start().await).await;
    assert!(!delivered && detail.contains("a loopback address: grant `private_addresses` if that is meant"), "{detail}");
    assert_eq!(service.deliveries().len(), 0);
    installation.configure(json!({"plugins": {"components": {"watcher": {"private_addresses": true}}}}));
    let (delivered, detail) = try_receiver(&installation.start().await).await;
    assert!(delivered, "{detail}");
}
