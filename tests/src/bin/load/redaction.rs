//! What redaction costs of ingest.

use std::time::Duration;

use serde_json::json;

use crate::host::Host;
use crate::ingest::{self, Protocol};
use crate::report::{Report, thousands};
use crate::{Load, Target};

/// Hosts of each kind: machines are not as fast in one minute as in the next.
const ROUNDS: usize = 3;

/// Sends the same to hosts with redaction and without, in turns.
pub(crate) fn measure(load: &Load, target: &Target) -> anyhow::Result<Report> {
    let (mut on, mut off) = (Sum::default(), Sum::default());
    for _ in 0..ROUNDS {
        on.add(true, load, target)?;
        off.add(false, load, target)?;
    }
    let percent = |on: f64, off: f64| format!("{:+.1} %", 100.0 * (on / off - 1.0));
    Ok(Report::new("redaction: its share of OTLP/HTTP ingest")
        .line("figure", format!("{} of the records per second that are taken without", percent(on.rate(), off.rate())))
        .line("processor time", format!("{} a record", percent(on.processor(), off.processor())))
        .line("with, without", format!("{}, {} records/s", thousands(on.rate()), thousands(off.rate())))
        .line(
            "configuration",
            format!("every rule that is on by default, {ROUNDS} hosts each in turns, batches of {}", load.batch),
        ))
}

#[derive(Debug, Default)]
struct Sum {
    records: u64,
    elapsed: Duration,
    used: Duration,
}

impl Sum {
    fn add(&mut self, enabled: bool, load: &Load, target: &Target) -> anyhow::Result<()> {
        let changes = json!({"redaction": {"enabled": enabled}, "storage": {"max_bytes": 100_000_000_000_u64}});
        let host = Host::with(target, changes)?;
        let before = host.processor_time()?;
        let outcome = ingest::send(&host, Protocol::Otlp, load)?;
        self.used += host.processor_time()?.saturating_sub(before);
        self.records += outcome.records as u64;
        self.elapsed += outcome.elapsed;
        Ok(())
    }

    fn rate(&self) -> f64 {
        self.records as f64 / self.elapsed.as_secs_f64()
    }

    fn processor(&self) -> f64 {
        self.used.as_secs_f64() / self.records as f64
    }
}
