//! A question that can be awaited, with any async runtime or none.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};

use super::Connection;
use crate::{context, global};

/// Questions that wait for a thread; more are refused.
const QUEUE: usize = 64;
/// Threads that ask.
const THREADS: usize = 2;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Monitoring does not run.
    #[error("monitoring does not run: call `watchfire_client::init` first")]
    NotRunning,
    /// The host is not there, or breaks off.
    #[error("no answer from {url}: {reason}")]
    Unreachable {
        /// Whom was asked.
        url: String,
        /// Why.
        reason: String,
    },
    /// The host refuses; its words.
    #[error("the host answers {status}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Stable: `bad_request`, `unauthorized`, `not_found`, `conflict` and others.
        code: String,
        /// What is wrong, where, and what to do.
        message: String,
    },
    /// The answer is none of the host's.
    #[error("cannot read the answer of {path}: {reason}")]
    Unreadable {
        /// What was asked.
        path: String,
        /// Why.
        reason: String,
    },
    /// Too many questions wait already.
    #[error("{QUEUE} questions wait already")]
    Busy,
}

type Work<T> = Box<dyn FnOnce(&Connection) -> Result<T, AskError> + Send>;
type Job = Box<dyn FnOnce() + Send>;

/// A question to the host. `.await` it, or call [`wait`](Asked::wait).
#[must_use = "nothing is asked before it is awaited, or waited for"]
pub struct Asked<T>(Work<T>);

impl<T> std::fmt::Debug for Asked<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asked")
    }
}

impl<T: Send + 'static> Asked<T> {
    pub(crate) fn new(work: impl FnOnce(&Connection) -> Result<T, AskError> + Send + 'static) -> Self {
        Self(Box::new(work))
    }

    /// Asks, and waits for the answer on this thread. Not for async code: that awaits the question itself.
    ///
    /// # Errors
    /// If there is no answer, or the host refuses.
    pub fn wait(self) -> Result<T, AskError> {
        (self.0)(&connection()?)
    }
}

fn connection() -> Result<Connection, AskError> {
    global::active().map(|shared| Connection::new(&shared)).ok_or(AskError::NotRunning)
}

impl<T: Send + 'static> IntoFuture for Asked<T> {
    type Output = Result<T, AskError>;
    type IntoFuture = Answer<T>;

    fn into_future(self) -> Answer<T> {
        let state = Arc::new(Mutex::new(State { answer: None, waker: None }));
        let (work, answer) = (self.0, Arc::clone(&state));
        let job = move || {
            let result = connection().and_then(|connection| work(&connection));
            let mut state = answer.lock().unwrap_or_else(PoisonError::into_inner);
            state.answer = Some(result);
            if let Some(waker) = state.waker.take() {
                drop(state);
                waker.wake();
            }
        };
        if !hand_over(Box::new(job)) {
            state.lock().unwrap_or_else(PoisonError::into_inner).answer = Some(Err(AskError::Busy));
        }
        Answer(state)
    }
}

/// The answer to an [`Asked`] question, as a future.
pub struct Answer<T>(Arc<Mutex<State<T>>>);

struct State<T> {
    answer: Option<Result<T, AskError>>,
    waker: Option<Waker>,
}

impl<T> Future for Answer<T> {
    type Output = Result<T, AskError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = state.answer.take() {
            return Poll::Ready(answer);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Threads that ask; started with the first question, and ended with monitoring.
static WORKERS: Mutex<Option<SyncSender<Job>>> = Mutex::new(None);

fn hand_over(job: Job) -> bool {
    let mut workers = WORKERS.lock().unwrap_or_else(PoisonError::into_inner);
    if workers.is_none() {
        *workers = start();
    }
    match workers.as_ref().map(|sender| sender.try_send(job)) {
        Some(Ok(())) => true,
        Some(Err(TrySendError::Full(_))) | None => false,
        Some(Err(TrySendError::Disconnected(_))) => {
            *workers = None;
            false
        }
    }
}

fn start() -> Option<SyncSender<Job>> {
    let (sender, receiver) = sync_channel::<Job>(QUEUE);
    let receiver = Arc::new(Mutex::new(receiver));
    let spawn = |number| {
        let receiver: Arc<Mutex<mpsc::Receiver<Job>>> = Arc::clone(&receiver);
        let work = move || {
            context::be_quiet();
            loop {
                let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(job) = next else { return };
                job();
            }
        };
        std::thread::Builder::new().name(format!("watchfire-ask-{number}")).spawn(work).is_ok()
    };
    (0..THREADS).filter(|number| spawn(*number)).count().gt(&0).then_some(sender)
}

/// Lets the threads end when their questions are answered.
pub(crate) fn forget_workers() {
    WORKERS.lock().unwrap_or_else(PoisonError::into_inner).take();
}
