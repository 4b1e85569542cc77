//! How many records a second it reads, natively: `cargo bench -p ssh-brute-force`.

use divan::Bencher;
use divan::counter::ItemsCount;
use ssh_brute_force::SshBruteForce;
use watchfire_plugin::testing::{BatchBuilder, Record};
use watchfire_plugin::{Analyzer as _, Batch};

const LOG: &str = include_str!("../fixtures/auth.log");
const ROWS: usize = 4096;

fn main() {
    divan::main();
}

fn batch(lines: impl Iterator<Item = String>) -> Batch {
    BatchBuilder::new().records(lines.take(ROWS).map(Record::new)).build()
}

fn analyze(bencher: Bencher<'_, '_>, batch: &Batch) {
    let mut analyzer = SshBruteForce::init(ssh_brute_force::Config::default()).expect("the defaults are good");
    bencher.counter(ItemsCount::new(ROWS)).bench_local(move || analyzer.analyze(batch).map(|analysis| analysis.findings.len()));
}

/// A usual day, again and again.
#[divan::bench]
fn a_usual_day(bencher: Bencher<'_, '_>) {
    analyze(bencher, &batch(LOG.lines().cycle().map(str::to_owned)));
}

/// Each record fails, each from another address.
#[divan::bench]
fn an_attack_from_everywhere(bencher: Bencher<'_, '_>) {
    let line = |number: usize| {
        let (high, low) = (number >> 8 & 0xff, number & 0xff);
        format!("Nov 24 00:10:41 web1 sshd[12]: Failed password for root from 10.9.{high}.{low} port {} ssh2", 1024 + number)
    };
    analyze(bencher, &batch((0..).map(line)));
}

/// Records of others that pass the host's filter and mean nothing.
#[divan::bench]
fn what_means_nothing(bencher: Bencher<'_, '_>) {
    analyze(
        bencher,
        &batch((0..).map(|number| format!("request {number}: authenticating user by cookie, Failed password for nobody"))),
    );
}
