//! Waiting for something, with a bound.

use std::time::Duration;

const TRIES: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until `attempt` answers.
///
/// # Panics
/// After 1,000 tries (20 seconds and what the tries take), saying `what` did not come.
pub async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..TRIES {
        if let Some(answer) = attempt().await {
            return answer;
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("this never came: {what}")
}

/// The same where nothing is asynchronous.
pub(crate) fn eventually_blocking<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    for _ in 0..TRIES {
        if let Some(answer) = attempt() {
            return answer;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("this never came: {what}")
}
