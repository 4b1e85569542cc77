//! What Elasticsearch's clients send is stored, and each document is answered for.

use serde_json::{Value, json};
use watchfire_tests::{TestHost, run_node, run_python};

#[tokio::test]
async fn documents_of_both_python_clients_are_stored_and_the_others_are_refused_one_by_one() {
    let host = TestHost::start();
    let url = format!("{}/elasticsearch", host.client().url());
    for client in ["7", "8"] {
        let service = format!("shop-{client}");
        let told = run_python("elastic_bulk.py", &["--url", &url, "--client", client, "--service", &service, "--count", "100"]);
        let told: Value = serde_json::from_str(&told).expect("the client prints JSON");
        assert_eq!(
            (&told["version"], &told["successful"], &told["single"]),
            (&json!("8.19.0"), &json!(100), &json!("created")),
            "{told}"
        );
        assert_eq!((&told["alive"], &told["health"]), (&json!(true), &json!("green")));
        let errors = told["errors"].as_array().expect("a list");
        let error = |at: usize| {
            (errors[at]["action"].as_str(), errors[at]["status"].as_u64(), errors[at]["reason"].as_str().unwrap_or_default())
        };
        assert_eq!(error(0), (Some("create"), Some(400), "the record is older than the retention of logs"));
        assert!(matches!(error(1), (Some("delete"), Some(400), reason) if reason.contains("does not change")), "{told}");
        let records = host.client().records_until(101, &[("service", &service), ("limit", "200")]).await;
        assert_eq!(records.iter().filter(|record| record.severity_number == 17).count(), 50);
        let order = records.iter().find(|record| record.body.as_text() == Some("order 7 – 日本語")).expect("it is stored");
        assert!(order.attributes.contains(&("order.id".to_owned(), 7.into())), "{order:?}");
        assert!(order.resource.contains(&("elasticsearch.index".to_owned(), "shop-2026.11.24".into())), "{order:?}");
    }
}

#[tokio::test]
async fn documents_of_the_node_client_are_stored() {
    let host = TestHost::start();
    let Some(told) = run_node("elastic.mjs", &[&format!("{}/elasticsearch", host.client().url()), "200"]) else { return };
    let told: Value = serde_json::from_str(&told).expect("the client prints JSON");
    assert_eq!((&told["successful"], &told["failed"]), (&json!(200), &json!(1)), "{told}");
    assert_eq!(
        told["dropped"],
        json!([{"status": 400, "reason": "the record is older than the retention of logs", "message": "too old"}])
    );
    let records = host.client().records_until(200, &[("service", "node-shop"), ("limit", "500")]).await;
    assert!(records.iter().all(|record| record.severity_number == 13));
}

#[tokio::test]
async fn a_client_at_the_root_is_told_where_to_send() {
    let host = TestHost::start();
    let answer = host.client().post("/shop/_bulk", "application/x-ndjson", "{\"index\":{}}\n{}\n").await;
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("/elasticsearch"), "{}", answer.body);
}
