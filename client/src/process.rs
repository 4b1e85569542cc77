//! What the process itself takes: memory and processor.

use std::time::{Duration, Instant};

/// Kernel ticks a second, as every Linux has it for user space.
const TICKS_PER_SECOND: f64 = 100.0;
const BYTES_PER_MB: f64 = 1024.0 * 1024.0;

/// Returns the machine's name.
pub(crate) fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok())?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Measures the process, from one look to the next.
#[derive(Debug, Default)]
pub(crate) struct Process {
    last: Option<(Instant, Duration)>,
}

impl Process {
    /// Sets `process_memory_mb` and `process_cpu_percent`. On systems without `/proc` it does nothing.
    pub(crate) fn measure(&mut self) {
        let Some((resident, used)) = read() else { return };
        crate::set_gauge("process_memory_mb", resident / BYTES_PER_MB, &[]);
        let now = Instant::now();
        if let Some((then, before)) = self.last
            && now > then
        {
            let share = used.saturating_sub(before).as_secs_f64() / (now - then).as_secs_f64();
            crate::set_gauge("process_cpu_percent", share * 100.0, &[]);
        }
        self.last = Some((now, used));
    }
}

/// Returns resident bytes, and the time that was computed.
fn read() -> Option<(f64, Duration)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = resident.trim().trim_end_matches("kB").trim().parse().ok()?;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program stands in brackets and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((kilobytes * 1024.0, Duration::try_from_secs_f64((user + system) / TICKS_PER_SECOND).ok()?))
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_takes_some_memory() {
        let (resident, _) = super::read().unwrap();
        assert!(resident > 100_000.0, "{resident}");
    }
}
