//! The laws of notification, checked on the real tables: nothing is lost, nothing is told twice, whatever is interrupted.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::alerts::identity::{fingerprint, labels_of};
use crate::alerts::types::Level;
use crate::alerts::upkeep::{clamp, prune, reconcile};
use crate::delivery::outbox::{Leased, Next, OutboxCounts, Settled};

pub(crate) fn policy() -> Policy {
    Policy {
        targets: vec![Target { name: "chat".into(), send_resolved: true }],
        timing: Timing {
            group_wait: Duration::from_secs(10),
            group_interval: Duration::from_secs(300),
            repeat_interval: Duration::from_secs(14_400),
        },
        // Longer than the interval of groups, or nobody would see it work.
        cooldown: Duration::from_secs(900),
        rules: HashMap::new(),
        delivery_timeout: Duration::from_secs(86_400),
        external_url: String::new(),
        max_alerts: 10_000,
    }
}

/// A machine with alerts, a database, and a receiver that remembers what arrives.
struct World {
    connection: Connection,
    leases: Leases,
    policy: Policy,
    now: Timestamp,
    /// Which alerts ought to fire.
    truth: [bool; 3],
    in_flight: Option<Leased>,
    arrived: Vec<Notification>,
}

impl World {
    fn new() -> Self {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&MIGRATIONS.concat()).unwrap();
        Self {
            connection,
            leases: Leases::default(),
            policy: policy(),
            now: Timestamp::from_seconds(1_000_000),
            truth: [false; 3],
            in_flight: None,
            arrived: Vec::new(),
        }
    }

    fn labels(index: usize) -> Labels {
        // Two alerts of one rule, one of another: two groups.
        let rule = crate::alerts::engine::testing::metric_rule(if index < 2 { "disk" } else { "cpu" }, "m", 1.0);
        labels_of(&rule, [("device", ["a", "b", "c"][index])])
    }

    /// Evaluates as the engine would: what is stored is compared with what is true.
    fn tick(&mut self, commit: bool) {
        let known = load(&self.connection, self.now).unwrap();
        let mut step = Step::default();
        for index in 0..self.truth.len() {
            let labels = Self::labels(index);
            let print = fingerprint(&labels);
            let from = known.get(&print).map_or(AlertState::Inactive, |alert| alert.state);
            let fires = matches!(from, AlertState::Firing { .. });
            if fires != self.truth[index] {
                let to = if fires { AlertState::Inactive } else { AlertState::Firing { since: self.now, held: self.now } };
                step.transitions.push(Transition {
                    fingerprint: print,
                    rule: labels["alertname"].clone(),
                    labels,
                    annotations: BTreeMap::new(),
                    level: Level::Warning,
                    condition: "m > 1".into(),
                    threshold: 1.0,
                    from,
                    to,
                    value: Some(2.0),
                    reason: "test".into(),
                });
            }
        }
        let transaction = self.connection.unchecked_transaction().unwrap();
        apply(&transaction, &self.leases, &self.policy, &step, self.now).unwrap();
        if commit { transaction.commit() } else { transaction.rollback() }.unwrap();
    }

    fn lease(&mut self) {
        if self.in_flight.is_none()
            && let Next::Leased(leased) = outbox::lease(&self.connection, &self.leases, "chat", self.now).unwrap()
        {
            self.in_flight = Some(*leased);
        }
    }

    fn settle(&mut self, settled: &Settled) {
        if let Some(leased) = self.in_flight.take() {
            outbox::settle(&self.connection, &leased.notification, settled, self.now, self.policy.timing.repeat_interval).unwrap();
            self.leases.free(&leased.notification.id);
        }
    }

    /// The request arrives, and its receipt is stored.
    fn deliver(&mut self) {
        self.arrive();
        self.settle(&Settled::Delivered { receipt: "ok".into() });
    }

    fn arrive(&mut self) {
        self.arrived.extend(self.in_flight.as_ref().map(|leased| leased.notification.clone()));
    }

    fn fail(&mut self) {
        let at = self.now.plus(Duration::from_secs(60));
        self.settle(&Settled::Retry { at, error: "HTTP 503".into(), credentials: false });
    }

    /// The process is killed and comes back: all that was in memory is gone.
    fn crash(&mut self) {
        self.leases = Leases::default();
        self.in_flight = None;
        reconcile(&self.connection, &self.policy, self.now).unwrap();
    }

    fn advance(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    /// Lets time pass in small steps, everything working.
    fn settle_down(&mut self, seconds: u64) {
        for _ in 0..seconds / 60 {
            self.advance(60);
            self.tick(true);
            for _ in 0..4 {
                self.lease();
                self.deliver();
            }
        }
    }

    /// What arrived about each alert, in order.
    fn mentions(&self) -> BTreeMap<String, Vec<(Status, Timestamp, NotifiedAlert)>> {
        let mut mentions: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for notification in &self.arrived {
            for alert in &notification.alerts {
                let entry = mentions.entry(alert.fingerprint.clone()).or_default();
                entry.push((alert.status, notification.created_at, alert.clone()));
            }
        }
        mentions
    }

    fn counts(&self) -> OutboxCounts {
        outbox::counts(&self.connection).unwrap()
    }

    fn story(&self) -> String {
        let start = Timestamp::from_seconds(1_000_000);
        let line = |notification: &Notification| {
            let alerts = notification.alerts.iter().map(|alert| {
                let sign = if alert.status == Status::Firing { '+' } else { '-' };
                format!("{sign}{}", alert.labels["device"])
            });
            let alerts: Vec<_> = alerts.collect();
            format!("{}s {} {}", notification.created_at.since(start).as_secs(), notification.reason.name(), alerts.join(" "))
        };
        self.arrived.iter().map(line).collect::<Vec<_>>().join(", ")
    }
}

