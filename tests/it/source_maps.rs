//! Source maps: unmodified sentry-cli uploads them, and events of unmodified SDKs are shown and grouped as they were written.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use watchfire_tasks::{chromium, node};
use watchfire_tests::{Client, Installation, TestHost, eventually, output, run_node};

/// A folder with a minified program, and what it needs to be uploaded and run.
struct Shop {
    cli: PathBuf,
    folder: PathBuf,
    file: String,
}

impl Shop {
    /// Builds the program in a folder of its own; `None` if there is no Node.
    fn build(host: &TestHost, build: &str) -> Option<Self> {
        let cli = node::binary("@sentry/cli-linux-x64/bin/sentry-cli")?;
        let folder = host.path(build);
        let built = run_node("source_maps_build.mjs", &[path(&folder), build])?;
        let file = last_json(&built)["file"].as_str().expect("a file").to_owned();
        let minified = std::fs::read_to_string(&file).expect("it was built");
        assert!(!minified.contains("checkoutOrder") && !minified.contains("parsePrice"), "{minified}");
        Some(Self { cli, folder, file })
    }

    /// Runs sentry-cli, which reads settings from where it is run.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.cli);
        command.args(arguments).env("SENTRY_DISABLE_UPDATE_CHECK", "1").current_dir(&self.folder);
        for (name, _) in std::env::vars().filter(|(name, _)| name.to_lowercase().ends_with("_proxy")) {
            command.env_remove(name);
        }
        command
    }

    fn inject(&self) {
        output(&mut self.command(&["sourcemaps", "inject", path(&self.folder)]));
    }

    fn upload(&self, host: &TestHost, token: &str, more: &[&str]) -> Command {
        let url = host.client().url().to_owned();
        let mut arguments = vec!["--url", &url, "--auth-token", token, "sourcemaps", "upload", "--org", "o", "--project", "p"];
        arguments.extend_from_slice(more);
        arguments.push(path(&self.folder));
        self.command(&arguments)
    }

    /// Runs the program under an SDK; returns the id of its event.
    fn run(&self, dsn: &str, release: &str) -> String {
        let said = run_node("source_maps_run.mjs", &[dsn, &self.file, release]).expect("there is a Node");
        last_json(&said)["events"][0].as_str().expect("an event").to_owned()
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("the path is UTF-8")
}

fn last_json(said: &str) -> Value {
    serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap_or_else(|error| panic!("{error}: {said}"))
}

async fn dsn(host: &TestHost) -> String {
    let told = host.client().get_json("/api/v1/errors/dsn").await;
    let key = told["key"].as_str().expect("a key");
    format!("{}/1", host.client().url().replace("://", &format!("://{key}@")))
}

/// Waits for the event of this id; returns its issue and the event.
async fn placed(client: &Client, id: &str) -> (Value, Value) {
    eventually("the event is in an issue", async || {
        for line in client.get_json("/api/v1/issues?limit=1000").await["issues"].as_array().expect("a list") {
            let issue = client.get_json(&format!("/api/v1/issues/{}", line["id"].as_str().expect("an id"))).await;
            let found = issue["events"].as_array().expect("a list").iter().find(|event| event["event_id"] == id).cloned();
            if let Some(event) = found {
                return Some((issue, event));
            }
        }
        None
    })
    .await
}

/// Returns the calls of an event, the nearest first.
fn calls(event: &Value) -> Vec<Value> {
    let exceptions = event["details"]["exception"]["values"].as_array().expect("exceptions");
    let mut frames = exceptions.last().expect("one")["stacktrace"]["frames"].as_array().expect("frames").clone();
    frames.reverse();
    frames
}

