//! Writes a sample report, to be looked at: `cargo run -p watchfire-report --example sample -- html en > sample.html`.
#![expect(clippy::print_stdout, reason = "it writes a report")]

use std::time::Duration;

use watchfire_report::trend::{Series, trend};
use watchfire_report::types::{
    AlertLine, AnomalyLine, Bin, Errors, IssueLine, LevelCount, NewPatternLine, Note, PatternLine, Point, SourceCount, Volume,
};
use watchfire_report::{Lang, Report, TimeZone, html, markdown};
use watchfire_types::Timestamp;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (format, lang) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let lang = Lang::from_name(&lang).unwrap_or_default();
    let report = sample();
    match format.as_str() {
        "json" => println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default()),
        "html" => print!("{}", html::render(&report, lang, &TimeZone::UTC)),
        _ => print!("{}", markdown::render(&report, lang, &TimeZone::UTC)),
    }
}

fn sample() -> Report {
    let until = Timestamp::from_seconds(1_795_500_000);
    let since = until.minus(Duration::from_secs(86_400));
    let mut random = fastrand::Rng::with_seed(7);
    let bins = (0..96).map(|bin| {
        let day = (f64::from(bin) / 96.0 * std::f64::consts::TAU).sin() + 1.4;
        let errors = if (60..66).contains(&bin) { 900 } else { random.u64(..12) };
        Bin {
            start: since.plus(Duration::from_secs(900 * bin as u64)),
            errors,
            warnings: random.u64(..80),
            others: (day * 2_500.0) as u64 + random.u64(..600),
        }
    });
    let over_time: Vec<Bin> = bins.collect();
    let source = |source: &str, count, errors, previous| SourceCount {
        source: source.into(),
        count,
        errors,
        previous: Some(previous),
        previous_errors: Some(40),
    };
    let level = |level: &str, count, previous| LevelCount { level: level.into(), count, previous: Some(previous) };
    let line = |detector: &str, source: &str, pattern: &str, template: &str, severity, until| AnomalyLine {
        id: "17".into(),
        detector: detector.into(),
        direction: "up".into(),
        source: source.into(),
        pattern: pattern.into(),
        template: template.into(),
        severity_number: severity,
        since: since.plus(Duration::from_secs(54_000)),
        until,
        low: Some(80.0),
        high: Some(140.0),
        actual: 452.0,
        p: Some(3.4e-12),
        samples: 75,
    };
    let metric = |name: &str, what: &str, unit: &str, fills, value: &dyn Fn(f64) -> f64| {
        let samples = (0..8 * 48).map(|half| {
            let at = until.minus(Duration::from_secs((8 * 48 - half) * 1_800));
            Point { at, value: value(half as f64 / 48.0) }
        });
        let series = Series { name: name.into(), what: what.into(), unit: unit.into(), fills, samples: samples.collect() };
        trend(series, since, until)
    };
    let evil = "<script>alert(1)</script> | a [link](http://x) `code` \u{202e}turned & \"quoted\" in a very long line that goes on and on and on, as lines do, until it does not fit any more";
    Report {
        generated_at: until,
        since,
        until,
        hours: 24,
        version: "0.1.0".into(),
        volume: Volume {
            total: over_time.iter().map(|bin| bin.errors + bin.warnings + bin.others).sum(),
            previous: Some(280_000),
            by_level: vec![level("ERROR", 5_930, 420), level("WARN", 3_800, 3_700), level("INFO", 320_000, 276_000)],
            by_source: vec![
                source("proxy", 180_000, 12, 170_000),
                source("api", 90_211, 5_700, 88_000),
                source(evil, 12_000, 3, 100),
            ],
            over_time,
        },
        top_patterns: vec![
            PatternLine {
                pattern: "42".into(),
                source: "proxy".into(),
                level: "INFO".into(),
                template: "GET <*> <*> in <*> ms".into(),
                count: 120_000,
                previous: Some(118_000),
            },
            PatternLine {
                pattern: "7".into(),
                source: "api".into(),
                level: "ERROR".into(),
                template: evil.into(),
                count: 5_600,
                previous: Some(300),
            },
        ],
        new_patterns: vec![NewPatternLine {
            pattern: "311".into(),
            source: "payments".into(),
            level: "ERROR".into(),
            template: "cannot reach <*>: certificate has expired".into(),
            first_seen: since.plus(Duration::from_secs(55_000)),
            count: 214,
        }],
        anomalies: vec![
            line("rate", "api", "7", evil, 17, None),
            line("silence", "worker", "", "", 17, Some(since.plus(Duration::from_secs(60_000)))),
            line("new_pattern", "payments", "311", "cannot reach <*>: certificate has expired", 13, Some(until)),
            line("burst", "auth", "", "", 13, Some(until)),
        ],
        errors: Errors {
            total: 5_930,
            issues: 14,
            new_issues: 2,
            top: vec![IssueLine {
                id: "a81f00c2d4e5b677".into(),
                title: "ValueError: <b>not</b> a number | x".into(),
                service: "api".into(),
                status: "unresolved".into(),
                count: 5_600,
            }],
        },
        alerts: vec![AlertLine {
            rule: "errors of api".into(),
            level: "ERROR".into(),
            title: "more than 100 errors in 5 minutes".into(),
            started_at: since.plus(Duration::from_secs(54_300)),
            ended_at: None,
        }],
        metrics: [
            metric("system.cpu_percent", "", "%", false, &|day| {
                30.0 + 18.0 * (day * std::f64::consts::TAU).sin() + 6.0 * (day * 97.0).sin()
            }),
            metric("system.memory_percent", "", "%", false, &|day| if day > 7.6 { 88.0 } else { 41.0 + (day * 53.0).sin() }),
            metric("system.disk_usage_percent", "/", "%", true, &|day| 60.0 + day * 2.3),
            metric("system.network_io", "eth0 receive", "By/s", false, &|day| 1.2e6 * (1.3 + (day * std::f64::consts::TAU).sin())),
        ]
        .into_iter()
        .flatten()
        .collect(),
        notes: vec![Note::NoPreviousPeriod],
    }
}