/// What can happen next.
#[derive(Clone, Debug)]
enum Op {
    Set(usize, bool),
    Tick,
    TickInterrupted,
    Advance(u64),
    Lease,
    Deliver,
    Fail,
    /// The answer came, the receipt was not stored.
    CrashAfterSend,
    Crash,
}

fn ops(crashes: bool) -> impl Strategy<Value = Vec<Op>> {
    let calm = prop_oneof![
        4 => (0..3_usize, any::<bool>()).prop_map(|(index, fires)| Op::Set(index, fires)),
        4 => Just(Op::Tick),
        4 => prop_oneof![Just(1_u64), Just(12), Just(70), Just(310), Just(20_000)].prop_map(Op::Advance),
        3 => Just(Op::Lease),
        3 => Just(Op::Deliver),
        2 => Just(Op::Fail),
    ];
    let rough = prop_oneof![Just(Op::TickInterrupted), Just(Op::CrashAfterSend), Just(Op::Crash)];
    let one = if crashes { prop_oneof![6 => calm, 1 => rough].boxed() } else { calm.boxed() };
    proptest::collection::vec(one, 1..60)
}

fn play(script: &[Op]) -> (World, usize) {
    let mut world = World::new();
    let mut crashes = 0;
    for op in script {
        match op {
            Op::Set(index, fires) => world.truth[*index] = *fires,
            Op::Tick => world.tick(true),
            Op::Advance(seconds) => world.advance(*seconds),
            Op::Lease => world.lease(),
            Op::Deliver => world.deliver(),
            Op::Fail => world.fail(),
            Op::TickInterrupted => {
                world.tick(false);
                world.crash();
                crashes += 1;
            }
            Op::CrashAfterSend => {
                world.arrive();
                world.crash();
                crashes += 1;
            }
            Op::Crash => {
                world.crash();
                crashes += 1;
            }
        }
    }
    (world, crashes)
}

