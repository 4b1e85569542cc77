//! How many error events are kept with all that they carry, which ones, and what statistics say of those that are not.

use std::time::Duration;

use serde_json::{Value, json};
use watchfire_tests::{Client, TestHost, eventually};

const HOUR: Duration = Duration::from_secs(3600);

async fn capture(host: &TestHost, kind: &str, numbers: std::ops::Range<u32>) {
    let error = |number: u32| json!({"type": kind, "message": "it failed", "service": "shop", "attributes": {"number": number}});
    let errors: Vec<Value> = numbers.map(error).collect();
    host.client().post_json("/api/v1/errors", &errors.into()).await.ok();
}

async fn total(client: &Client, hours: u32) -> Value {
    client.get_json(&format!("/api/v1/errors/statistics?hours={hours}")).await
}

async fn counted(host: &TestHost, count: u64) {
    eventually(&format!("{count} errors are counted"), async || (total(host.client(), 720).await["total"] == count).then_some(()))
        .await;
}

/// Returns the position in the log of each event that is kept, oldest first.
fn kept(host: &TestHost) -> Vec<i64> {
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(host.path("data/errors")).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        if path.extension().is_some_and(|extension| extension == "db") {
            let connection = rusqlite::Connection::open(path).expect("the file can be opened");
            let mut statement = connection.prepare("SELECT seq FROM events").expect("there is such a table");
            let rows = statement.query_map([], |row| row.get::<_, i64>(0)).expect("it can be read");
            kept.extend(rows.map(|row| row.expect("it can be read")));
        }
    }
    kept.sort_unstable();
    kept
}

#[tokio::test]
async fn repeats_go_at_each_cleanup_and_the_first_the_last_and_the_rare_stay() {
    let mut host = TestHost::start_with(|config, _| {
        config.error_tracking.max_events = 10;
        config.error_tracking.cleanup_interval = HOUR;
    });
    capture(&host, "Rare", 0..1).await;
    for number in 0..11 {
        capture(&host, "Often", number..number + 1).await;
        counted(&host, u64::from(number) + 2).await;
    }
    assert_eq!(kept(&host).len(), 12, "a few too many wait for the next cleanup");
    host.clock().advance(HOUR / 2);
    host.client().get("/-/healthy").await.ok();
    assert_eq!(kept(&host).len(), 12, "it is not due yet");
    host.advance_until("the cleanup", Duration::from_secs(60), async || (kept(&host).len() == 10).then_some(())).await;
    let left = kept(&host);
    assert!(left.starts_with(&[1, 2]) && left.ends_with(&[12]), "the rare one, the first and the last stay: {left:?}");

    // Far too many do not wait.
    capture(&host, "Often", 11..200).await;
    counted(&host, 201).await;
    eventually("they are thinned at once", async || (kept(&host).len() <= 12).then_some(())).await;
    assert!(kept(&host).starts_with(&[1, 2]) && kept(&host).ends_with(&[201]));
    host.restart();
    let issues = host.client().get_json("/api/v1/issues?sort=count").await["issues"].clone();
    assert_eq!((&issues[0]["count"], &issues[1]["count"]), (&json!(200), &json!(1)), "counts stay exact");
    let detail = async |place: usize| {
        host.client().get_json(&format!("/api/v1/issues/{}", issues[place]["id"].as_str().expect("an id"))).await
    };
    assert_eq!(detail(0).await["events"][0]["details"]["extra"]["number"], 199);
    assert_eq!(detail(1).await["events"][0]["details"]["extra"]["number"], 0);
}

#[tokio::test]
async fn statistics_count_the_hours_that_they_are_asked_for() {
    let mut host = TestHost::start();
    capture(&host, "Old", 0..3).await;
    counted(&host, 3).await;
    host.clock().advance(30 * HOUR);
    capture(&host, "New", 0..2).await;
    capture(&host, "Old", 3..4).await;
    counted(&host, 6).await;
    host.restart();
    for (hours, total, issues, new) in [(1, 3, 2, 1), (24, 3, 2, 1), (48, 6, 2, 2), (720, 6, 2, 2)] {
        let told = self::total(host.client(), hours).await;
        assert_eq!((&told["hours"], &told["total"], &told["issues"]), (&json!(hours), &json!(total), &json!(issues)), "{told:#}");
        assert_eq!(told["new_issues"], json!(new), "{hours} hours: {told:#}");
        let hourly = told["hourly"].as_array().expect("a list");
        assert_eq!((hourly.len(), hourly.iter().filter_map(Value::as_u64).sum::<u64>()), (hours as usize, total));
    }
    let day = total(host.client(), 24).await;
    assert_eq!(day["by_type"], json!([{"name": "New", "count": 2}, {"name": "Old", "count": 1}]));
    assert_eq!(host.client().get("/api/v1/errors/statistics?hours=721").await.status, 400);
}
