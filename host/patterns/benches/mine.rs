//! Speed of the miner, on one thread.
//!
//! `cargo bench -p watchfire-patterns` prints lines per second. `--bench mine -- held` prints how many patterns and how much memory a
//! million lines with other digits leave.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use watchfire_patterns::{Miner, Settings, variables};

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    if std::env::args().any(|argument| argument == "held") {
        return held();
    }
    divan::main();
}

/// Lines of the corpus, with other digits each time.
fn lines(count: usize, with_header: bool) -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the corpus is there").map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        for line in std::fs::read_to_string(file).expect("readable").lines() {
            let (_, rest) = line.split_once('\t').expect("a template");
            let (header, message) = rest.split_once('\t').expect("a header");
            texts.push(if with_header { format!("{header}{message}") } else { message.to_owned() });
        }
    }
    let mut random = fastrand::Rng::with_seed(11);
    (0..count)
        .map(|index| texts[index % texts.len()].chars().map(|c| if c.is_ascii_digit() { random.digit(10) } else { c }).collect())
        .collect()
}

fn mined(lines: &[String]) -> (Miner, u64) {
    let mut miner = Miner::new(Settings::default());
    let mut last = 0;
    for line in lines {
        miner.assign(line.as_bytes(), &mut || {
            last += 1;
            last
        });
    }
    (miner, last)
}

/// Lines of sources that are known, which is nearly every line.
#[divan::bench(args = [false, true], sample_count = 20)]
fn assign(bencher: Bencher, with_header: bool) {
    let lines = lines(50_000, with_header);
    let (mut miner, mut last) = mined(&lines);
    miner.settle();
    let bytes: usize = lines.iter().map(String::len).sum();
    bencher.counter(ItemsCount::new(lines.len())).counter(BytesCount::new(bytes)).bench_local(|| {
        for line in &lines {
            black_box(miner.assign(line.as_bytes(), &mut || {
                last += 1;
                last
            }));
        }
    });
}

/// The same from the beginning, with all that is new.
#[divan::bench(args = [false, true], sample_count = 5)]
fn learn(bencher: Bencher, with_header: bool) {
    let lines = lines(50_000, with_header);
    bencher.counter(ItemsCount::new(lines.len())).bench_local(|| mined(black_box(&lines)).1);
}

/// The worst that can come: no two lines have anything in common.
#[divan::bench(sample_count = 3)]
fn hostile(bencher: Bencher) {
    let mut random = fastrand::Rng::with_seed(3);
    let mut word = || -> String { (0..random.usize(3..9)).map(|_| random.lowercase()).collect() };
    let lines: Vec<_> = (0..30_000).map(|_| (0..8).map(|_| word()).collect::<Vec<_>>().join(" ")).collect();
    bencher.counter(ItemsCount::new(lines.len())).bench_local(|| mined(black_box(&lines)).1);
}

#[divan::bench]
fn variables_of_a_line(bencher: Bencher) {
    let text = b"Nov 24 05:37:20 web1 sshd[77]: Accepted password for alice from 10.0.0.1 port 4711 ssh2";
    bencher.bench(|| variables(black_box("Accepted password for <*> from <*> port <*> ssh2"), black_box(text)));
}

/// Says what a million lines leave behind.
fn held() {
    for with_header in [false, true] {
        let lines = lines(1_024_000, with_header);
        let before = resident();
        let mut miner = Miner::new(Settings::default());
        let mut last = 0;
        let mut news = 0;
        let begun = std::time::Instant::now();
        for (index, line) in lines.iter().enumerate() {
            let known = last;
            miner.assign(line.as_bytes(), &mut || {
                last += 1;
                last
            });
            news += u64::from(index >= 200_000 && last > known);
        }
        let took = begun.elapsed();
        println!(
            "{}: {:.0} lines/s from nothing, {} patterns held, {news} new after 200,000 lines, {} KiB more memory",
            if with_header { "whole lines" } else { "messages" },
            lines.len() as f64 / took.as_secs_f64(),
            miner.len(),
            resident().saturating_sub(before),
        );
    }
}

/// Memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse().ok()).unwrap_or(0)
}