/// Checks what must hold of everything that arrived, however the story went.
fn check(world: &mut World, crashes: usize) -> Result<(), TestCaseError> {
    // Let everything settle while the truth stands still: then the receiver must know the truth.
    world.settle_down(2_000);
    prop_assert_eq!(world.counts().queued, 0);
    let mentions = world.mentions();
    for index in 0..world.truth.len() {
        let last = mentions.get(&fingerprint(&World::labels(index))).and_then(|list| list.last()).map(|last| last.0);
        if world.truth[index] {
            prop_assert_eq!(last, Some(Status::Firing), "alert {} fires, and nobody knows", index);
        } else {
            prop_assert_ne!(last, Some(Status::Firing), "alert {} is over, and nobody knows", index);
        }
    }
    let mut times_arrived: BTreeMap<&str, usize> = BTreeMap::new();
    for notification in &world.arrived {
        *times_arrived.entry(&notification.id).or_default() += 1;
    }
    let doubles: usize = times_arrived.values().map(|times| times - 1).sum();
    prop_assert!(doubles <= crashes, "{} notifications arrived twice after {} crashes", doubles, crashes);

    if doubles > 0 {
        return Ok(());
    }
    for list in mentions.values() {
        // One resolution per end. After a crash between answer and receipt it may come again, within the notification that
        // replaced the one whose receipt is missing.
        let ends: Vec<_> = list.iter().filter(|mention| mention.0 == Status::Resolved).map(|mention| mention.2.ends_at).collect();
        let again = ends.len() - ends.iter().collect::<BTreeSet<_>>().len();
        prop_assert!(again <= crashes, "a resolution was told twice: {:?}", ends);
        for pair in list.windows(2) {
            let gap = pair[1].1.since(pair[0].1);
            match (pair[0].0, pair[1].0) {
                (Status::Resolved, Status::Firing) => check_cooldown(list, pair[1].1, world.policy.cooldown)?,
                // Known alerts are listed again when the group has news, and that not more often than it may.
                (Status::Firing, Status::Firing) => prop_assert!(gap >= world.policy.timing.group_interval, "too soon: {:?}", gap),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Checks that a firing told at `at`, after a resolution, is far enough from the last firing that was told.
fn check_cooldown(list: &[(Status, Timestamp, NotifiedAlert)], at: Timestamp, cooldown: Duration) -> Result<(), TestCaseError> {
    let earlier = list.iter().filter(|mention| mention.0 == Status::Firing && mention.1 < at).map(|mention| mention.1).max();
    let rest = earlier.map(|earlier| at.since(earlier));
    prop_assert!(rest.is_none_or(|rest| rest >= cooldown), "cooldown broken: {rest:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn without_a_crash_nothing_arrives_twice_and_everything_arrives(script in ops(false)) {
        let (mut world, crashes) = play(&script);
        check(&mut world, crashes)?;
    }

    #[test]
    fn a_crash_loses_nothing_and_doubles_at_most_one_notification(script in ops(true)) {
        let (mut world, crashes) = play(&script);
        check(&mut world, crashes)?;
    }

    #[test]
    fn when_all_is_delivered_at_once_each_firing_gets_exactly_one_resolution(changes in proptest::collection::vec((0..3_usize, any::<bool>(), 1..500_u64), 1..40)) {
        let mut world = World::new();
        for (index, fires, seconds) in changes {
            world.truth[index] = fires;
            world.tick(true);
            for _ in 0..seconds.div_ceil(10) {
                world.advance(10);
                world.tick(true);
                world.lease();
                world.deliver();
            }
        }
        world.truth = [false; 3];
        world.settle_down(2_000);
        for list in world.mentions().values() {
            let pattern: String = list.iter().map(|mention| if mention.0 == Status::Firing { 'F' } else { 'R' }).collect();
            for pair in list.windows(2).filter(|pair| pair[0].0 == Status::Resolved) {
                check_cooldown(list, pair[1].1, world.policy.cooldown)?;
            }
            prop_assert!(pattern.ends_with('R') && !pattern.contains("RR") && !pattern.starts_with('R'), "{}", pattern);
        }
    }
}

#[test]
fn a_firing_that_nobody_got_and_its_end_become_one_message() {
    let mut world = World::new();
    world.truth[0] = true;
    world.tick(true);
    world.advance(10);
    world.tick(true);
    world.lease();
    world.fail();
    world.advance(1_000);
    world.truth[0] = false;
    world.tick(true);
    assert_eq!(world.counts().queued, 1);
    world.lease();
    world.deliver();
    insta::assert_snapshot!(world.story(), @"1010s resolved -a");
    let notification = &world.arrived[0];
    assert_eq!((notification.superseded, notification.created_at.since(notification.first_queued_at).as_secs()), (1, 1_000));
    assert_eq!(notification.alerts[0].ends_at.unwrap().since(notification.alerts[0].starts_at).as_secs(), 1_010);
}

#[test]
fn what_is_in_flight_is_not_replaced_and_stays_first() {
    let mut world = World::new();
    world.truth[0] = true;
    world.tick(true);
    world.advance(10);
    world.tick(true);
    world.lease();
    world.advance(400);
    world.truth[0] = false;
    world.tick(true);
    assert_eq!(world.counts().queued, 2);
    assert_eq!(outbox::lease(&world.connection, &world.leases, "chat", world.now).unwrap(), Next::Empty);
    world.deliver();
    world.lease();
    world.deliver();
    insta::assert_snapshot!(world.story(), @"10s first +a, 410s resolved -a");
}

#[test]
fn what_fails_in_flight_is_folded_into_its_successor() {
    let mut world = World::new();
    world.truth[0] = true;
    world.tick(true);
    world.advance(10);
    world.tick(true);
    world.lease();
    world.advance(400);
    world.truth = [false, true, false];
    world.tick(true);
    world.fail();
    assert_eq!(world.counts().queued, 1);
    world.settle_down(600);
    insta::assert_snapshot!(world.story(), @"410s new_alerts +b -a");
}

#[test]
fn a_restart_resends_nothing_and_resolves_nothing() {
    let mut world = World::new();
    world.truth = [true, false, true];
    world.tick(true);
    world.settle_down(600);
    let before = world.story();
    for _ in 0..5 {
        world.crash();
        world.settle_down(600);
    }
    assert_eq!(world.story(), before);
}

#[test]
fn a_new_receiver_is_told_what_fires_and_an_old_one_is_forgotten() {
    let mut world = World::new();
    world.truth[0] = true;
    world.tick(true);
    world.settle_down(120);
    world.policy.targets[0].name = "mail".into();
    world.policy.rules.insert("disk".into(), (None, None));
    world.crash();
    world.advance(10);
    world.tick(true);
    let next = outbox::lease(&world.connection, &world.leases, "mail", world.now).unwrap();
    assert!(matches!(next, Next::Leased(leased) if leased.notification.receiver == "mail"));
    let groups: i64 = world.connection.query_row("SELECT count(*) FROM groups", [], |row| row.get(0)).unwrap();
    assert_eq!(groups, 1);
}

#[test]
fn a_rule_that_changes_its_receiver_is_over_for_the_old_one_and_tells_the_new_one() {
    let mut world = World::new();
    world.policy.targets.push(Target { name: "mail".into(), send_resolved: true });
    let receiver = |name: &str| HashMap::from([("disk".to_owned(), (None, Some(name.to_owned())))]);
    world.policy.rules = receiver("chat");
    world.truth[0] = true;
    world.tick(true);
    world.settle_down(120);
    world.policy.rules = receiver("mail");
    world.crash();
    world.advance(10);
    world.tick(true);
    let next = outbox::lease(&world.connection, &world.leases, "mail", world.now).unwrap();
    assert!(matches!(next, Next::Leased(leased) if leased.notification.status() == Status::Firing));
    world.settle_down(40_000);
    insta::assert_snapshot!(world.story(), @"60s first +a, 370s resolved -a");
    let members: i64 =
        world.connection.query_row("SELECT count(*) FROM group_alerts WHERE group_key LIKE 'chat%'", [], |row| row.get(0)).unwrap();
    assert_eq!(members, 0);
    world.leases = Leases::default();
    world.policy.rules = receiver("chat");
    world.crash();
    world.settle_down(600);
    assert!(world.story().ends_with("first +a"), "{}", world.story());
}

#[test]
fn after_a_dead_letter_no_resolution_follows_and_the_alert_is_told_again_later() {
    let mut world = World::new();
    world.truth = [true, false, true];
    world.tick(true);
    world.advance(10);
    world.tick(true);
    for _ in 0..2 {
        world.lease();
        world.settle(&Settled::Dead { error: "HTTP 404".into() });
    }
    assert_eq!(world.counts().dead, 2);
    world.advance(400);
    world.truth[2] = false;
    world.settle_down(20_000);
    insta::assert_snapshot!(world.story(), @"14450s first +a");
}

#[test]
fn the_end_of_what_was_lost_in_flight_is_not_told() {
    let mut world = World::new();
    world.truth[0] = true;
    world.tick(true);
    world.advance(10);
    world.tick(true);
    world.lease();
    world.advance(400);
    world.truth = [false, true, false];
    world.tick(true);
    world.settle(&Settled::Dead { error: "HTTP 404".into() });
    world.settle_down(600);
    insta::assert_snapshot!(world.story(), @"410s new_alerts +b");

    // Nothing else in it, and the firing was lost: nothing goes out. A repetition that was lost: the end goes out.
    for (heard, story) in [(false, ""), (true, "10s first +a, 14510s resolved -a")] {
        let mut world = World::new();
        world.truth[0] = true;
        world.tick(true);
        world.advance(10);
        world.tick(true);
        world.lease();
        if heard {
            world.deliver();
            world.advance(14_400);
            world.tick(true);
            world.lease();
        }
        world.advance(if heard { 100 } else { 400 });
        world.truth[0] = false;
        world.tick(true);
        world.advance(300);
        world.tick(true);
        world.settle(&Settled::Dead { error: "HTTP 404".into() });
        world.lease();
        world.deliver();
        let ended = world.story();
        assert_eq!(ended.split(',').count(), story.split(',').count(), "{ended}");
        assert_eq!(ended.contains("-a"), heard, "{ended}");
    }
}

#[test]
fn what_a_newer_version_queued_becomes_a_dead_letter_and_its_alert_is_told_anew() {
    let mut world = World::new();
    world.truth = [true, false, true];
    world.tick(true);
    world.advance(10);
    world.tick(true);
    world.connection.execute(r#"UPDATE outbox SET payload = '{"v2": 1}' WHERE group_key LIKE '%disk%'"#, []).unwrap();
    for _ in 0..2 {
        world.lease();
        world.deliver();
    }
    assert_eq!(world.counts().dead, 1);
    let dead = &crate::alerts::query::outbox(&world.connection, Some("dead"), 10).unwrap()[0];
    assert!(dead.receipts[0].detail.starts_with("this version cannot read it"), "{dead:?}");
    world.settle_down(2_000);
    assert!(world.story().contains("first +c") && world.story().contains("first +a"), "{}", world.story());
}

#[test]
fn what_is_queued_for_a_receiver_that_is_gone_is_given_up_with_a_receipt() {
    let mut world = World::new();
    world.truth[0] = true;
    world.tick(true);
    world.advance(10);
    world.tick(true);
    assert_eq!(outbox::bury_orphans(&world.connection, &["mail".into()], world.now).unwrap(), ["chat"]);
    let dead = &crate::alerts::query::outbox(&world.connection, Some("dead"), 10).unwrap()[0];
    assert_eq!(
        (dead.receipts[0].outcome.as_str(), dead.receipts[0].detail.as_str()),
        ("dead", "receiver `chat` is no longer configured")
    );
}

#[test]
fn without_receivers_the_decision_says_so() {
    let mut world = World::new();
    world.policy.targets.clear();
    world.truth[0] = true;
    world.tick(true);
    let detail = crate::alerts::query::detail(&world.connection, &fingerprint(&World::labels(0))).unwrap().unwrap();
    assert_eq!(detail.decisions[0].reason, "no_receiver");
}

#[test]
fn a_storm_makes_one_notification_per_group() {
    let mut world = World::new();
    let rule = crate::alerts::engine::testing::metric_rule("storm", "m", 1.0);
    let transitions = (0..2_000).map(|index| {
        let labels = labels_of(&rule, [("series", format!("{index}").as_str())]);
        Transition {
            fingerprint: fingerprint(&labels),
            rule: "storm".into(),
            labels,
            annotations: BTreeMap::new(),
            level: Level::Warning,
            condition: "m > 1".into(),
            threshold: 1.0,
            from: AlertState::Inactive,
            to: AlertState::Firing { since: world.now, held: world.now },
            value: Some(2.0),
            reason: "test".into(),
        }
    });
    let step = Step { transitions: transitions.collect(), ..Step::default() };
    let transaction = world.connection.unchecked_transaction().unwrap();
    apply(&transaction, &world.leases, &world.policy, &step, world.now).unwrap();
    transaction.commit().unwrap();
    world.advance(10);
    let applied = apply(&world.connection, &world.leases, &world.policy, &Step::default(), world.now).unwrap();
    assert_eq!(applied.queued, 1);
    world.lease();
    world.deliver();
    assert_eq!((world.arrived[0].alerts.len(), world.arrived[0].truncated), (1_000, 1_000));
}

#[test]
fn old_rows_are_dropped_and_what_is_owed_is_kept() {
    let mut world = World::new();
    world.truth = [true, true, true];
    world.tick(true);
    world.settle_down(120);
    world.truth = [false, true, false];
    world.settle_down(600);
    world.advance(31 * 86_400);
    world.policy.max_alerts = 1;
    prune(&world.connection, &world.policy, world.now).unwrap();
    let alerts = crate::alerts::query::alerts(&world.connection, None, 10).unwrap();
    assert_eq!(alerts.iter().map(|alert| alert.state.as_str()).collect::<Vec<_>>(), ["firing", "resolved"]);
    assert_eq!(world.counts(), OutboxCounts::default());
    world.truth[1] = false;
    world.settle_down(120);
    assert!(world.story().ends_with("resolved -b"), "{}", world.story());
}

#[test]
fn a_clock_that_stepped_back_does_not_delay_for_long() {
    let mut world = World::new();
    world.truth[0] = true;
    world.tick(true);
    world.settle_down(120);
    world.truth[1] = true;
    world.tick(true);
    world.now = world.now.minus(Duration::from_secs(500_000));
    clamp(&world.connection, &world.policy, world.now).unwrap();
    world.settle_down(20_000);
    assert!(world.arrived.len() >= 2 && world.arrived.last().unwrap().count(Status::Firing) == 2, "{}", world.story());
}
