use proptest::prelude::*;
use watchfire_types::MetricPoint;

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_795_391_047);

fn point(name: &str, seconds: u64, value: f64, delta: bool) -> MetricPoint {
    let (kind, timestamp) = (MetricKind::Gauge, Timestamp::from_seconds(seconds));
    MetricPoint { series: SeriesKey::new(name, []), kind, unit: String::new(), timestamp, value, delta }
}

fn store(engine: &mut Engine, points: Vec<MetricPoint>) -> Plan {
    let plan = engine.plan(vec![points], NOW);
    engine.apply(&plan, NOW);
    plan
}

fn values(engine: &Engine, name: &str) -> Vec<f64> {
    engine.recent(name, &[], Timestamp::ZERO).iter().flat_map(|data| data.samples.iter().map(|sample| sample.value)).collect()
}

fn at(seconds: u64, value: f64) -> Sample {
    Sample { timestamp: Timestamp::from_seconds(seconds), value }
}

#[test]
fn both_spellings_find_a_metric() {
    let mut engine = Engine::new(MetricsSettings::default());
    store(&mut engine, vec![point("system.cpu_percent", 0, 5.0, false)]);
    assert_eq!(values(&engine, "system_cpu_percent"), [5.0]);
    assert_eq!(values(&engine, "system.cpu_percent"), [5.0]);
    assert!(values(&engine, "system.cpu").is_empty());
}

#[test]
fn a_plan_that_is_not_applied_changes_nothing_one_can_read() {
    let mut engine = Engine::new(MetricsSettings::default());
    let base = NOW.as_nanos() / 1_000_000_000;
    engine.plan(vec![vec![point("a", base, 1.0, true)]], NOW);
    assert_eq!((values(&engine, "a"), engine.names().len()), (vec![], 0));
    let plan = store(&mut engine, vec![point("a", base, 1.0, true)]);
    assert_eq!((values(&engine, "a"), plan.points[0].0, plan.rows.len()), (vec![1.0], 1, 1));
}

#[test]
fn deltas_add_up_within_and_across_batches() {
    let mut engine = Engine::new(MetricsSettings::default());
    let base = NOW.as_nanos() / 1_000_000_000;
    store(&mut engine, vec![point("a", base, 1.0, true), point("a", base + 1, 2.0, true)]);
    store(
        &mut engine,
        vec![point("a", base + 2, 4.0, true), point("a", base + 3, f64::NAN, true), point("a", base + 4, 1.0, true)],
    );
    let read = values(&engine, "a");
    assert_eq!(read[..3], [1.0, 3.0, 7.0]);
    assert!(read[3].is_nan());
    assert_eq!(read[4..], [8.0]);
}

#[test]
fn what_is_refused_is_counted_with_its_reason() {
    let mut engine = Engine::new(MetricsSettings { max_series: 1, ..MetricsSettings::default() });
    let base = NOW.as_nanos() / 1_000_000_000;
    let plan = store(
        &mut engine,
        vec![
            point("a", base, 1.0, false),
            point("b", base, 1.0, false),
            point("a", base - 91 * 86_400, 1.0, false),
            point("a", base + 3 * 86_400, 1.0, false),
            point("", base, 1.0, false),
        ],
    );
    assert_eq!((plan.accepted[0].accepted, plan.accepted[0].rejected), (1, 4));
    assert!(plan.accepted[0].reason.contains("cap of 1"), "{}", plan.accepted[0].reason);
    let reasons: Vec<_> = plan.refused.iter().map(|(refusal, count)| (refusal.label(), *count)).collect();
    assert_eq!(reasons, [("too_old", 1), ("too_far_ahead", 1), ("series_limit", 1), ("no_name", 1)]);
}

fn flush(engine: &mut Engine) {
    let taken: Vec<_> = engine.pending().iter().map(|pending| (pending.slot, pending.samples.len())).collect();
    engine.flushed(&taken);
}

#[test]
fn what_arrives_during_a_flush_stays_pending() {
    const BASE: u64 = NOW.as_nanos() / 1_000_000_000;
    let mut engine = Engine::new(MetricsSettings::default());
    store(&mut engine, vec![point("a", BASE + 1, 1.0, false), point("b", BASE + 1, 1.0, false)]);
    let taken: Vec<_> = engine.pending().iter().map(|pending| (pending.slot, pending.samples.len())).collect();
    store(&mut engine, vec![point("a", BASE, 2.0, false), point("c", BASE + 1, 3.0, false)]);
    engine.flushed(&taken);
    let left: Vec<_> = engine.pending().into_iter().map(|pending| (pending.row, pending.samples[0].value)).collect();
    assert_eq!((left, engine.pending_points()), (vec![(1, 2.0), (3, 3.0)], 2));
}

#[test]
fn memory_holds_the_newest_samples_only() {
    let mut engine = Engine::new(MetricsSettings { history_size: 3, ..MetricsSettings::default() });
    let base = NOW.as_nanos() / 1_000_000_000;
    for step in [4_u64, 1, 3, 5, 2, 6] {
        store(&mut engine, vec![point("a", base + step, step as f64, false)]);
    }
    assert_eq!(values(&engine, "a"), [4.0, 5.0, 6.0]);
    flush(&mut engine);
    assert_eq!(engine.points_in_memory(), 3);
}

#[test]
fn a_new_day_keeps_totals_and_forgets_idle_series() {
    let mut engine = Engine::new(MetricsSettings::default());
    store(&mut engine, vec![point("gauge", 0, 1.0, false), point("delta", 0, 1.0, true)]);
    flush(&mut engine);
    let (rows, totals) = engine.roll(NOW.plus(Duration::from_secs(2 * 86_400)), &[]);
    assert_eq!((rows.len(), totals), (1, vec![(1, 1.0)]));
    assert_eq!(engine.series_count(), 1);
    let (rows, _) = engine.roll(NOW.plus(Duration::from_secs(20 * 86_400)), &[]);
    assert_eq!((rows.len(), engine.series_count(), engine.points_in_memory()), (0, 0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn merging_keeps_the_last_of_each_moment(samples in prop::collection::vec((0_u64..20, any::<i32>()), 0..60)) {
        let list: Vec<Sample> = samples.iter().map(|(time, value)| at(*time, f64::from(*value))).collect();
        let expected: BTreeMap<u64, i32> = samples.into_iter().collect();
        let expected: Vec<Sample> = expected.into_iter().map(|(time, value)| at(time, f64::from(value))).collect();
        prop_assert_eq!(merged(list), expected);
    }

    #[test]
    fn memory_equals_a_map_of_what_was_stored(samples in prop::collection::vec((0_u64..40, -1000_i32..1000), 1..60)) {
        let mut engine = Engine::new(MetricsSettings::default());
        let base = NOW.as_nanos() / 1_000_000_000;
        for (time, value) in &samples {
            store(&mut engine, vec![point("a", base + time, f64::from(*value), false)]);
        }
        let expected: BTreeMap<u64, i32> = samples.into_iter().collect();
        let expected: Vec<Sample> = expected.into_iter().map(|(time, value)| at(base + time, f64::from(value))).collect();
        prop_assert_eq!(&engine.recent("a", &[], Timestamp::ZERO)[0].samples, &expected);
        prop_assert_eq!(merged(engine.pending().remove(0).samples), expected);
    }
}
