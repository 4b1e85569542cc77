//! Unmodified Sentry SDKs send here: for Python, Node, browsers and Rust, and sentry-cli.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;
use watchfire_tasks::{chromium, node};
use watchfire_tests::{Client, TestHost, eventually, output, run_node, run_python};

/// Returns the DSN that `host` gives to programs.
async fn dsn(host: &TestHost) -> String {
    let told = host.client().get_json("/api/v1/errors/dsn").await;
    let key = told["key"].as_str().expect("a key");
    format!("{}/1", host.client().url().replace("://", &format!("://{key}@")))
}

/// Reads what a program prints last.
fn json(said: &str) -> Value {
    serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Where events are.
struct Placed {
    /// Issues in full, by id.
    issues: BTreeMap<String, Value>,
    /// The issue and the event, by the id that the SDK gave it.
    events: BTreeMap<String, (String, Value)>,
}

impl Placed {
    /// Waits until all events that `sent` names are in issues.
    async fn of(client: &Client, sent: &Value) -> Self {
        eventually("all events are in issues", async || {
            let placed = Self::now(client).await;
            ids(sent).all(|id| placed.events.contains_key(id)).then_some(placed)
        })
        .await
    }

    async fn now(client: &Client) -> Self {
        let mut placed = Self { issues: BTreeMap::new(), events: BTreeMap::new() };
        for line in client.get_json("/api/v1/issues?limit=1000").await["issues"].as_array().expect("a list") {
            let id = line["id"].as_str().expect("an id").to_owned();
            let issue = client.get_json(&format!("/api/v1/issues/{id}")).await;
            for event in issue["events"].as_array().expect("a list") {
                let name = event["event_id"].as_str().unwrap_or_default().to_owned();
                placed.events.insert(name, (id.clone(), event.clone()));
            }
            placed.issues.insert(id, issue);
        }
        placed
    }

    /// Returns the one issue of all events of `sent[name]`, and the first of these events.
    fn issue(&self, sent: &Value, name: &str) -> (&Value, &Value) {
        let found: Vec<_> = ids(&sent[name]).map(|id| &self.events[id]).collect();
        let (issue, event) = found[0];
        assert!(found.iter().all(|(other, _)| other == issue), "`{name}` is one issue: {found:#?}");
        (&self.issues[issue], event)
    }
}

/// Returns the ids in lists of `sent`.
fn ids(sent: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
    match sent {
        Value::Array(list) => Box::new(list.iter().filter_map(Value::as_str)),
        Value::Object(map) => Box::new(map.values().filter(|value| value.is_array()).flat_map(ids)),
        _ => Box::new(std::iter::empty()),
    }
}

/// Returns the crumbs, contexts and so on of an event, as text.
fn details(event: &Value) -> String {
    event["details"].to_string()
}

#[tokio::test]
async fn the_python_sdk_and_all_that_it_sends() {
    let host = TestHost::start();
    let sent = json(&run_python("sentry_sdk_events.py", &["--dsn", &dsn(&host).await]));
    let placed = Placed::of(host.client(), &sent).await;

    let (issue, event) = placed.issue(&sent, "chained");
    assert_eq!(
        (issue["issue"]["type"].as_str(), issue["issue"]["last_release"].as_str()),
        (Some("OrderError"), Some("shop@1.2.3"))
    );
    assert_eq!((event["environment"].as_str(), event["server"].as_str()), (Some("production"), Some("web-1")));
    assert_eq!((event["tags"]["team"].as_str(), event["trace_id"].as_str()), (Some("checkout"), sent["trace"].as_str()));
    let frames = issue["grouping"]["frames"].to_string();
    assert!(frames.contains("in load") && frames.contains("in charge"), "the cause's calls come first: {frames}");
    for said in ["put into the cart", "a breadcrumb of the log", "raise OrderError(f\\\"order {order} cannot be charged\\\")"] {
        assert!(details(event).contains(said), "`{said}` in {event:#}");
    }
    // What is secret is not kept, wherever it stood.
    let everything =
        host.client().get("/api/v1/export/errors").await.ok().body + &host.client().get("/api/v1/export/logs").await.ok().body;
    for secret in ["hunter2", "4111 1111 1111 1111"] {
        assert!(!everything.contains(secret), "{secret}");
    }
    let (message, event) = placed.issue(&sent, "message");
    assert_eq!((message["issue"]["level"].as_str(), event["severity_number"].as_u64()), (Some("WARN"), Some(13)));
    let (own, event) = placed.issue(&sent, "fingerprint");
    assert_eq!((own["grouping"]["basis"].as_str(), own["issue"]["count"].as_u64()), (Some("fingerprint"), Some(2)));
    assert_eq!(event["severity_number"], 21, "it was sent as fatal");
    placed.issue(&sent, "attachment");
    assert_eq!(placed.issue(&sent, "repeated").0["issue"]["count"], 1, "{}", sent["repeated"]);
    assert_eq!(placed.issue(&sent, "monitored").0["issue"]["type"], "TimeoutError");

    let records = host.client().records_until(1, &[("q", "\"payment 7 is slow\" duration_ms>1250")]).await;
    assert_eq!(records[0].severity_number, 13);
    host.client().records_until(1, &[("q", "\"payment 8 failed\" level>=error")]).await;
    // Two runs, each of which says when it begins and how it ends.
    host.client().records_until(4, &[("q", "monitor.slug:nightly-import")]).await;
    host.client().records_until(1, &[("q", "\"it does not work\"")]).await;
    assert!(!host.client().series("sentry.sessions", &[]).await.is_empty(), "sessions are counted");
}

#[tokio::test]
async fn the_node_sdk_and_all_that_it_sends() {
    let host = TestHost::start();
    let Some(said) = run_node("sentry.mjs", &[&dsn(&host).await]) else { return };
    let mut sent = json(&said);
    // Its own filter of duplicates takes out those that follow at once: the first one arrives.
    sent["chained"].as_array_mut().expect("a list").truncate(1);
    let placed = Placed::of(host.client(), &sent).await;
    let (issue, event) = placed.issue(&sent, "chained");
    assert_eq!((issue["issue"]["type"].as_str(), event["release"].as_str()), (Some("OrderError"), Some("shop@1.2.3")));
    let types = issue["grouping"]["types"].to_string();
    assert!(types.contains("SyntaxError"), "the cause is part of it: {types}");
    assert!(details(event).contains("put into the cart"), "{event:#}");
    assert_eq!(placed.issue(&sent, "message").0["issue"]["level"], "WARN");
    assert_eq!(placed.issue(&sent, "fingerprint").0["grouping"]["basis"], "fingerprint");
    host.client().records_until(1, &[("q", "\"payment is slow\" duration_ms>1250")]).await;
    host.client().records_until(2, &[("q", "monitor.slug:nightly-import")]).await;
    host.client().records_until(1, &[("q", "event_name:sentry.feedback")]).await;
}

#[tokio::test]
async fn a_page_of_another_origin_sends_from_a_browser() {
    let host = TestHost::start();
    let Some(browser) = chromium::path() else { return };
    let Some(said) = run_node("sentry_browser.mjs", &[&dsn(&host).await, &browser.display().to_string()]) else { return };
    let mut sent = json(&said);
    sent["chained"].as_array_mut().expect("a list").truncate(1);
    let placed = Placed::of(host.client(), &sent).await;
    let (issue, event) = placed.issue(&sent, "chained");
    assert_eq!((issue["issue"]["type"].as_str(), event["release"].as_str()), (Some("CartError"), Some("shop-web@2.0.0")));
    assert!(issue["grouping"]["frames"].to_string().contains("total"), "{issue:#}");
    assert!(details(event).contains("opened the cart"), "{event:#}");
    let unhandled: Vec<_> = ids(&sent["unhandled"]).map(|id| placed.events[id].1["type"].clone()).collect();
    assert_eq!(unhandled, ["RangeError", "TypeError"]);
    host.client().records_until(1, &[("q", "\"payment failed\" level>=error")]).await;
}

#[tokio::test]
async fn sentry_cli_sends_events() {
    let host = TestHost::start();
    let Some(cli) = node::binary("@sentry/cli-linux-x64/bin/sentry-cli") else { return };
    let run = |arguments: &[&str], dsn: &str| {
        let mut command = Command::new(&cli);
        // It reads settings from the folder that it is run in, and above.
        command.args(arguments).env("SENTRY_DSN", dsn).env("SENTRY_DISABLE_UPDATE_CHECK", "1").current_dir(std::env::temp_dir());
        output(&mut command)
    };
    let dsn = dsn(&host).await;
    for number in 0..2 {
        let message = format!("backup {number} failed");
        run(&["send-event", "--message", &message, "--level", "error", "--tag", "disk:sda", "--release", "backup@7"], &dsn);
    }
    let issue = eventually("both events are one issue", async || {
        let placed = Placed::now(host.client()).await;
        placed.issues.into_values().find(|issue| issue["issue"]["count"] == 2)
    })
    .await;
    assert_eq!(issue["grouping"]["template"], "backup <number> failed");
    assert_eq!(
        (issue["events"][0]["release"].as_str(), issue["events"][0]["tags"]["disk"].as_str()),
        (Some("backup@7"), Some("sda"))
    );
    run(&["monitors", "run", "backup", "--", "true"], &dsn);
    host.client().records_until(2, &[("q", "backup monitor")]).await;
}

mod rust {
    use std::sync::Arc;

    use anyhow::Context as _;
    use sentry::integrations::{anyhow::AnyhowHubExt as _, backtrace::AttachStacktraceIntegration, contexts::ContextIntegration};
    use sentry::{ClientOptions, Hub, Level};
    use serde_json::{Value, json};

    fn price(text: &str) -> anyhow::Result<f64> {
        text.parse::<f64>().context("the price is no number")
    }

    fn order(number: u32) -> anyhow::Result<f64> {
        price("9,50").with_context(|| format!("order {number} cannot be charged"))
    }

    /// Sends with a client of its own, so that no other test is touched; returns the ids.
    pub(super) fn send(dsn: &str) -> Value {
        let mut options = ClientOptions::default();
        options.dsn = Some(dsn.parse().expect("the DSN is one"));
        options.release = Some("shop-rs@0.3.0".into());
        options.environment = Some("production".into());
        options.attach_stacktrace = true;
        options.default_integrations = false;
        options.in_app_include = vec!["it::sentry_sdks"];
        options.transport = Some(Arc::new(sentry::transports::DefaultTransportFactory));
        let options = options.add_integration(AttachStacktraceIntegration).add_integration(ContextIntegration::default());
        let client = Arc::new(sentry::Client::with_options(options));
        let hub = Arc::new(Hub::new(Some(Arc::clone(&client)), Arc::default()));
        let sent = Hub::run(Arc::clone(&hub), || {
            hub.configure_scope(|scope| {
                scope.set_tag("team", "checkout");
                scope.set_user(Some(sentry::User { id: Some("42".into()), ..Default::default() }));
            });
            hub.add_breadcrumb(sentry::Breadcrumb { message: Some("put into the cart".into()), ..Default::default() });
            let chained: Vec<_> =
                (17..20).map(|number| hub.capture_anyhow(&order(number).expect_err("9,50 is no number"))).collect();
            let message = hub.capture_message("disk of web-1 is 91 % full", Level::Warning);
            json!({
                "chained": chained.iter().map(|id| id.simple().to_string()).collect::<Vec<_>>(),
                "message": [message.simple().to_string()],
            })
        });
        assert!(client.close(Some(std::time::Duration::from_secs(20))), "the SDK has sent all");
        sent
    }
}

#[tokio::test]
async fn the_rust_sdk_sends_chains_of_errors() {
    let host = TestHost::start();
    let dsn = dsn(&host).await;
    let sent = tokio::task::spawn_blocking(move || rust::send(&dsn)).await.expect("the SDK does not panic");
    let placed = Placed::of(host.client(), &sent).await;
    let (issue, event) = placed.issue(&sent, "chained");
    assert_eq!((issue["issue"]["count"].as_u64(), event["release"].as_str()), (Some(3), Some("shop-rs@0.3.0")), "{issue:#}");
    assert!(details(event).contains("put into the cart") && details(event).contains("the price is no number"), "{event:#}");
    assert_eq!(placed.issue(&sent, "message").0["issue"]["level"], "WARN");
}

#[tokio::test]
async fn every_envelope_that_an_sdk_was_seen_to_send_is_taken() {
    let host = TestHost::start();
    let dsn = dsn(&host).await;
    let (address, key) = (dsn.rsplit_once('@').expect("a DSN").0, "x-sentry-auth");
    let auth = format!("Sentry sentry_version=7, sentry_key={}", address.trim_start_matches("http://"));
    let folder = watchfire_tasks::root().join("tests/fixtures/sentry");
    let mut sent = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        if path.extension().is_some_and(|extension| extension == "envelope") {
            let body = std::fs::read(&path).expect("it can be read");
            let request = host.client().request(reqwest::Method::POST, "/api/1/envelope/").header(key, &auth).body(body);
            let answer = host.client().send(request).await;
            assert_eq!(answer.status, 200, "{}: {}", path.display(), answer.body);
            sent += 1;
        }
    }
    assert!(sent > 10, "{sent} envelopes");
    // Events with an exception, a message or an attachment.
    eventually("the events are in issues", async || {
        let issues = host.client().get_json("/api/v1/issues").await["issues"].as_array().cloned().expect("a list");
        (issues.iter().filter_map(|issue| issue["count"].as_u64()).sum::<u64>() >= 5).then_some(())
    })
    .await;
}
