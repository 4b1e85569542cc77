//! Events that are stored already: an SDK that got no answer sends its envelope again, with the same id in it.
//!
//! Sentry's protocol: an event's id is unique within its project, and a second event of the same id is dropped (develop.sentry.dev, "Event
//! Payloads"). Kept in memory are hashes of the ids; after a restart the log, which has them all, tells the latest (see [`Filling`]).
//!
//! **Invariant:** what is answered as known is durable. **Invariant:** of two requests at the same time that have the same event, one stores
//! it; the other one waits, and stores it if the first could not.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// Events that are remembered, the latest. Some 3 MB, and nothing before there are events.
const REMEMBERED: usize = 100_000;

/// The events of all projects. Cheap to clone.
#[derive(Clone)]
pub struct Seen(Arc<Inner>);

struct Inner {
    /// With a key of its own for each start, so that nobody can look for two ids of one hash.
    hasher: RandomState,
    state: Mutex<State>,
    /// Whether all is known that can be.
    ready: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    known: HashSet<u64>,
    /// The same, the oldest first.
    order: VecDeque<u64>,
    /// Those that are being stored; the sender is with who does it.
    pending: HashMap<u64, watch::Receiver<()>>,
}

impl State {
    fn remember(&mut self, hash: u64) {
        if !self.known.insert(hash) {
            return;
        }
        self.order.push_back(hash);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl Default for Seen {
    /// Knows none.
    fn default() -> Self {
        Self::new(true)
    }
}

impl Seen {
    fn new(ready: bool) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Inner { hasher: RandomState::new(), state, ready: watch::Sender::new(ready) }))
    }

    /// Returns one that lets nobody store an event before it has been filled, and what fills it.
    #[must_use]
    pub fn unfilled() -> (Self, Filling) {
        let seen = Self::new(false);
        (seen.clone(), Filling(seen))
    }

    /// Returns the right to store event `id` of `project`; `None` if it is stored. Waits while somebody else stores it.
    pub async fn claim(&self, project: u64, id: &str) -> Option<Claim> {
        // Fails only if nobody can fill it any more, and the sender lives here.
        let _ = self.0.ready.subscribe().wait_for(|ready| *ready).await;
        let hash = self.hash(project, id);
        loop {
            let mut other = {
                let mut state = self.0.state.lock();
                if state.known.contains(&hash) {
                    return None;
                }
                match state.pending.entry(hash) {
                    Entry::Occupied(other) => other.get().clone(),
                    Entry::Vacant(free) => {
                        let (done, other) = watch::channel(());
                        free.insert(other);
                        return Some(Claim { seen: self.clone(), hash, stored: false, _done: done });
                    }
                }
            };
            // Nothing is ever sent: it ends when the other's claim does.
            let _ = other.changed().await;
        }
    }

    fn hash(&self, project: u64, id: &str) -> u64 {
        self.0.hasher.hash_one((project, id))
    }
}

/// Tells which events were stored before the start. Dropped, it lets events in, whatever is known.
pub struct Filling(Seen);

impl Filling {
    /// Adds events, by project and id, the oldest first.
    pub fn fill(self, events: impl IntoIterator<Item = (u64, String)>) {
        let mut state = self.0.0.state.lock();
        for (project, id) in events {
            state.remember(self.0.hash(project, &id));
        }
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.0.0.ready.send_replace(true);
    }
}

/// The right to store one event. Whoever drops it without [`Claim::stored`] lets the next one try.
pub struct Claim {
    seen: Seen,
    hash: u64,
    stored: bool,
    _done: watch::Sender<()>,
}

impl Claim {
    /// Notes that the event is durable.
    pub fn stored(mut self) {
        self.stored = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.seen.0.state.lock();
        state.pending.remove(&self.hash);
        if self.stored {
            state.remember(self.hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "9ec79c33ec9942ab8353589fcb2e04dc";

    #[tokio::test]
    async fn an_event_is_stored_once_in_a_project() {
        let seen = Seen::default();
        seen.claim(1, ID).await.unwrap().stored();
        assert!(seen.claim(1, ID).await.is_none());
        assert!(seen.claim(2, ID).await.is_some(), "another project's ids are its own");
        drop(seen.claim(1, "other").await.unwrap());
        assert!(seen.claim(1, "other").await.is_some(), "what could not be stored may come again");
    }

    #[tokio::test]
    async fn who_has_the_same_event_waits_for_the_first_and_takes_its_place_if_that_fails() {
        let seen = Seen::default();
        let first = seen.claim(1, ID).await.unwrap();
        let mut second = Box::pin(seen.claim(1, ID));
        let mut third = Box::pin(seen.claim(1, ID));
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        drop(first);
        let claim = second.await.unwrap();
        assert!((&mut third).now_or_never().is_none());
        claim.stored();
        assert!(third.await.is_none());
    }

    #[tokio::test]
    async fn nobody_stores_before_what_was_stored_is_known() {
        let (seen, filling) = Seen::unfilled();
        let mut early = Box::pin(seen.claim(1, ID));
        assert!((&mut early).now_or_never().is_none());
        filling.fill([(1, ID.to_owned())]);
        assert!(early.await.is_none());
        let (seen, filling) = Seen::unfilled();
        drop(filling);
        assert!(seen.claim(1, ID).await.is_some());
    }

    #[tokio::test]
    async fn the_oldest_make_room() {
        let (seen, filling) = Seen::unfilled();
        filling.fill((0..=REMEMBERED).map(|number| (1, number.to_string())));
        assert!(seen.claim(1, "0").await.is_some());
        assert!(seen.claim(1, "1").await.is_none());
        let state = seen.0.state.lock();
        assert_eq!((state.known.len(), state.order.len()), (REMEMBERED, REMEMBERED));
    }

    proptest! {
        #[test]
        fn each_is_stored_once_however_they_come(ids in proptest::collection::vec((0_u64..3, 0_u8..6, any::<bool>()), 0..40)) {
            let seen = Seen::default();
            let mut stored = HashSet::new();
            for (project, id, succeeds) in ids {
                let claim = seen.claim(project, &id.to_string()).now_or_never().expect("nobody else stores it");
                prop_assert_eq!(claim.is_some(), !stored.contains(&(project, id)));
                if let (Some(claim), true) = (claim, succeeds) {
                    claim.stored();
                    stored.insert((project, id));
                }
            }
            prop_assert!(seen.0.state.lock().pending.is_empty());
        }
    }
}
