//! Named points at which a test kills the process, to show that what was acknowledged survives.

/// Kills the process with SIGKILL if `WATCHFIRE_CRASH_AT` names this point, at its Nth passing (`name` or `name:N`).
///
/// Compiled to nothing without the feature `crash-points`.
#[cfg(not(feature = "crash-points"))]
pub fn crash_point(_name: &str) {}

/// Kills the process with SIGKILL if `WATCHFIRE_CRASH_AT` names this point, at its Nth passing (`name` or `name:N`).
#[cfg(feature = "crash-points")]
pub fn crash_point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static TARGET: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let target = TARGET.get_or_init(|| {
        let text = std::env::var("WATCHFIRE_CRASH_AT").ok()?;
        let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), count.parse().unwrap_or(1)))
    });
    if let Some((target, count)) = target
        && target == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *count
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::thread::park();
    }
}
