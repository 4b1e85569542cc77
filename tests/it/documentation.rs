//! House checks: what the host answers is documented, and what is documented is answered.

use std::collections::BTreeSet;

use reqwest::Method;
use watchfire_tests::TestHost;

/// The API as people are told it is. A new route is added here, too.
const ROUTES: &[(&str, &str)] = &[
    ("get", "/api/v1/status"),
    ("get", "/api/v1/health"),
    ("get", "/-/healthy"),
    ("get", "/-/ready"),
    ("get", "/api/v1/logs"),
    ("post", "/api/v1/logs"),
    ("get", "/api/v1/logs/tail"),
    ("get", "/api/v1/logs/query"),
    ("post", "/api/v1/logs/query"),
    ("get", "/api/v1/logs/histogram"),
    ("get", "/api/v1/logs/context"),
    ("get", "/api/v1/logs/complete"),
    ("get", "/api/v1/logs/queries"),
    ("delete", "/api/v1/logs/queries/{id}"),
    ("get", "/api/v1/patterns"),
    ("get", "/api/v1/patterns/{id}"),
    ("get", "/api/v1/anomalies"),
    ("get", "/api/v1/report"),
    ("get", "/api/v1/anomalies/{id}"),
    ("post", "/api/v1/anomalies/{id}/ignore"),
    ("post", "/api/v1/anomalies/{id}/unignore"),
    ("get", "/api/v1/metrics"),
    ("get", "/api/v1/metrics/query"),
    ("get", "/metrics"),
    ("get", "/api/v1/rules"),
    ("post", "/api/v1/rules"),
    ("delete", "/api/v1/rules/{name}"),
    ("get", "/api/v1/alerts"),
    ("get", "/api/v1/alerts/{fingerprint}"),
    ("get", "/api/v1/receivers"),
    ("post", "/api/v1/receivers/{name}/test"),
    ("get", "/api/v1/outbox"),
    ("get", "/api/v1/export/logs"),
    ("get", "/api/v1/export/metrics"),
    ("get", "/api/v1/export/alerts"),
    ("get", "/api/v1/export/errors"),
    ("get", "/api/v1/issues"),
    ("get", "/api/v1/issues/{id}"),
    ("post", "/api/v1/issues/{id}/resolve"),
    ("post", "/api/v1/issues/{id}/ignore"),
    ("post", "/api/v1/issues/{id}/unresolve"),
    ("get", "/api/v1/issues/{id}/why"),
    ("post", "/api/v1/issues/{id}/assign"),
    ("post", "/api/v1/issues/{id}/comments"),
    ("post", "/api/v1/issues/{id}/merge"),
    ("post", "/api/v1/issues/{id}/unmerge"),
    ("get", "/api/v1/errors/dsn"),
    ("get", "/api/v1/errors/statistics"),
    ("post", "/api/v1/errors"),
    ("post", "/v1/logs"),
    ("post", "/v1/metrics"),
    ("post", "/loki/api/v1/push"),
    ("get", "/elasticsearch/"),
    ("post", "/elasticsearch/_bulk"),
    ("post", "/elasticsearch/{index}/_bulk"),
    ("post", "/upload"),
    ("post", "/api/v1/pull/channels/{name}/poll"),
    ("post", "/api/v1/pull/channels/{name}/acknowledge"),
    ("post", "/api/v1/pull/consumers/{name}/poll"),
    ("post", "/api/v1/pull/consumers/{name}/acknowledge"),
    ("post", "/api/{project}/envelope/"),
    ("post", "/api/{project}/store/"),
    ("post", "/api/{project}/security/"),
    ("post", "/api/{project}/minidump/"),
];

#[tokio::test]
async fn every_route_is_documented_and_every_documented_route_answers() {
    let host = TestHost::start();
    let document = host.client().get_json("/api/v1/openapi.json").await;
    let paths = document["paths"].as_object().expect("OpenAPI has paths");
    let documented: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, operations)| {
            operations.as_object().into_iter().flatten().map(move |(method, _)| (method.as_str(), path.as_str()))
        })
        .collect();
    let missing: Vec<_> = ROUTES.iter().filter(|route| !is_documented(&documented, route)).collect();
    assert!(missing.is_empty(), "not documented: {missing:?}");
    for (method, path) in documented {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("OpenAPI names methods");
        let concrete = path
            .replace("{kind}", "logs")
            .replace("{name}", "none")
            .replace("{fingerprint}", "none")
            .replace("{id}", "none")
            .replace("{index}", "none")
            .replace("{project}", "1");
        // Who asks for what is not there yet would wait for it.
        let concrete = if path.ends_with("/poll") { format!("{concrete}?wait=0") } else { concrete };
        // Without waiting for the body: the live tail has no end.
        let response = host.client().request(method.clone(), &concrete).send().await.expect("the host answers");
        assert_ne!(response.status().as_u16(), 405, "{method} {path}");
        // What is not there is refused in our own shape; an unknown route is not.
        let unknown_route = response.status().as_u16() == 404 && path == concrete && path != "/api/v1/metrics/query";
        assert!(!unknown_route, "{method} {path}");
    }
}

/// The four exports may be documented as one path with a parameter.
fn is_documented(documented: &BTreeSet<(&str, &str)>, (method, path): &(&str, &str)) -> bool {
    let as_parameter = path.starts_with("/api/v1/export/").then_some("/api/v1/export/{kind}");
    documented.contains(&(*method, *path)) || as_parameter.is_some_and(|path| documented.contains(&(*method, path)))
}

#[tokio::test]
async fn an_error_has_one_shape() {
    let host = TestHost::start();
    for path in ["/api/v1/nothing-here", "/api/v1/alerts/none", "/api/v1/logs?limit=many", "/api/v1/metrics/query?name=none"] {
        let answer = host.client().get(path).await;
        assert!(answer.status >= 400, "{path}");
        let error = &answer.json()["error"];
        assert!(error["code"].is_string() && error["message"].is_string(), "{path}: {}", answer.body);
    }
}

#[tokio::test]
async fn every_metric_of_ours_is_well_named() {
    let host = TestHost::start();
    let text = host.client().get("/metrics").await.ok().body;
    for line in text.lines().filter(|line| line.starts_with("# TYPE watchfire_")) {
        let (name, kind) = line.trim_start_matches("# TYPE ").split_once(' ').expect("a TYPE line has a kind");
        assert!(name.chars().all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_'), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
    }
}
