//! Metrics: asked by name and label, and in Prometheus's text.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use watchfire::telemetry::catalogue::{self, OWN};
use watchfire_tasks::debian;
use watchfire_tests::otel::{self, Wire};
use watchfire_tests::payload::{PROTOBUF, gauge_request};
use watchfire_tests::{TestHost, eventually};

#[tokio::test]
async fn both_spellings_of_a_name_find_the_same_series() {
    let host = TestHost::start();
    host.client().post("/v1/metrics", PROTOBUF, gauge_request("api", "queue.depth", host.clock().now(), 7.0)).await.ok();
    for name in ["queue.depth", "queue_depth"] {
        let series = host.client().series(name, &[]).await;
        assert_eq!(series[0]["samples"][0]["value"], 7.0, "{name}: {series:?}");
    }
}

#[tokio::test]
async fn an_unknown_name_is_answered_with_the_nearest() {
    let host = TestHost::start();
    host.client().post("/v1/metrics", PROTOBUF, gauge_request("api", "queue.depth", host.clock().now(), 7.0)).await.ok();
    let answer = host.client().query("/api/v1/metrics/query", &[("name", "queue.dept")]).await;
    assert_eq!(answer.status, 404);
    assert!(answer.json()["error"]["message"].as_str().unwrap_or_default().contains("queue.depth"), "{}", answer.body);
}

#[tokio::test]
async fn samples_survive_a_restart_and_are_cut_to_the_range() {
    let mut host = TestHost::start();
    let start = host.clock().now();
    for minute in 0..5_u32 {
        let at = start.plus(Duration::from_secs(60) * minute);
        host.client().post("/v1/metrics", PROTOBUF, gauge_request("api", "queue.depth", at, f64::from(minute))).await.ok();
        host.clock().advance(Duration::from_secs(60));
    }
    host.restart();
    let query = [("name", "queue.depth"), ("since", &start.plus(Duration::from_secs(60)).to_string()), ("until", "2m")];
    let answer = host.client().query("/api/v1/metrics/query", &query).await.ok().json();
    let samples = answer["series"][0]["samples"].as_array().cloned().unwrap_or_default();
    let values: Vec<_> = samples.iter().filter_map(|sample| sample["value"].as_f64()).collect();
    assert_eq!(values, [1.0, 2.0], "{answer}");
}

#[tokio::test]
async fn the_machine_is_measured_under_the_names_of_the_specification() {
    let host = TestHost::start_with(|config, _| config.performance.auto_start = true);
    let wanted =
        ["system.cpu_percent", "system.memory_percent", "system.disk_usage_percent", "system.process_count", "system.network_io"];
    host.advance_until("all five metrics of the machine", Duration::from_secs(30), async || {
        let answer = host.client().get_json("/api/v1/metrics").await;
        let metrics = answer["metrics"].as_array().cloned().unwrap_or_default();
        let names: BTreeSet<_> = metrics.iter().filter_map(|metric| metric["name"].as_str()).collect();
        wanted.iter().all(|name| names.contains(name)).then_some(())
    })
    .await;
    let series = host.client().series("system.network_io", &[]).await;
    assert!(series.iter().all(|series| series["kind"] == "counter"), "{series:?}");
}

#[tokio::test]
async fn every_series_of_the_host_stands_in_the_catalogue_and_has_a_help_text() {
    let host = TestHost::start_with(|config, _| config.performance.auto_start = true);
    let text = eventually("/metrics holds the machine", async || {
        host.clock().advance(Duration::from_secs(30));
        let text = host.client().get("/metrics").await.ok().body;
        (text.contains("system_network_io") && text.contains("watchfire_outbox_rows")).then_some(text)
    })
    .await;
    let listed = catalogue::MACHINE.iter().chain(OWN).map(|entry| (entry.name.replace('.', "_"), entry.help));
    let listed: BTreeMap<_, _> = listed.collect();
    for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        let help = listed.get(name).unwrap_or_else(|| panic!("{name} is not in the catalogue"));
        assert!(text.contains(&format!("# HELP {name} {help}")), "{name} has no help text");
    }
}

#[tokio::test]
async fn promtool_finds_nothing_wrong_with_the_exposition() {
    let Some(promtool) = debian::program("promtool") else { return };
    let host = TestHost::start_with(|config, _| config.performance.auto_start = true);
    otel::send_metrics(host.client().url(), Wire::ALL[0], "cumulative", "shop");
    let text = eventually("/metrics holds the machine and the shop", async || {
        host.clock().advance(Duration::from_secs(30));
        let text = host.client().get("/metrics").await.ok().body;
        (text.contains("system_cpu_percent") && text.contains("shop_requests")).then_some(text)
    })
    .await;
    let mut check = promtool.command();
    let mut child = check.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    child.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("it ends");
    // Exit 3 means style: names of other people's metrics (`shop.requests` without `_total`) are kept as they come.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{said}\n{text}");
    let ours: Vec<_> = said.lines().filter(|line| line.starts_with("watchfire_")).collect();
    assert!(ours.is_empty(), "{ours:?}");
}
