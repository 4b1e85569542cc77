//! The only clock of the host: real, or moved by a test.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use watchfire_types::Timestamp;

/// Tells the time and waits for it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Inner);

#[derive(Clone, Debug)]
enum Inner {
    System,
    Manual(Arc<watch::Sender<Timestamp>>),
}

impl Clock {
    /// Returns the machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Inner::System)
    }

    /// Returns a clock that stands at `start` until [`Self::advance`] moves it.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self(Inner::Manual(Arc::new(watch::Sender::new(start))))
    }

    /// Returns the present time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place where the machine's clock is read")]
            Inner::System => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                Timestamp::ZERO.plus(since.unwrap_or_default())
            }
            Inner::Manual(time) => *time.borrow(),
        }
    }

    /// Waits until `deadline`; returns at once if it has passed. A step of the machine's clock is noticed within a minute.
    pub async fn sleep_until(&self, deadline: Timestamp) {
        match &self.0 {
            Inner::System => loop {
                let left = deadline.since(self.now());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(Duration::from_secs(60))).await;
            },
            Inner::Manual(time) => {
                let mut time = time.subscribe();
                // The sender lives in `self`, so waiting cannot fail.
                let _ = time.wait_for(|now| *now >= deadline).await;
            }
        }
    }

    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now().plus(duration)).await;
    }

    /// Moves a manual clock forward and wakes whoever waits for it. Without effect on the machine's clock.
    pub fn advance(&self, duration: Duration) {
        if let Inner::Manual(time) = &self.0 {
            time.send_modify(|now| *now = now.plus(duration));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_wakes_its_sleepers() {
        let clock = Clock::manual(Timestamp::from_seconds(100));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(5)).await }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(4));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1));
        sleeper.await.unwrap();
        assert_eq!(clock.now(), Timestamp::from_seconds(105));
    }
}
