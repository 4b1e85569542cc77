use axum::body::Body;
use axum::http::{Request, StatusCode};
use tower::ServiceExt as _;
use watchfire_types::{MetricKind, MetricPoint, SeriesKey};

use super::*;
use crate::metrics::MetricsSettings;

const START: Timestamp = Timestamp::from_seconds(1_795_391_047);

async fn host() -> (tempfile::TempDir, Router) {
    let folder = tempfile::tempdir().unwrap();
    let (clock, self_metrics) = (Clock::manual(START), SelfMetrics::default());
    let metrics = Metrics::open(folder.path(), MetricsSettings::default(), clock.clone(), self_metrics.clone()).unwrap();
    let point = |name: &str, labels: &[(&str, &str)], kind, back: u64, value| MetricPoint {
        series: SeriesKey::new(name, labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))),
        kind,
        unit: String::new(),
        timestamp: START.minus(Duration::from_secs(back)),
        value,
        delta: false,
    };
    let batch = vec![
        point("system.cpu_percent", &[], MetricKind::Gauge, 60, 1.5),
        point("system.cpu_percent", &[], MetricKind::Gauge, 30, f64::NAN),
        point("system.cpu_percent", &[], MetricKind::Gauge, 0, 2.5),
        point("requests", &[("path", "/a b")], MetricKind::Counter, 7200, 3.0),
        point("own_total", &[], MetricKind::Counter, 30, 1.0),
    ];
    metrics.ingest(batch).await.unwrap();
    self_metrics.counter("own_total", &[]).add(2);
    let alerts_firing = Arc::new(|| 1);
    (folder, routes(MetricsApi { metrics, self_metrics, clock, alerts_firing }))
}

async fn get_text(router: &Router, path: &str) -> (StatusCode, String) {
    let response = router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn a_query_answers_samples_or_says_why_there_are_none() {
    let (_folder, router) = host().await;
    let ask = async |query: &str| get_text(&router, &format!("/api/v1/metrics/query?{query}")).await;
    let (status, body) = ask("name=system_cpu_percent&since=40s").await;
    assert_eq!(status, StatusCode::OK);
    insta::assert_snapshot!(body, @r#"{"series":[{"series":{"name":"system.cpu_percent","labels":[]},"kind":"gauge","unit":"","samples":[{"timestamp":"2026-11-22T23:43:37Z","value":null},{"timestamp":"2026-11-22T23:44:07Z","value":2.5}]}],"truncated":false}"#);
    assert!(ask("name=system.cpu_percent&limit=1").await.1.contains(r#""truncated":true"#));
    insta::assert_snapshot!(ask("name=requests&label=path%3D/a+b").await.1, @r#"{"series":[],"truncated":false,"hint":"there are samples from 2026-11-22T21:44:07Z to 2026-11-22T21:44:07Z, none in the range asked for"}"#);
    insta::assert_snapshot!(ask("name=requests&label=path%3Dx&since=1d").await.1, @r#"{"series":[],"truncated":false,"hint":"no series of `requests` has these labels; the only one is requests{path=\"/a b\"}"}"#);
    insta::assert_snapshot!(ask("name=sytem.cpu_percent").await.1, @r#"{"error":{"code":"not_found","message":"there is no metric `sytem.cpu_percent`; did you mean `system.cpu_percent`?"}}"#);
    assert_eq!(ask("name=sytem.cpu_percent").await.0, StatusCode::NOT_FOUND);
    for wrong in ["", "name=a&limit=0", "name=a&since=soon", "name=a&label=x", "name=a&nmae=b"] {
        assert_eq!(ask(wrong).await.0, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn the_exposition_shows_live_series_and_the_hosts_own_once() {
    let (_folder, router) = host().await;
    insta::assert_snapshot!(get_text(&router, "/metrics").await.1, @r#"
    # TYPE own_total counter
    own_total 2
    # HELP system_cpu_percent Share of all cores in use, 0 to 100.
    # TYPE system_cpu_percent gauge
    system_cpu_percent 2.5
    # HELP watchfire_metrics_damaged_total Pieces of stored metrics that could not be read and were left out.
    # TYPE watchfire_metrics_damaged_total counter
    watchfire_metrics_damaged_total 0
    # HELP watchfire_metrics_points_in_memory Samples held in memory, for rules and until they are in chunks.
    # TYPE watchfire_metrics_points_in_memory gauge
    watchfire_metrics_points_in_memory 10
    # HELP watchfire_metrics_points_total Points stored.
    # TYPE watchfire_metrics_points_total counter
    watchfire_metrics_points_total 5
    # HELP watchfire_metrics_series Series held in memory.
    # TYPE watchfire_metrics_series gauge
    watchfire_metrics_series 3
    "#);
}

#[tokio::test]
async fn an_export_has_every_sample_on_a_line() {
    let (_folder, router) = host().await;
    insta::assert_snapshot!(get_text(&router, "/api/v1/export/metrics").await.1, @r#"
    {"name":"system.cpu_percent","labels":{},"kind":"gauge","unit":"","timestamp":"2026-11-22T23:43:07Z","value":1.5}
    {"name":"system.cpu_percent","labels":{},"kind":"gauge","unit":"","timestamp":"2026-11-22T23:43:37Z","value":null}
    {"name":"system.cpu_percent","labels":{},"kind":"gauge","unit":"","timestamp":"2026-11-22T23:44:07Z","value":2.5}
    {"name":"requests","labels":{"path":"/a b"},"kind":"counter","unit":"","timestamp":"2026-11-22T21:44:07Z","value":3.0}
    {"name":"own_total","labels":{},"kind":"counter","unit":"","timestamp":"2026-11-22T23:43:37Z","value":1.0}
    "#);
    assert_eq!(get_text(&router, "/api/v1/export/metrics?since=45s").await.1.lines().count(), 3);
}

#[tokio::test]
async fn health_and_names_are_json() {
    let (_folder, router) = host().await;
    insta::assert_snapshot!(get_text(&router, "/api/v1/health").await.1, @r#"{"status":"unknown","timestamp":"2026-11-22T23:44:07Z","cpu_percent":2.5,"memory_percent":null,"disk_usage_percent":null,"process_count":null,"network_io":null,"alerts_firing":1,"reasons":["system.memory_percent has no samples: is `performance.auto_start` on?","system.disk_usage_percent has no samples: is `performance.auto_start` on?"]}"#);
    insta::assert_snapshot!(get_text(&router, "/api/v1/metrics").await.1, @r#"{"metrics":[{"name":"own_total","kind":"counter","unit":"","series":1},{"name":"requests","kind":"counter","unit":"","series":1},{"name":"system.cpu_percent","kind":"gauge","unit":"","series":1}]}"#);
}

#[test]
fn the_documentation_has_every_path() {
    let document = <ApiDoc as utoipa::OpenApi>::openapi();
    assert_eq!(document.paths.paths.len(), 5);
}
