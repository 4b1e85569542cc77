//! What the exporter is told, and what it tells.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Counters;

/// Orders to the exporter and its answers.
#[derive(Debug, Default)]
pub(crate) struct Control {
    state: Mutex<State>,
    changed: Condvar,
    pub(crate) counters: Counters,
}

#[derive(Debug, Default)]
struct State {
    orders: Orders,
    all_arrived: bool,
    /// Whether it has ended, and then whether everything has arrived.
    stopped: Option<bool>,
    last_error: Option<String>,
    reached: bool,
}

/// What there is to do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Orders {
    /// Everything up to this flush, and the last one that is done.
    pub(crate) flush: u64,
    pub(crate) flushed: u64,
    /// End, and be done by then.
    pub(crate) stop: Option<Instant>,
}

impl Control {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn orders(&self) -> Orders {
        self.state().orders
    }

    pub(crate) fn want_flush(&self) -> u64 {
        let mut state = self.state();
        state.orders.flush += 1;
        state.orders.flush
    }

    pub(crate) fn flushed(&self, flush: u64, all_arrived: bool) {
        let mut state = self.state();
        (state.orders.flushed, state.all_arrived) = (flush, all_arrived);
        self.changed.notify_all();
    }

    pub(crate) fn wait_flushed(&self, wanted: u64, until: Instant) -> bool {
        let state = self.wait(until, |state| state.orders.flushed >= wanted || state.stopped.is_some());
        state.stopped.unwrap_or(state.orders.flushed >= wanted && state.all_arrived)
    }

    pub(crate) fn stop(&self, deadline: Instant) {
        self.state().orders.stop = Some(deadline);
    }

    pub(crate) fn stopped(&self, all_arrived: bool) {
        self.state().stopped = Some(all_arrived);
        self.changed.notify_all();
    }

    pub(crate) fn wait_stopped(&self, until: Instant) -> Option<bool> {
        self.wait(until, |state| state.stopped.is_some()).stopped
    }

    fn wait(&self, until: Instant, done: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.state();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if done(&state) || left.is_zero() {
                return state;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Returns a value that says that the exporter has ended, however it ends.
    pub(crate) fn ending(self: &std::sync::Arc<Self>) -> Ending {
        Ending(std::sync::Arc::clone(self))
    }

    pub(crate) fn reached(&self, complaint: &str) {
        let mut state = self.state();
        state.reached = true;
        state.last_error = (!complaint.is_empty()).then(|| complaint.to_owned());
    }

    pub(crate) fn failed(&self, reason: String) {
        let mut state = self.state();
        (state.reached, state.last_error) = (false, Some(reason));
    }

    /// Returns whether the last request succeeded, what went wrong last, and whether the exporter has ended.
    pub(crate) fn health(&self) -> (bool, Option<String>, bool) {
        let state = self.state();
        (state.reached, state.last_error.clone(), state.stopped.is_some())
    }
}

/// Says that the exporter has ended when it is dropped.
pub(crate) struct Ending(std::sync::Arc<Control>);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.stopped.get_or_insert(false);
        self.0.changed.notify_all();
    }
}
