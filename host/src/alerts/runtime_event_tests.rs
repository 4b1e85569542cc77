//! Rules over findings and issues, over a real database: what a restart and a crash leave of them.

use super::*;
use crate::alerts::engine::testing::event_rule;
use crate::alerts::events::EventFilter;
use crate::alerts::events::testing::any_finding;

fn ssh() -> Rule {
    event_rule("ssh", 600, any_finding(), &[])
}

impl Bench {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn found(&self, key: &str) {
        self.findings.push(key, self.now());
    }

    /// The process dies: whatever is not in the database is gone.
    async fn crash_before_commit(mut self) -> Self {
        self.database.close();
        assert!(self.runner.tick().await.is_err());
        self.restart().await
    }

    fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    async fn tick(&mut self) -> String {
        self.runner.tick().await.unwrap();
        self.states()
    }

    fn history(&self) -> i64 {
        let all =
            |connection: &rusqlite::Connection| connection.query_row("SELECT count(*) FROM alert_history", [], |row| row.get(0));
        self.database.read_blocking(all).unwrap()
    }

    fn cursor(&self, source: &str) -> Option<u64> {
        let now = self.now();
        self.database.read_blocking(|connection| cursors::load(connection, source, now)).unwrap().position
    }
}

#[tokio::test]
async fn a_finding_fires_and_resolves_when_it_has_left_the_window() {
    let mut bench = Bench::new(vec![ssh()]).await;
    assert_eq!(bench.tick().await, "");
    bench.found("10.0.0.1");
    let tick = bench.at(1).await;
    assert_eq!(bench.states(), "ssh firing");
    assert_eq!(tick.next, Some(Timestamp::from_seconds(START + 11)), "group_wait");
    bench.at(11).await;
    bench.at(600).await;
    assert_eq!(bench.states(), "ssh firing");
    bench.at(602).await;
    assert_eq!(bench.states(), "ssh resolved");
    insta::assert_snapshot!(bench.story(), @"11s first +1 -0, 602s resolved +0 -1");
    let rows = bench.database.read_blocking(|connection| query::outbox(connection, None, 1)).unwrap();
    let alert = &rows[0].notification.alerts[0];
    assert_eq!((alert.labels["key"].as_str(), alert.annotations["summary"].as_str()), ("10.0.0.1", "attack from 10.0.0.1"));
    assert_eq!(alert.condition, "findings in 10m >= 1");
}

#[tokio::test]
async fn a_finding_stored_just_before_a_crash_fires_however_long_the_host_was_down() {
    let mut bench = Bench::new(vec![ssh()]).await;
    bench.tick().await;
    bench.found("10.0.0.1");
    let mut bench = bench.restart().await;
    bench.wait(30 * 86_400);
    assert_eq!(bench.tick().await, "ssh firing");
    // It arrived when it was read: neither a restart nor a rule that comes later makes it older.
    bench.wait(300);
    let mut bench = bench.restart().await;
    assert_eq!(bench.tick().await, "ssh firing");
    bench.alerts.add_rule(Rule { origin: RuleOrigin::Api, ..event_rule("other", 600, any_finding(), &[]) }).await.unwrap();
    bench.wait(299);
    assert_eq!(bench.tick().await, "other firing, ssh firing");
    bench.wait(2);
    assert_eq!(bench.tick().await, "ssh resolved, other resolved");
    let mut bench = bench.restart().await;
    assert_eq!(bench.tick().await, "ssh resolved, other resolved");
}

#[tokio::test]
async fn a_crash_before_the_commit_leaves_everything_as_it_was() {
    let mut bench = Bench::new(vec![ssh()]).await;
    bench.tick().await;
    bench.found("10.0.0.1");
    let bench = bench.crash_before_commit().await;
    assert_eq!((bench.states().as_str(), bench.history(), bench.cursor(FINDINGS)), ("", 0, Some(0)));
    let mut bench = bench.crash_before_commit().await;
    bench.wait(86_400);
    assert_eq!(bench.tick().await, "ssh firing");
    assert_eq!((bench.history(), bench.cursor(FINDINGS)), (1, Some(1)));
    let mut bench = bench.restart().await;
    assert_eq!(bench.tick().await, "ssh firing");
    assert_eq!(bench.history(), 1, "told once");
}

