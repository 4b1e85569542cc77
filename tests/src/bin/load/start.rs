//! From the start of the process to the first answer of `/-/ready`.

use std::time::{Duration, Instant};

use crate::Target;
use crate::host::Host;
use crate::report::Report;

const TIMES: usize = 7;

/// Measures first runs on an empty folder and later ones on the same.
pub(crate) fn measure(target: &Target) -> anyhow::Result<Report> {
    let (mut first, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let started = Instant::now();
        let host = Host::with_defaults(target)?;
        first.push(started.elapsed());
        let folder = host.stop()?;
        let started = Instant::now();
        let host = Host::again(target, folder)?;
        warm.push(started.elapsed());
        host.stop()?;
    }
    Ok(Report::new("start to ready")
        .line("figure", format!("{:.1?} on an empty folder, {:.1?} warm (medians)", median(&mut first), median(&mut warm)))
        .line("configuration", format!("no configuration file, {TIMES} runs each"))
        .line(
            "slowest",
            format!("{:.1?}, {:.1?}", first.last().copied().unwrap_or_default(), warm.last().copied().unwrap_or_default()),
        ))
}

/// Returns the middle one and leaves `times` sorted.
fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
