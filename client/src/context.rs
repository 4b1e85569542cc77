//! What surrounds the code that runs: its spans, whose trace and fields go along with records, and its monitored calls.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::value::Value;

/// A `tracing` span, as the layer keeps it.
#[derive(Debug)]
pub(crate) struct SpanContext {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    pub(crate) name: &'static str,
    pub(crate) parent: Option<Arc<Self>>,
    pub(crate) fields: Mutex<Vec<(Cow<'static, str>, Value)>>,
}

thread_local! {
    static SPANS: RefCell<Vec<Arc<SpanContext>>> = const { RefCell::new(Vec::new()) };
    static CALL: Cell<u64> = const { Cell::new(0) };
    static NEXT: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    static RANDOM: Cell<u64> = const { Cell::new(0) };
    static THREAD: Cell<u64> = const { Cell::new(0) };
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Enters `span` on this thread. Whoever is inside a destructor of thread-local values enters nothing.
pub(crate) fn enter(span: Arc<SpanContext>) {
    let _ = SPANS.try_with(|spans| spans.borrow_mut().push(span));
}

/// Leaves the span with this id. Spans may be left in another order than they were entered.
pub(crate) fn exit(span_id: u64) {
    let _ = SPANS.try_with(|spans| {
        let mut spans = spans.borrow_mut();
        if let Some(index) = spans.iter().rposition(|span| span.span_id == span_id) {
            spans.remove(index);
        }
    });
}

/// Returns the innermost span of this thread.
pub(crate) fn current_span() -> Option<Arc<SpanContext>> {
    SPANS.try_with(|spans| spans.borrow().last().cloned()).ok().flatten()
}

/// Returns the W3C `traceparent` of the code that runs, to send along with requests; `None` outside of spans.
#[must_use]
pub fn traceparent() -> Option<String> {
    current_span().map(|span| format!("00-{:032x}-{:016x}-01", span.trace_id, span.span_id))
}

/// Reads the trace and span of a `traceparent`.
pub(crate) fn read_traceparent(text: &str) -> Option<(u128, u64)> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, _flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version.len() != 2 || version == "ff" || trace.len() != 32 || span.len() != 16 {
        return None;
    }
    let (trace, span) = (u128::from_str_radix(trace, 16).ok()?, u64::from_str_radix(span, 16).ok()?);
    (trace != 0 && span != 0).then_some((trace, span))
}

/// Returns a number that nobody guesses and that is not 0.
pub(crate) fn random() -> u64 {
    let next = RANDOM.try_with(|state| {
        let mut number = state.get();
        if number == 0 {
            // Seeded by the system, once a thread.
            number = RandomState::new().build_hasher().finish() | 1;
        }
        // splitmix64
        number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(number);
        let mut mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    });
    next.unwrap_or(1).max(1)
}

/// Returns a number for this thread, from 1.
pub(crate) fn thread_number() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    THREAD
        .try_with(|number| {
            if number.get() == 0 {
                number.set(COUNT.fetch_add(1, Ordering::Relaxed));
            }
            number.get()
        })
        .unwrap_or(0)
}

/// Returns an id for a monitored call, unlike every other one. Taken from blocks, so that threads do not meet.
pub(crate) fn call_id() -> u64 {
    const BLOCK: u64 = 1 << 16;
    static BLOCKS: AtomicU64 = AtomicU64::new(1);
    NEXT.try_with(|next| {
        let (mut number, mut end) = next.get();
        if number == end {
            number = BLOCKS.fetch_add(1, Ordering::Relaxed) * BLOCK;
            end = number + BLOCK;
        }
        next.set((number + 1, end));
        number
    })
    .unwrap_or(0)
}

/// Returns the innermost monitored call of this thread; 0 outside of one.
pub(crate) fn current_call() -> u64 {
    CALL.try_with(Cell::get).unwrap_or(0)
}

/// Makes `id` the innermost monitored call of this thread, and returns the one before.
pub(crate) fn set_call(id: u64) -> u64 {
    CALL.try_with(|call| call.replace(id)).unwrap_or(0)
}

/// Errors that were captured within a call and may still be on their way out of it.
static CAPTURED: Mutex<VecDeque<(u64, u64)>> = Mutex::new(VecDeque::new());
const MAX_CAPTURED: usize = 256;

/// Notes that the error with this mark was captured within `call`.
pub(crate) fn note_captured(call: u64, mark: u64) {
    if call != 0 {
        let mut captured = CAPTURED.lock().unwrap_or_else(PoisonError::into_inner);
        if captured.len() == MAX_CAPTURED {
            captured.pop_front();
        }
        captured.push_back((call, mark));
    }
}

/// Returns whether the error with this mark was captured within `call` already, and forgets it.
pub(crate) fn was_captured(call: u64, mark: u64) -> bool {
    let mut captured = CAPTURED.lock().unwrap_or_else(PoisonError::into_inner);
    let found = captured.iter().rposition(|known| *known == (call, mark));
    found.is_some_and(|index| captured.remove(index).is_some())
}

/// Calls `work`, and keeps what this thread says meanwhile to itself.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> T {
    let before = QUIET.replace(true);
    let result = work();
    QUIET.set(before);
    result
}

/// Keeps what this thread says to itself: it works for the client.
pub(crate) fn be_quiet() {
    QUIET.set(true);
}

/// Returns whether this thread works for the client, so that what it says must not be sent.
pub(crate) fn is_quiet() -> bool {
    QUIET.try_with(Cell::get).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_or_refused() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(read_traceparent(text), Some((0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71_6920_3331)));
        for wrong in [
            "",
            "00-0-0-0",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(read_traceparent(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_error_is_noted_once_for_each_call_that_it_leaves() {
        let (outer, inner) = (call_id(), call_id());
        assert_ne!(outer, inner);
        note_captured(outer, 7);
        assert!(!was_captured(inner, 7));
        assert!(was_captured(outer, 7));
        assert!(!was_captured(outer, 7));
    }
}
