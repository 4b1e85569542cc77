//! Components that misbehave: each costs its own call, in time, and nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use watchfire::plugins::{AnalyzerInstance, CallError, Plugin, PluginState, wire};
use watchfire_tests::{MemoryKv, PluginRoom, analyzer_input, plugin, plugin_notification};
use watchfire_types::Timestamp;

/// What a call may take beyond its limit of 300 ms: the machine is busy with other tests.
const SLACK: Duration = Duration::from_secs(2);
/// What no memory limit of 64 MiB may cost the process, in KiB.
const MOST_GROWTH_KIB: u64 = 300 << 10;

/// Returns the resident memory of this process, in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

fn notification(room: &PluginRoom) -> Arc<wire::Notification> {
    plugin_notification(room.clock().now())
}

/// Returns a room of channels, each of which misbehaves in call `place` as its name says.
async fn channels<'a>(place: &str, modes: impl IntoIterator<Item = &'a str>) -> PluginRoom {
    let config = |mode: &str| json!({"where": place, "mode": mode, "url": "https://hooks.example.com/x"});
    PluginRoom::start(modes.into_iter().map(|mode| (mode, plugin("hostile-channel", config(mode))))).await
}

/// Plans with channel `name` and returns what came of it and how long it took.
async fn plan(room: &PluginRoom, name: &str) -> (Result<wire::Step, CallError>, Duration) {
    let plugin = room.plugins().get(name).expect("it was set up");
    let now = room.clock().now();
    let mut session = plugin.open_channel(now).await.expect("it has not failed yet");
    let began = Instant::now();
    let planned = session.plan(notification(room), None, now).await;
    (planned, began.elapsed())
}

/// Returns a room of analyzers, each of which misbehaves in call `place` as its name says.
async fn analyzers<'a>(place: &str, modes: impl IntoIterator<Item = &'a str>) -> PluginRoom {
    let config = |mode: &str| json!({"where": place, "mode": mode});
    PluginRoom::start(modes.into_iter().map(|mode| (mode, plugin("hostile-analyzer", config(mode))))).await
}

/// Works with an instance of analyzer `name` where blocking is allowed.
async fn with_analyzer<T: Send + 'static>(
    room: &PluginRoom,
    name: &str,
    work: impl FnOnce(&mut AnalyzerInstance, Timestamp) -> T + Send + 'static,
) -> Result<T, CallError> {
    let plugin: Arc<Plugin> = room.plugins().get(name).expect("it was set up");
    let now = room.clock().now();
    let work = move || {
        let mut instance = plugin.start_analyzer(Arc::new(MemoryKv::default()), now)?;
        Ok(work(&mut instance, now))
    };
    tokio::task::spawn_blocking(work).await.expect("the host does not panic")
}

/// Does in an analyzer the call named `place`.
fn call(instance: &mut AnalyzerInstance, place: &str, now: Timestamp) -> Result<(), CallError> {
    match place {
        "analyze" => instance.analyze(&analyzer_input(&["one", "two"], 0, now), now).map(drop),
        "tick" => instance.tick(now, now).map(drop),
        "save" => instance.save(now).map(drop),
        "restore" => instance.restore(0, &[0; 8], now),
        other => panic!("no call is named {other}"),
    }
}

#[track_caller]
fn assert_class(result: Result<impl std::fmt::Debug, CallError>, class: &str, text: &str, what: &str) {
    let error = result.err().unwrap_or_else(|| panic!("{what}: it went well"));
    assert_eq!(error.class(), class, "{what}: {error}");
    assert!(error.to_string().contains(text), "{what}: {error}");
}