async fn bundles(client: &Client) -> Vec<Value> {
    client.get_json("/api/v1/source-maps").await["bundles"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn a_minified_error_is_shown_as_it_was_written() {
    let host = TestHost::start();
    let Some(shop) = Shop::build(&host, "first") else { return };
    let dsn = dsn(&host).await;
    shop.inject();

    // Before its maps are there, it is as it was sent, and says what is missing.
    let early = shop.run(&dsn, "shop@1");
    let (minified, event) = placed(host.client(), &early).await;
    assert_eq!(event["source_maps"]["resolved"], 0);
    let missing = &event["source_maps"]["missing"][0];
    assert!(missing["file"].as_str().expect("a file").ends_with("app.min.js"), "{event:#}");
    assert!(missing["debug_id"].as_str().is_some_and(|id| id.len() == 36), "{missing}");
    assert_eq!(missing["reason"], "no source map has been uploaded");

    let said = output(&mut shop.upload(&host, "any", &[]));
    assert!(said.contains("Source Map Upload Report"), "{said}");
    let listed = bundles(host.client()).await;
    assert_eq!((listed.len(), listed[0]["files"].as_u64(), listed[0]["project"].as_str()), (1, Some(2), Some("p")), "{listed:#?}");
    assert_eq!(listed[0]["debug_ids"][0], missing["debug_id"]);

    let first = shop.run(&dsn, "shop@1");
    let (issue, event) = placed(host.client(), &first).await;
    assert_ne!(issue["issue"]["id"], minified["issue"]["id"], "what came before its maps stays where it is");
    let calls = calls(&event);
    let shown: Vec<String> = calls
        .iter()
        .take(4)
        .map(|call| {
            format!("{} {}:{}", call["function"].as_str().unwrap_or("-"), call["filename"].as_str().unwrap_or("-"), call["lineno"])
        })
        .collect();
    let file = |name: &str| format!("tests/node/shop/{name}");
    for (call, (function, name, line)) in shown.iter().zip([
        ("parsePrice", "money.ts", 8),
        ("Cart.totalOfLines", "cart.ts", 12),
        ("checkoutOrder", "cart.ts", 19),
        ("handleOrder", "main.ts", 7),
    ]) {
        let expected = format!("{function} {}:{line}", file(name));
        assert!(
            call.starts_with(&format!("{function} ")) && expected.ends_with(call.rsplit('/').next().unwrap_or("-")),
            "{shown:#?} instead of {expected}"
        );
    }
    let nearest = &calls[0];
    assert!(nearest["context_line"].as_str().expect("a line").contains("throw new PriceError("), "{nearest:#}");
    assert_eq!((nearest["in_app"].as_bool(), nearest["pre_context"].as_array().map(Vec::len)), (Some(true), Some(5)));
    assert!(
        nearest["raw"]["filename"].as_str().or(nearest["raw"]["abs_path"].as_str()).expect("a file").ends_with("app.min.js"),
        "{nearest:#}"
    );
    assert_eq!(nearest["source_map"], missing["debug_id"]);
    assert!(event["stacktrace"].as_str().expect("a trace").contains("at parsePrice ("), "{event:#}");
    assert_eq!(issue["issue"]["culprit"], "money in parsePrice");
    assert!(issue["grouping"]["frames"].to_string().contains("cart in checkoutOrder"), "{issue:#}");
    let why = host.client().get_json(&format!("/api/v1/issues/{}/why", issue["issue"]["id"].as_str().expect("an id"))).await;
    assert!(why["components"].to_string().contains("money in parsePrice"), "{why:#}");

    // Another build of the same sources: other names, other places, the same issue.
    let second = Shop::build(&host, "second").expect("there is a Node");
    second.inject();
    output(&mut second.upload(&host, "any", &["--release", "shop@2", "--dist", "web"]));
    let (again, event) = placed(host.client(), &second.run(&dsn, "shop@2")).await;
    let raw = |event: &Value| self::calls(event)[0]["raw"]["colno"].as_u64();
    assert_ne!(raw(&event), Some(nearest["raw"]["colno"].as_u64().unwrap_or(0)), "it is another build");
    assert_eq!((&again["issue"]["id"], again["issue"]["count"].as_u64()), (&issue["issue"]["id"], Some(2)));

    // What was resolved stays so without its maps.
    for bundle in bundles(host.client()).await {
        let address = format!("/api/v1/source-maps/{}", bundle["id"].as_str().expect("an id"));
        let deleted = host.client().send(host.client().request(reqwest::Method::DELETE, &address)).await;
        assert_eq!(deleted.status, 204, "{}", deleted.body);
        let missing = host.client().send(host.client().request(reqwest::Method::DELETE, &address)).await;
        assert_eq!(missing.status, 404, "{}", missing.body);
    }
    let (issue, event) = placed(host.client(), &first).await;
    assert_eq!(
        (issue["issue"]["count"].as_u64(), event["source_maps"]["resolved"].as_u64().is_some_and(|calls| calls >= 4)),
        (Some(2), true)
    );
}

#[tokio::test]
async fn a_release_and_an_address_lead_to_the_map_too() {
    let host = TestHost::start();
    let Some(shop) = Shop::build(&host, "first") else { return };
    let folder = path(&shop.folder).to_owned();
    // Without debug ids, under the address that the program runs at.
    let prefix = format!("~{folder}");
    output(&mut shop.upload(&host, "any", &["--release", "shop@1", "--url-prefix", &prefix]));
    let (issue, event) = placed(host.client(), &shop.run(&dsn(&host).await, "shop@1")).await;
    assert_eq!(calls(&event)[0]["function"], "parsePrice", "{event:#}");
    assert_eq!(bundles(host.client()).await[0]["release"], "shop@1");

    // The same error as text, by OpenTelemetry's attributes: the same issue.
    let minified = std::fs::read_to_string(&shop.file).expect("it was built");
    let at = |what: &str| minified.find(what).expect("it is there") + 1;
    let stack = format!("PriceError: x\n    at a ({}:1:{})", shop.file, at("throw"));
    let record = json!({"resourceLogs": [{"resource": {"attributes": [
        {"key": "service.name", "value": {"stringValue": issue["issue"]["service"]}},
        {"key": "service.version", "value": {"stringValue": "shop@1"}}]},
        "scopeLogs": [{"logRecords": [{"severityNumber": 17, "timeUnixNano": host.clock().now().as_nanos().to_string(),
            "body": {"stringValue": "it failed"}, "attributes": [
            {"key": "exception.type", "value": {"stringValue": "PriceError"}},
            {"key": "exception.message", "value": {"stringValue": "x"}},
            {"key": "exception.stacktrace", "value": {"stringValue": stack}}]}]}]}]});
    host.client().post_json("/v1/logs", &record).await.ok();
    eventually("the trace is resolved", async || {
        for line in host.client().get_json("/api/v1/issues").await["issues"].as_array().expect("a list") {
            let issue = host.client().get_json(&format!("/api/v1/issues/{}", line["id"].as_str().expect("an id"))).await;
            let events = issue["events"].as_array().cloned().expect("a list");
            let text = events.iter().find(|event| event["raw_stacktrace"].as_str().is_some_and(|raw| raw.contains("app.min.js")));
            if let Some(event) = text {
                assert!(event["stacktrace"].as_str().expect("a trace").contains("money.ts:8:"), "{event:#}");
                return Some(());
            }
        }
        None
    })
    .await;
}

#[tokio::test]
async fn sentry_cli_is_told_what_is_wrong() {
    const TOKEN: &str = "a-token-of-the-host";
    let host = TestHost::start_with(|config, _| config.server.token = Some(watchfire::config::Secret::new(TOKEN.to_owned())));
    let Some(shop) = Shop::build(&host, "first") else { return };
    shop.inject();
    let refused = shop.upload(&host, "another-token", &[]).output().expect("sentry-cli runs");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("401"), "{said}");
    output(&mut shop.upload(&host, TOKEN, &["--release", "shop@1", "--wait"]));
    let url = host.client().url().to_owned();
    for action in ["new", "finalize"] {
        let arguments = ["--url", &url, "--auth-token", TOKEN, "releases", action, "--org", "o", "--project", "p", "shop@1"];
        output(&mut shop.command(&arguments));
    }
    output(&mut shop.command(&["--url", &url, "--auth-token", TOKEN, "info"]));

    // A bundle that is none: its chunk is taken, and the bundle refused, in Sentry's words.
    let client = host.client();
    let chunk = b"no archive";
    let sha1 = "7c9ea0eb1de92bd0bfbbe7a1e8a0c8c8a3ba8bd1";
    let form = |name: &str| {
        let mut form = format!("--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n").into_bytes();
        form.extend_from_slice(chunk);
        form.extend_from_slice(b"\r\n--B--\r\n");
        form
    };
    let send = async |body: Vec<u8>| {
        let request = client.request(reqwest::Method::POST, "/api/0/organizations/o/chunk-upload/");
        client.send(request.header("content-type", "multipart/form-data; boundary=B").body(body)).await
    };
    let wrong = send(form(sha1)).await;
    assert_eq!(wrong.status, 400, "{}", wrong.body);
    // It says which checksum the chunk has.
    let right = wrong.body.split("checksum ").nth(1).and_then(|rest| rest.get(..40)).expect("a checksum").to_owned();
    assert_eq!(send(form(&right)).await.status, 200);
    let wanted = json!({"checksum": right, "chunks": [right], "projects": ["p"], "version": "shop@9"});
    let assembled = client.post_json("/api/0/organizations/o/artifactbundle/assemble/", &wanted).await;
    let answer = assembled.ok().json();
    assert_eq!(answer["state"], "error", "{answer}");
    assert!(answer["detail"].as_str().expect("a reason").contains("no zip archive"), "{answer}");
    assert_eq!(bundles(client).await.len(), 1);
}

#[tokio::test]
async fn an_error_of_a_page_is_shown_as_it_was_written() {
    let host = TestHost::start();
    let Some(browser) = chromium::path() else { return };
    let Some(shop) = Shop::build(&host, "browser") else { return };
    shop.inject();
    output(&mut shop.upload(&host, "any", &[]));
    let (dsn, browser) = (dsn(&host).await, browser.display().to_string());
    let arguments = [dsn.as_str(), &browser, &shop.file];
    let Some(said) = run_node("source_maps_browser.mjs", &arguments) else { return };
    let id = last_json(&said)["events"][0].as_str().expect("an event").to_owned();
    let (issue, event) = placed(host.client(), &id).await;
    let nearest = &calls(&event)[0];
    assert_eq!((nearest["function"].as_str(), nearest["lineno"].as_u64()), (Some("parsePrice"), Some(8)), "{event:#}");
    assert_eq!(issue["issue"]["culprit"], "money in parsePrice");
}

#[tokio::test]
async fn a_kill_leaves_a_bundle_whole_or_its_parts_as_they_were() {
    // What sentry-cli was seen to send.
    let bundle = include_bytes!("../fuzz/seeds/source_map_bundle/bundle");
    let sha1 = "5b758ad21fff8989b604c66051cc069e8a1dc178";
    let mut form = format!("--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{sha1}\"\r\n\r\n").into_bytes();
    form.extend_from_slice(bundle);
    form.extend_from_slice(b"\r\n--B--\r\n");
    let wanted = json!({"checksum": sha1, "chunks": [sha1], "projects": ["p"], "version": "shop@1"});
    let assemble = |client: &Client| {
        let address = "/api/0/organizations/o/artifactbundle/assemble/";
        client.request(reqwest::Method::POST, address).json(&wanted)
    };
    for (point, stored) in [("source_maps.before_commit", 0), ("source_maps.after_commit", 1)] {
        let installation = Installation::new(json!({}));
        let mut host = installation.spawn(&[("WATCHFIRE_CRASH_AT", point)]);
        let client = host.wait_ready().await.expect("it starts");
        let first = client.try_send(assemble(&client)).await.expect("it answers");
        assert_eq!(first.json(), json!({"state": "not_found", "missingChunks": [sha1]}));
        let request = client.request(reqwest::Method::POST, "/api/0/organizations/o/chunk-upload/");
        let request = request.header("content-type", "multipart/form-data; boundary=B").body(form.clone());
        assert_eq!(client.try_send(request).await.map(|answer| answer.status), Some(200));
        assert!(client.try_send(assemble(&client)).await.is_none_or(|answer| answer.status != 200), "{point}");
        host.wait_exit().await;
        drop(host);
        let host = installation.start().await;
        assert_eq!(bundles(host.client()).await.len(), stored, "{point}");
        // No part has to be sent again, and nothing is stored twice.
        let again = host.client().send(assemble(host.client())).await.ok().json();
        assert_eq!(again, json!({"state": "ok", "missingChunks": []}));
        let listed = bundles(host.client()).await;
        assert_eq!((listed.len(), listed[0]["release"].as_str(), listed[0]["files"].as_u64()), (1, Some("shop@1"), Some(2)));
    }
}
