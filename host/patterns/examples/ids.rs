//! Prints the id and the template of each line of standard input: `cargo run --release -p watchfire-patterns --example ids < FILE`.
//!
//! The same as `watchfire patterns --stdin --ids`, without the rest of the host.

use std::collections::HashMap;
use std::io::{BufRead as _, BufWriter, Write as _};

use watchfire_patterns::{Miner, Settings};

fn main() -> std::io::Result<()> {
    let mut miner = Miner::new(Settings::default());
    let mut last = 0;
    let mut next_id = || {
        last += 1;
        last
    };
    let mut ids = Vec::new();
    let mut input = std::io::stdin().lock();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        ids.push(miner.assign(&line, &mut next_id));
        line.clear();
    }
    miner.settle();
    let mut templates: HashMap<u64, String> = HashMap::new();
    let mut out = BufWriter::new(std::io::stdout().lock());
    for id in ids {
        let id = miner.resolve(id);
        let template = templates.entry(id).or_insert_with(|| miner.template(id).unwrap_or_default());
        writeln!(out, "{id}\t{template}")?;
    }
    eprintln!("{} patterns held", miner.len());
    out.flush()
}