/// What each misbehaviour that both kinds share ends as: class, and words of the message.
const ENDS: [(&str, &str, &str); 10] = [
    ("spin", "deadline", "ran longer than 300ms"),
    ("allocate", "trap", "bytes of memory"),
    ("unreachable", "trap", "unreachable"),
    ("panic", "trap", "the plugin has a bug at row 17"),
    ("overflow", "trap", ""),
    ("log", "deadline", "ran longer than 300ms"),
    ("sleep", "deadline", "ran longer than 300ms"),
    ("exit", "trap", "ended itself with status 0"),
    ("exit-with-an-error", "trap", "ended itself with status 1"),
    ("refuse", "refused", "nnn"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_misbehaves_costs_its_delivery_and_is_called_again_later() {
    let room = channels("plan", ENDS.map(|(mode, ..)| mode)).await;
    for (mode, class, text) in ENDS {
        let before = resident_kib();
        let (planned, took) = plan(&room, mode).await;
        assert!(took < Duration::from_millis(300) + SLACK, "{mode} took {took:?}");
        assert!(resident_kib().saturating_sub(before) < MOST_GROWTH_KIB, "{mode} took {} KiB", resident_kib() - before);
        assert_class(planned, class, text, mode);
        let view = room.view(mode);
        let failure = view.last_failure.unwrap_or_default();
        assert!(failure.contains(text), "{mode}: {failure}");
        let plugin = room.plugins().get(mode).unwrap();
        if class == "refused" {
            assert_eq!((view.state, view.failures), (PluginState::Ready, 0), "{mode}");
            assert!(failure.len() < 10_000, "{mode}: {} bytes", failure.len());
        } else {
            assert_eq!((view.state, view.failures), (PluginState::Waiting, 1), "{mode}");
            let early = plugin.open_channel(room.clock().now()).await;
            assert!(matches!(early, Err(CallError::Backoff { .. })), "{mode} is called again at once");
        }
        room.let_waits_pass();
        assert!(plugin.open_channel(room.clock().now()).await.is_ok(), "{mode} is never called again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_trap_the_delivery_is_over_and_the_next_one_is_not() {
    let room = channels("next", ["panic"]).await;
    let (plugin, now) = (room.plugins().get("panic").unwrap(), room.clock().now());
    let mut session = plugin.open_channel(now).await.unwrap();
    let step = session.plan(notification(&room), None, now).await.unwrap();
    assert!(matches!(&step, wire::Step::Send(batch) if batch.requests.len() == 1), "{step:?}");
    let reply = wire::Reply { status: 200, headers: Vec::new(), body: Vec::new(), truncated: false };
    let next = session.next(notification(&room), b"posted".to_vec(), vec![Ok(reply)], now).await;
    assert_class(next, "trap", "the plugin has a bug", "next");
    assert_class(session.plan(notification(&room), None, now).await, "unavailable", "failed already", "the same delivery");
    room.let_waits_pass();
    let now = room.clock().now();
    assert!(plugin.open_channel(now).await.unwrap().plan(notification(&room), None, now).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_channel_hands_over_is_bounded() {
    // What is small enough to cross is judged where requests are sent.
    let modes = ["many-requests", "no-requests", "empty-url", "odd-method", "odd-header", "forged-placeholder", "wild-outcome"];
    let room = channels("plan", modes.into_iter().chain(["huge-body"])).await;
    assert_class(plan(&room, "huge-body").await.0, "trap", "", "a body of 20 MB");
    for mode in modes {
        let (planned, took) = plan(&room, mode).await;
        assert!(took < Duration::from_millis(300) + SLACK, "{mode} took {took:?}");
        assert!(planned.is_ok() || planned.as_ref().is_err_and(CallError::poisons), "{mode}: {planned:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyzer_that_misbehaves_ends_in_time_whichever_call_it_is() {
    for place in ["analyze", "tick", "save", "restore"] {
        let room = analyzers(place, ["spin", "panic"]).await;
        for (mode, class, text) in [ENDS[0], ENDS[3]] {
            let began = Instant::now();
            let result = with_analyzer(&room, mode, move |instance, now| call(instance, place, now)).await.unwrap();
            assert!(began.elapsed() < Duration::from_millis(300) + SLACK, "{place} {mode} took {:?}", began.elapsed());
            assert_class(result, class, text, &format!("{place} {mode}"));
            assert_eq!(room.view(mode).state, PluginState::Waiting, "{place} {mode}");
            assert!(matches!(with_analyzer(&room, mode, |_, _| ()).await, Err(CallError::Backoff { .. })));
            room.let_waits_pass();
            assert_eq!(with_analyzer(&room, mode, |_, _| ()).await, Ok(()), "{place} {mode}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyzer_that_misbehaves_costs_its_call_and_nothing_else() {
    let room = analyzers("analyze", ENDS.map(|(mode, ..)| mode)).await;
    for (mode, class, text) in ENDS {
        let before = resident_kib();
        let result = with_analyzer(&room, mode, |instance, now| call(instance, "analyze", now)).await.unwrap();
        assert!(resident_kib().saturating_sub(before) < MOST_GROWTH_KIB, "{mode}");
        assert_class(result, class, text, mode);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_analyzer_hands_over_is_bounded() {
    let modes = ["a-million-findings", "a-huge-finding", "a-million-metrics"];
    let room = analyzers("analyze", modes).await;
    for mode in modes {
        let before = resident_kib();
        let result = with_analyzer(&room, mode, |instance, now| call(instance, "analyze", now)).await.unwrap();
        assert!(result.as_ref().is_err_and(CallError::poisons), "{mode}: {result:?}");
        assert!(resident_kib().saturating_sub(before) < MOST_GROWTH_KIB, "{mode}");
    }
    let room = analyzers("save", ["huge"]).await;
    let saved = with_analyzer(&room, "huge", |instance, now| instance.save(now).map(|state| state.len())).await.unwrap();
    assert_class(saved, "trap", "", "a state of 40 MB");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_crosses_without_harm() {
    let room = analyzers("analyze", ["wild"]).await;
    let input = analyzer_input(&["one"], 0, room.clock().now());
    let analysis = with_analyzer(&room, "wild", move |instance, now| instance.analyze(&input, now)).await.unwrap().unwrap();
    assert!(analysis.findings[0].score.is_nan() && analysis.findings[0].first_seq > analysis.findings[0].last_seq);
    assert_eq!(analysis.findings[1].sample_seqs, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_kept_before_it_failed_is_forgotten() {
    let mut settings = plugin("hostile-analyzer", json!({"where": "analyze", "mode": "kv", "body": "fill"}));
    settings.timeout = Duration::from_secs(10);
    let room = PluginRoom::start([("bad", settings)]).await;
    let (first, kept) = with_analyzer(&room, "bad", |instance, now| {
        let filled = instance.analyze(&analyzer_input(&["fill it"], 0, now), now);
        let usual = instance.analyze(&analyzer_input(&["something else"], 1, now), now);
        ((filled, usual.map(|analysis| analysis.findings.len())), instance.take_kv().len())
    })
    .await
    .unwrap();
    assert_class(first.0, "refused", "keeps as much as it may", "kv");
    assert_eq!((first.1, kept), (Ok(1), 0), "an error value costs no store, and what the failed call kept is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_lines_is_cut_and_its_end_is_kept() {
    for mode in ["stderr", "long-lines"] {
        let mut settings = plugin("hostile-channel", json!({"where": "plan", "mode": mode, "url": "https://hooks.example.com"}));
        settings.timeout = Duration::from_secs(20);
        let room = PluginRoom::start([("bad", settings)]).await;
        let before = resident_kib();
        let (planned, _) = plan(&room, "bad").await;
        assert!(planned.is_err(), "{mode}");
        let lines = room.plugins().lines("bad").unwrap();
        assert!(!lines.is_empty() && lines.len() <= 200, "{mode}: {} lines", lines.len());
        assert!(lines.iter().all(|line| line.text.len() <= 4096), "{mode}");
        assert!(resident_kib().saturating_sub(before) < MOST_GROWTH_KIB, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_cannot_be_set_up_is_failed_and_says_why() {
    let ends = [("panic", "the plugin has a bug"), ("exit", "ended itself"), ("allocate", "memory"), ("refuse", "nnn")];
    for component in ["hostile-analyzer", "hostile-channel"] {
        let bad = ends.map(|(mode, _)| (mode, plugin(component, json!({"where": "init", "mode": mode}))));
        let room = PluginRoom::start(bad.into_iter().chain([("well", plugin("hostile-analyzer", json!({})))])).await;
        assert_eq!(room.view("well").state, PluginState::Ready);
        for (mode, text) in ends {
            let view = room.view(mode);
            assert_eq!(view.state, PluginState::Failed, "{component} {mode}");
            assert!(view.reason.contains(text), "{component} {mode}: {}", view.reason);
            assert!(view.reason.len() < 20_000, "{component} {mode}: {} bytes", view.reason.len());
            assert!(room.plugins().get(mode).err().unwrap().contains("failed"), "{component} {mode}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_never_ends_its_setup_or_test_is_ended() {
    // Both together: each takes the whole ten seconds that a setup may take.
    let spin = |place: &str| json!({"where": place, "mode": "spin"});
    let room = PluginRoom::start([("tested", plugin("hostile-analyzer", spin("self-test")))]).await;
    let (setup, tested) =
        tokio::join!(PluginRoom::start([("bad", plugin("hostile-channel", spin("init")))]), room.plugins().self_test("tested"),);
    assert_eq!(setup.view("bad").state, PluginState::Failed);
    assert!(setup.view("bad").reason.contains("`init` ran longer than"), "{}", setup.view("bad").reason);
    let tested = tested.unwrap().unwrap_err();
    assert!(tested.contains("`self-test` ran longer than"), "{tested}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_never_says_what_it_is_does_not_keep_the_others_from_running() {
    let room =
        PluginRoom::start([("a-bad", plugin("spin-in-describe", Value::Null)), ("z-good", plugin("hostile-analyzer", json!({})))])
            .await;
    let view = room.view("a-bad");
    assert_eq!(view.state, PluginState::Failed);
    assert!(view.reason.contains("`describe` ran longer than"), "{}", view.reason);
    assert_eq!(room.view("z-good").state, PluginState::Ready);
}
