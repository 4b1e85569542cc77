//! What a host costs when nothing happens.

use std::time::Duration;

use crate::Target;
use crate::host::Host;
use crate::report::{Report, megabytes};

/// How long a new host is given to come to rest.
const SETTLING: Duration = Duration::from_secs(10);

/// Watches a host with the default configuration for `duration`.
pub(crate) fn measure(duration: Duration, target: &Target) -> anyhow::Result<Report> {
    let host = Host::with_defaults(target)?;
    std::thread::sleep(SETTLING);
    let before = host.processor_time()?;
    std::thread::sleep(duration);
    let used = host.processor_time()?.saturating_sub(before);
    let percent = 100.0 * used.as_secs_f64() / duration.as_secs_f64();
    Ok(Report::new("rest")
        .line("figure", format!("{} of memory, {percent:.2} % of a core", megabytes(host.memory("VmRSS")?)))
        .line("configuration", format!("no configuration file, watched for {duration:.0?} after {SETTLING:.0?}"))
        .line("host: processor", format!("{used:.2?} (the kernel counts in steps of 10 ms)"))
        .line("host: most memory", megabytes(host.memory("VmHWM")?)))
}
