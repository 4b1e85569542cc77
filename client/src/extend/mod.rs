//! The application as a part of the host: a channel of its own, an analyzer of its own. Each has a thread that asks the host for what there is to do.

mod analyzer;
mod channel;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use analyzer::{Finding, LogAnalyzer, Selection, add_analyzer};
pub use channel::{Notification, NotificationChannel, NotifiedAlert, Refused, add_notification_channel};

use crate::ask::{AskError, Connection};
use crate::{context, fields, get_logger, global};

/// Seconds that the host may wait before it answers that there is nothing, and how long the request may take then.
const WAIT_SECONDS: u64 = 25;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);
/// First and longest wait after a failure, and how often is looked whether monitoring runs again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A channel or an analyzer that the application has added. It goes on when this is dropped.
#[derive(Clone, Debug)]
pub struct Registration(Arc<AtomicBool>);

impl Registration {
    /// Ends it, once what it is at is done; that may take as long as a question to the host does.
    pub fn remove(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_removed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Does `turn` again and again on a thread of its own, while monitoring runs; waits after failures.
fn keep_at(name: String, mut turn: impl FnMut(&Connection) -> Result<(), AskError> + Send + 'static) -> Registration {
    let registration = Registration(Arc::default());
    let (own, thread) = (registration.clone(), format!("watchfire-{name}"));
    let work = move || {
        let mut backoff = BACKOFF.0;
        let mut complained = false;
        while !own.is_removed() {
            let Some(shared) = global::active() else {
                std::thread::sleep(LOOK_AGAIN);
                continue;
            };
            let connection = Connection::new(&shared).with_timeout(REQUEST_TIMEOUT);
            drop(shared);
            match turn(&connection) {
                Ok(()) => (backoff, complained) = (BACKOFF.0, false),
                Err(error) => {
                    if !std::mem::replace(&mut complained, true) {
                        get_logger("watchfire_client").warning_with(format!("{name} waits for the host: {error}"), fields! {});
                    }
                    std::thread::sleep(backoff);
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name(thread).spawn(work) {
        get_logger("watchfire_client").error(format!("there is no thread for what was added: {error}"));
    }
    registration
}

/// Asks the host, without sending what libraries say of that.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    context::quietly(work)
}

/// Calls code of the application, which may panic; then what it said is returned.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        format!("it panicked: {}", text.unwrap_or_else(|| "without a word".to_owned()))
    })
}
