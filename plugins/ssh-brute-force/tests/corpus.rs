//! A day of two machines: people at work, scans, and six attacks.

use ssh_brute_force::SshBruteForce;
use watchfire_plugin::Finding;
use watchfire_plugin::testing::{AnalyzerTester, Record};

const LOG: &str = include_str!("../fixtures/auth.log");
/// Midnight of the day that the log is about.
const MIDNIGHT: u64 = 1_795_478_400_000_000_000;

/// Returns the time of day that a line begins with, in nanoseconds since 1970.
fn time(line: &str) -> u64 {
    let clock = &line["2026-11-24T".len()..];
    let part = |range: std::ops::Range<usize>| clock[range].parse::<u64>().expect("these are digits");
    MIDNIGHT + ((part(0..2) * 60 + part(3..5)) * 60 + part(6..8)) * 1_000_000_000 + part(9..15) * 1000
}

fn records() -> impl Iterator<Item = Record> {
    LOG.lines().map(|line| Record::new(line).time(time(line)))
}

fn tester() -> AnalyzerTester<SshBruteForce> {
    AnalyzerTester::new(serde_json::json!({})).expect("the defaults are good")
}

fn draw(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| format!("{} {}: {}", finding.severity, finding.dedupe_key, finding.message)).collect()
}

#[test]
fn the_attacks_of_a_day_are_found_and_nothing_else() {
    let mut tester = tester();
    let mut findings = Vec::new();
    for record in records() {
        findings.extend(tester.analyze([record]).unwrap().findings);
    }
    findings.extend(tester.tick(3600).unwrap().findings);
    let expected = include_str!("../fixtures/auth.findings.txt");
    let found = draw(&findings).join("\n");
    assert_eq!(found.trim(), expected.trim());
}

#[test]
fn batches_and_restarts_change_nothing() {
    let one_by_one = |restart: bool, size: usize| {
        let mut tester = tester();
        let mut findings = Vec::new();
        let records: Vec<Record> = records().collect();
        for chunk in records.chunks(size) {
            findings.extend(tester.analyze(chunk.to_vec()).unwrap().findings);
            if restart {
                tester.restart().unwrap();
            }
        }
        findings.extend(tester.tick(3600).unwrap().findings);
        draw(&findings)
    };
    assert_eq!(one_by_one(true, 1), one_by_one(false, 1));
    assert_eq!(one_by_one(true, 7), one_by_one(false, 1000));
}

#[test]
fn a_wrong_setting_is_named() {
    let wrong = |config: serde_json::Value| AnalyzerTester::<SshBruteForce>::new(config).err().unwrap().message;
    assert_eq!(wrong(serde_json::json!({"threshold": 1})), "config.threshold: expected 2 to 100, found 1");
    assert!(
        wrong(serde_json::json!({"ignore": ["10.0.0.0/8", "10.0.0.0/99"]})).starts_with("config.ignore[1]: expected an address")
    );
    assert_eq!(
        wrong(serde_json::json!({"window_seconds": "10m"})),
        "config.window_seconds: invalid type: string \"10m\", expected u64"
    );
}

#[test]
fn it_says_that_it_works() {
    let mut tester = tester();
    let said = watchfire_plugin::Analyzer::self_test(tester.analyzer()).unwrap();
    assert!(said.starts_with("5 failed logins from one address within 600 s"), "{said}");
}

#[test]
fn only_the_services_that_were_named_are_looked_at() {
    let mut tester = AnalyzerTester::<SshBruteForce>::new(serde_json::json!({"services": ["sshd"]})).unwrap();
    let line = "Failed password for root from 203.0.113.7 port 40022 ssh2";
    let from = |service: &str| (0..9).map(|_| Record::new(line).service(service)).collect::<Vec<_>>();
    assert_eq!(tester.analyze(from("shop")).unwrap().findings.len(), 0);
    assert_eq!(tester.analyze(from("sshd")).unwrap().findings.len(), 2);
}
