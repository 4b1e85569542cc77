//! How often the detectors are right: months of simulated log traffic, with and without faults, and the table of it.
//!
//! `cargo run --release -p watchfire-anomalies --example precision [SEED]`
#![expect(clippy::print_stdout, reason = "it prints a table")]

mod faults;
mod random;
mod traffic;
mod world;

use faults::Fault;
use world::World;

/// Weeks before anything is judged by us, and weeks that are.
const HISTORY_WEEKS: u64 = 4;
const CLEAN_WEEKS: u64 = 12;
const FAULT_WEEKS: u64 = 3;
/// Worlds in which a fault is tried: few faults in each, as in life.
const WORLDS: u64 = 3;

fn main() {
    let seed = std::env::args().nth(1).and_then(|seed| seed.parse().ok()).unwrap_or(20_261_124);
    println!("seed {seed}; {} sources, {} patterns; windows of five minutes\n", traffic::sources().len(), traffic::patterns());
    let mut clean = World::new(seed, HISTORY_WEEKS);
    clean.run(CLEAN_WEEKS, &[]);
    println!("clean traffic, {CLEAN_WEEKS} weeks after {HISTORY_WEEKS} of history: {} findings", clean.found.len());
    for found in &clean.found {
        println!("  {found}");
    }
    let per_week = clean.unexpected() as f64 / CLEAN_WEEKS as f64;
    println!("\nfalse findings per week on clean traffic: {per_week:.2}\n");
    println!("| fault | injected | found | recall | median delay | false findings | precision |\n|---|---|---|---|---|---|---|");
    for fault in Fault::ALL {
        let mut score = faults::Score::default();
        for number in 0..WORLDS {
            let mut world = World::new(seed + 100 * number + 1 + fault as u64, HISTORY_WEEKS);
            let plan = faults::plan(fault, &mut world, FAULT_WEEKS);
            world.run(FAULT_WEEKS, &plan);
            score.add(&plan, &world.found);
        }
        let weeks = WORLDS * FAULT_WEEKS;
        println!(
            "| {} | {} | {} | {:.0} % | {} min | {} | {:.0} % |",
            fault.name(),
            score.injected,
            score.hits(),
            score.hits() as f64 * 100.0 / score.injected as f64,
            score.median_delay_minutes(),
            format_args!("{} in {weeks} weeks", score.wrong),
            score.right as f64 * 100.0 / (score.right + score.wrong).max(1) as f64,
        );
        if std::env::var_os("VERBOSE").is_some() {
            score.missed.iter().for_each(|missed| println!("    missed {missed}"));
            score.wrongs.iter().for_each(|wrong| println!("    wrong {wrong}"));
        }
    }
}