#[tokio::test]
async fn a_restart_neither_repeats_nor_forgets_and_the_windows_are_what_they_were() {
    let mut bench = Bench::new(vec![Rule { threshold: 3.0, ..ssh() }]).await;
    bench.found("10.0.0.1");
    bench.tick().await;
    bench.wait(300);
    bench.found("10.0.0.1");
    bench.tick().await;
    bench.wait(6);
    assert_eq!(bench.tick().await, "");
    let mut bench = bench.restart().await;
    bench.wait(200);
    bench.found("10.0.0.1");
    assert_eq!(bench.tick().await, "ssh firing");
    let mut bench = bench.restart().await;
    bench.wait(95);
    assert_eq!(bench.tick().await, "ssh resolved", "the first has left");
}

#[tokio::test]
async fn progress_without_a_change_is_stored_after_a_few_seconds_and_at_the_end() {
    let mut bench = Bench::new(vec![Rule { threshold: 5.0, ..ssh() }]).await;
    bench.tick().await;
    bench.found("10.0.0.1");
    let tick = bench.at(1).await;
    assert_eq!((bench.cursor(FINDINGS), tick.next), (Some(0), Some(Timestamp::from_seconds(START + 5))));
    assert_eq!(bench.at(5).await.next, None, "a quiet source costs nothing");
    assert_eq!(bench.cursor(FINDINGS), Some(1));
    bench.found("10.0.0.1");
    bench.at(6).await;
    assert_eq!(bench.cursor(FINDINGS), Some(1));
    bench.runner.save().await.unwrap();
    assert_eq!(bench.cursor(FINDINGS), Some(2));
}

#[tokio::test]
async fn a_rule_that_comes_later_sees_only_what_its_window_reaches_back_to() {
    let mut bench = Bench::new(Vec::new()).await;
    bench.found("old");
    bench.wait(700);
    bench.found("recent");
    bench.wait(300);
    bench.tick().await;
    assert_eq!(bench.cursor(FINDINGS), Some(2));
    bench.alerts.add_rule(Rule { origin: RuleOrigin::Api, ..ssh() }).await.unwrap();
    assert_eq!(bench.tick().await, "ssh firing");
    bench.wait(301);
    assert_eq!(bench.tick().await, "ssh resolved", "it counts from when it was stored");
}

#[tokio::test]
async fn each_source_has_a_cursor_of_its_own() {
    let issues = EventFilter::NewIssue { service: None, level: None, regressions: false };
    let mut bench = Bench::new(vec![ssh(), event_rule("issue", 600, issues, &[])]).await;
    bench.issues.push_with("7", bench.now(), |event| event.kind = "new".into());
    bench.issues.push_with("8", bench.now(), |event| event.kind = "regressed".into());
    assert_eq!(bench.tick().await, "issue firing");
    assert_eq!((bench.cursor(FINDINGS), bench.cursor(ISSUES)), (Some(0), Some(2)));
    let rows = bench.database.read_blocking(|connection| query::alerts(connection, None, 1)).unwrap();
    assert_eq!((rows[0].labels["issue"].as_str(), rows[0].condition.as_str()), ("7", "new issues in 10m >= 1"));
}

#[tokio::test]
async fn findings_that_cannot_be_read_resolve_nothing_and_stop_nothing_else() {
    let mut bench = Bench::new(vec![ssh(), log_rule("burst", 60, 1.0, &[])]).await;
    bench.found("10.0.0.1");
    assert_eq!(bench.tick().await, "ssh firing");
    bench.findings.set_broken(true);
    let mut bench = bench.restart().await;
    bench.errors(1);
    bench.wait(30);
    assert_eq!(bench.tick().await, "burst firing, ssh firing");
    bench.wait(700);
    assert_eq!(bench.tick().await, "ssh firing, burst resolved");
    bench.findings.set_broken(false);
    bench.tick().await;
    assert!(bench.states().contains("ssh resolved"), "{}", bench.states());
}

