//! How many requests a plugin may send in a minute. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use watchfire_types::Timestamp;

const WINDOW: Duration = Duration::from_secs(60);
/// A limit above this is none: what is sent takes longer than that anyway.
const MOST: u32 = 10_000;

/// Remembers when each plugin sent. A service counts the requests of any minute, so it is those that are counted: a bucket that fills
/// again while it is emptied would let twice as many pass.
#[derive(Debug, Default)]
pub struct Pacer(Mutex<HashMap<String, VecDeque<Timestamp>>>);

impl Pacer {
    /// Lets `plugin` send `count` requests at `now` if no more than `per_minute` are then sent within a minute. A batch larger than the
    /// limit is let through when nothing was sent for a minute.
    ///
    /// # Errors
    /// How long to wait.
    pub fn admit(&self, plugin: &str, per_minute: u32, count: usize, now: Timestamp) -> Result<(), Duration> {
        if per_minute == 0 || per_minute > MOST {
            return Ok(());
        }
        let most = per_minute as usize;
        let mut plugins = self.0.lock();
        let sent = plugins.entry(plugin.to_owned()).or_default();
        // What seems to lie ahead was sent before the clock stepped back.
        sent.retain(|at| *at <= now && now.since(*at) < WINDOW);
        let excess = (sent.len() + count.min(most)).saturating_sub(most);
        if let Some(last) = excess.checked_sub(1).and_then(|index| sent.get(index)) {
            return Err(WINDOW.saturating_sub(now.since(*last)));
        }
        sent.extend(std::iter::repeat_n(now, count.min(most)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds((1_795_000_000 + seconds).try_into().unwrap())
    }

    #[test]
    fn no_minute_sees_more_than_the_limit() {
        let pacer = Pacer::default();
        let mut sent: Vec<i64> = Vec::new();
        for second in 0..300 {
            while pacer.admit("ding", 20, 1, at(second)).is_ok() {
                sent.push(second);
            }
        }
        for start in 0..300 {
            let within = sent.iter().filter(|second| (start..start + 60).contains(*second)).count();
            assert!(within <= 20, "{within} from second {start}");
        }
        assert_eq!(sent.len(), 100);
    }

    #[test]
    fn a_batch_waits_until_all_of_it_fits() {
        let pacer = Pacer::default();
        assert_eq!(pacer.admit("ding", 4, 3, at(0)), Ok(()));
        assert_eq!(pacer.admit("ding", 4, 1, at(10)), Ok(()));
        assert_eq!(pacer.admit("ding", 4, 2, at(20)), Err(Duration::from_secs(40)));
        assert_eq!(pacer.admit("ding", 4, 4, at(20)), Err(Duration::from_secs(50)));
        assert_eq!(pacer.admit("ding", 4, 100, at(70)), Ok(()), "larger than the limit");
        assert_eq!(pacer.admit("other", 4, 1, at(70)), Ok(()));
        assert_eq!(pacer.admit("ding", 0, 100, at(70)), Ok(()), "no limit");
        assert_eq!(pacer.admit("ding", 4, 1, at(5)), Ok(()), "the clock stepped back");
    }
}
