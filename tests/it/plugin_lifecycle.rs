//! How a component comes to run, and how it is stopped.

use serde_json::{Value, json};
use watchfire::plugins::{Capability, Kind, PluginConfig, PluginState, compile_file};
use watchfire_tasks::components;
use watchfire_tests::{Installation, PluginRoom, eventually, plugin};

fn component(name: &str) -> Vec<u8> {
    std::fs::read(components::find(name)).expect("it was just built")
}

/// Returns a room without configuration and with `hostile-analyzer`, which behaves unless told otherwise, in its folder.
async fn room_with_a_file() -> PluginRoom {
    let room = PluginRoom::start([]).await;
    room.drop_in("finder.wasm", &component("hostile-analyzer")).await;
    room
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_is_only_found_is_listed_and_not_run() {
    let room = room_with_a_file().await;
    let view = room.view("finder");
    assert_eq!((view.state, view.kind, view.configured, view.calls), (PluginState::NotGranted, Some(Kind::Analyzer), false, 0));
    assert!(view.reason.contains("watchfire plugin enable finder --grant-all"), "{}", view.reason);
    assert_eq!((view.version.as_str(), view.summary.as_str()), ("0.1.0", "Misbehaves as it is told"));
    assert!(view.asks.capabilities.contains(&Capability::Kv), "{:?}", view.asks);
    assert!(view.imports.iter().any(|import| import == "watchfire:plugin/kv@0.1.0"), "{:?}", view.imports);
    assert!(room.plugins().analyzers().is_empty());
    let why = room.plugins().get("finder").err().unwrap();
    assert!(why.contains("not granted") && why.contains("watchfire plugin enable"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_is_granted_switched_off_and_on_and_removed() {
    let room = room_with_a_file().await;
    let mut changes = room.plugins().changes();
    changes.mark_unchanged();
    let refused = room.plugins().enable("finder", None).await.err().unwrap().to_string();
    assert!(refused.contains("nothing has been granted to `finder`"), "{refused}");

    let view = room.plugins().enable("finder", Some(room.view("finder").asks)).await.unwrap();
    assert_eq!((view.state, view.reason.as_str()), (PluginState::Ready, ""));
    assert!(changes.has_changed().unwrap() && room.plugins().get("finder").is_ok());
    assert_eq!(room.plugins().analyzers().len(), 1);
    assert_eq!(room.plugins().self_test("finder").await.unwrap(), Ok("it has seen 0 records".to_owned()));

    let view = room.plugins().disable("finder").await.unwrap();
    assert_eq!(view.state, PluginState::Disabled);
    assert!(view.reason.contains("watchfire plugin enable finder"), "{}", view.reason);
    assert!(room.plugins().get("finder").is_err());
    assert_eq!(room.plugins().enable("finder", None).await.unwrap().state, PluginState::Ready, "the grant is kept");

    room.plugins().remove("finder").await.unwrap();
    assert!(!room.has_file("finder.wasm") && room.plugins().view("finder").is_none());
    room.drop_in("finder.wasm", &component("hostile-analyzer")).await;
    assert_eq!(room.view("finder").state, PluginState::NotGranted, "another one of that name begins without grants");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_less_than_it_asks_for_does_not_let_it_run() {
    let room = room_with_a_file().await;
    let mut grant = room.view("finder").asks;
    grant.capabilities.clear();
    let view = room.plugins().enable("finder", Some(grant)).await.unwrap();
    assert_eq!(view.state, PluginState::NotGranted);
    assert!(view.reason.contains("it asks for `kv`, which is not granted"), "{}", view.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_kept_across_a_restart() {
    let mut room = room_with_a_file().await;
    room.drop_in("second.wasm", &component("hostile-analyzer")).await;
    for name in ["finder", "second"] {
        room.plugins().enable(name, Some(room.view(name).asks)).await.unwrap();
    }
    room.plugins().disable("second").await.unwrap();
    room.restart().await;
    assert_eq!((room.view("finder").state, room.view("second").state), (PluginState::Ready, PluginState::Disabled));
    assert_eq!(room.view("finder").compiled_seconds, None, "compiled code is kept, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_component_is_refused_with_a_reason() {
    let room = PluginRoom::start([]).await;
    let whole = component("hostile-analyzer");
    let folder = tempfile::tempdir().unwrap();
    let native = folder.path().join("native.cwasm");
    compile_file(&components::find("hostile-analyzer"), &native).unwrap();
    let files: [(&str, Vec<u8>, &str); 6] = [
        ("module", b"\0asm\x01\0\0\0".to_vec(), "WebAssembly module, not a component"),
        ("native", std::fs::read(native).unwrap(), "native code, which is never loaded"),
        ("text", b"#!/bin/sh\necho hello\n".to_vec(), "no WebAssembly component"),
        ("nothing", Vec::new(), "no WebAssembly component"),
        ("half", whole[..whole.len() / 2].to_vec(), "cannot be compiled"),
        ("empty", b"\0asm\x0d\0\x01\0".to_vec(), "exports neither"),
    ];
    for (name, bytes, _) in &files {
        room.drop_in(&format!("{name}.wasm"), bytes).await;
    }
    for (name, _, reason) in files {
        let view = room.view(name);
        assert_eq!(view.state, PluginState::Failed, "{name}");
        assert!(view.reason.contains(reason), "{name}: {}", view.reason);
        // Granting helps nothing.
        let view = room.plugins().enable(name, Some(view.asks)).await.unwrap();
        assert_eq!(view.state, PluginState::Failed, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_wants_files_or_a_network_is_refused() {
    let room = PluginRoom::start([("greedy", plugin("asks-for-too-much", json!({})))]).await;
    let view = room.view("greedy");
    assert_eq!(view.state, PluginState::Failed);
    let named = ["`wasi:filesystem/", "`wasi:sockets/"].iter().any(|import| view.reason.contains(import));
    assert!(named && view.reason.contains("which no plugin is given"), "{}", view.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_in_the_configuration_is_said_with_the_key_to_write() {
    let without = |component: &str, config: Value| PluginConfig { capabilities: [].into(), ..plugin(component, config) };
    let room = PluginRoom::start([
        ("keeper", without("hostile-analyzer", json!({}))),
        ("sender", without("hostile-channel", json!({"url": "https://hooks.example.com"}))),
    ])
    .await;
    for (name, what, key) in [("keeper", "`kv`", "keeper"), ("sender", "`secrets`", "sender")] {
        let view = room.view(name);
        assert_eq!(view.state, PluginState::NotGranted, "{name}");
        let key = format!("plugins.components.{key}.capabilities");
        assert!(view.reason.contains(what) && view.reason.contains(&key), "{}", view.reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_the_configuration_is_said_with_the_key_that_is_wrong() {
    let mut secret = plugin("hostile-channel", json!({"url": "https://hooks.example.com"}));
    secret.secrets = vec![("tokne".to_owned(), watchfire::config::Secret::new("x"))];
    let room = PluginRoom::start([
        ("type", plugin("hostile-analyzer", json!({"where": 5}))),
        ("unknown", plugin("hostile-analyzer", json!({"were": "x"}))),
        ("secret", secret),
        ("missing", PluginConfig::new("no-such-file")),
    ])
    .await;
    for (name, text) in [
        ("type", "config.where"),
        ("unknown", "config.were"),
        ("secret", "no secret called `tokne`; did you mean `token`?"),
        ("missing", "there is no component `no-such-file` in"),
    ] {
        let view = room.view(name);
        assert_eq!(view.state, PluginState::Failed, "{name}");
        assert!(view.reason.contains(text), "{name}: {}", view.reason);
    }
    let why = room.plugins().get("unknwon").err().unwrap();
    assert!(why.contains("did you mean `unknown`"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_decides_about_what_stands_in_it() {
    let off = PluginConfig { enabled: false, ..plugin("hostile-analyzer", json!({})) };
    let mut room = PluginRoom::start([("finder", off)]).await;
    assert_eq!(room.view("finder").state, PluginState::Disabled);
    assert!(room.view("finder").reason.contains("in the configuration"), "{}", room.view("finder").reason);
    let refused = room.plugins().enable("finder", Some(room.view("finder").asks)).await.err().unwrap().to_string();
    assert!(refused.contains("plugins.components.finder"), "{refused}");
    let refused = room.plugins().remove("finder").await.err().unwrap().to_string();
    assert!(refused.contains("stands in the configuration"), "{refused}");
    assert_eq!(room.plugins().enable("finder", None).await.unwrap().state, PluginState::Ready);
    room.restart().await;
    assert_eq!(room.view("finder").state, PluginState::Ready, "what was decided at run time is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_of_a_file_takes_the_place_of_the_old_one() {
    let room = room_with_a_file().await;
    room.plugins().enable("finder", Some(room.view("finder").asks)).await.unwrap();
    let before = room.view("finder");
    room.drop_in("finder.wasm", &component("hostile-channel")).await;
    let after = room.view("finder");
    assert_ne!(before.sha256, after.sha256);
    assert_eq!((after.kind, after.state), (Some(Kind::Channel), PluginState::NotGranted), "it asks for more: {}", after.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_finds_what_cargo_up_has_built_and_the_api_switches_it_on() {
    let _ = components::find("ssh-brute-force");
    let installation = Installation::new(json!({}));
    let folder = components::folder().display().to_string();
    let mut process = installation.spawn(&[("WATCHFIRE_COMPONENTS", &folder)]);
    assert!(process.wait_ready().await.is_some(), "{:#?}", process.log());
    let client = process.client();
    let found = eventually("the component is listed", async || {
        let answer = client.get("/api/v1/plugins/ssh-brute-force").await;
        (answer.status == 200).then(|| answer.json()).filter(|view| view["state"] != "loading")
    })
    .await;
    assert_eq!((&found["state"], &found["kind"]), (&json!("not_granted"), &json!("analyzer")), "{found}");
    let on = client.post_json("/api/v1/plugins/ssh-brute-force/enable", &json!({"grant": found["asks"]})).await.ok().json();
    assert_eq!(on["state"], "ready", "{on}");
    let tested = client.post_json("/api/v1/plugins/ssh-brute-force/test", &json!({})).await.ok().json();
    assert_eq!(tested["passed"], true, "{tested}");
    assert!(process.log().iter().any(|line| line.contains("ssh-brute-force")), "{:#?}", process.log());
}