#[tokio::test]
async fn what_retention_took_is_no_error() {
    let mut bench = Bench::new(vec![ssh()]).await;
    bench.found("10.0.0.1");
    bench.findings.forget();
    assert!(!bench.runner.tick().await.unwrap().backlog);
    bench.found("10.0.0.2");
    assert_eq!(bench.tick().await, "ssh firing");
    bench.findings.forget();
    let mut bench = bench.restart().await;
    assert_eq!(bench.tick().await, "ssh resolved");
}

#[tokio::test]
async fn findings_that_begin_anew_are_read_from_their_beginning() {
    let mut bench = Bench::new(vec![ssh()]).await;
    for _ in 0..3 {
        bench.found("10.0.0.1");
    }
    bench.tick().await;
    bench.findings = TestEvents::new();
    let mut bench = bench.restart().await;
    bench.wait(700);
    assert_eq!(bench.tick().await, "ssh resolved");
    bench.found("10.0.0.2");
    assert_eq!(bench.tick().await, "ssh firing, ssh resolved");
}

#[tokio::test]
async fn a_repeated_notification_says_what_the_newest_finding_says() {
    let mut bench = Bench::new(vec![Rule { keep_firing_for: Duration::from_secs(30_000), ..ssh() }]).await;
    bench.found("10.0.0.1");
    bench.at(0).await;
    bench.at(10).await;
    bench.at(14_400).await;
    bench.findings.push_with("10.0.0.1", bench.now(), |event| event.title = "still at it".into());
    bench.at(14_410).await;
    insta::assert_snapshot!(bench.story(), @"10s first +1 -0, 14410s repeat +1 -0");
    let summary = |bench: &Bench| {
        let rows = bench.database.read_blocking(|connection| query::outbox(connection, None, 1)).unwrap();
        rows[0].notification.alerts[0].annotations["summary"].clone()
    };
    assert_eq!(summary(&bench), "still at it");
    let mut bench = bench.restart().await;
    bench.at(28_810).await;
    insta::assert_snapshot!(bench.story(), @"10s first +1 -0, 14410s repeat +1 -0, 28810s repeat +1 -0");
    assert_eq!(summary(&bench), "still at it", "the words are kept, though the finding has left the window");
}

#[tokio::test]
async fn a_new_finding_wakes_the_loop() {
    let bench = Bench::new(vec![ssh()]).await;
    let shutdown = CancellationToken::new();
    let (_sender, metrics_changed) = watch::channel(0);
    let running = tokio::spawn({
        let alerts = bench.alerts.clone();
        let sources = sources(&bench.samples, &bench.log, &bench.findings, &bench.issues);
        let shutdown = shutdown.clone();
        async move { alerts.run(sources, metrics_changed, shutdown).await }
    });
    while bench.cursor(FINDINGS).is_none() {
        tokio::task::yield_now().await;
    }
    bench.found("10.0.0.1");
    while bench.alerts.firing().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.states(), "ssh firing");
    bench.found("10.0.0.1");
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_a_rule_sees_is_shown() {
    let body = r#"{"name": "ssh", "finding": {"analyzer": "ssh-bruteforce"}, "window": "10m"}"#;
    let mut bench = Bench::new(vec![Rule { name: "any".into(), ..ssh() }]).await;
    let (status, rule) = request(&bench, "POST", "/api/v1/rules", body).await;
    assert_eq!((status, &rule["comparison"], &rule["threshold"]), (StatusCode::CREATED, &">=".into(), &1.0.into()));
    bench.found("10.0.0.1");
    bench.tick().await;
    let (_, seen) = request(&bench, "GET", "/api/v1/rule-groups/any", "").await;
    let group = serde_json::json!({"labels": {"analyzer": "ssh", "key": "10.0.0.1"}, "count": 1, "title": "attack from 10.0.0.1"});
    assert_eq!(seen, serde_json::json!({"groups": [group], "complete": true}));
    let (_, seen) = request(&bench, "GET", "/api/v1/rule-groups/ssh", "").await;
    insta::assert_snapshot!(seen["warning"].as_str().unwrap(), @"no finding from `ssh-bruteforce` has been seen, and no analyzer of this name is there; did you mean `ssh-brute-force`?");
    assert_eq!(request(&bench, "GET", "/api/v1/rule-groups/other", "").await.0, StatusCode::NOT_FOUND);
}
