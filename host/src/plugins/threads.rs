//! The threads that plugins run on: never the server's, few, at lower priority, and gone when nothing has run for a while.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

/// Most threads.
const MAX_THREADS: usize = 4;
/// How long an idle thread stays.
const IDLE: Duration = Duration::from_secs(30);
/// What plugins' threads give way by: others of the host come first.
const NICENESS: i32 = 5;

type Job = Box<dyn FnOnce() + Send>;

/// A small pool. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Threads(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl Threads {
    /// Runs `work` on one of the threads. `None` if it panicked.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (answer, result) = oneshot::channel();
        self.submit(Box::new(move || {
            let _ = answer.send(work());
        }));
        result.await.ok()
    }

    fn submit(&self, job: Job) {
        let mut state = self.0.0.lock();
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() || state.threads >= MAX_THREADS {
            self.0.1.notify_one();
            return;
        }
        state.threads += 1;
        let shared = Arc::clone(&self.0);
        let spawned = std::thread::Builder::new().name("plugin".to_owned()).spawn(move || work(&shared));
        if spawned.is_err() {
            state.threads -= 1;
        }
    }
}

/// Gives way to the host's other threads; to be called once on each thread that runs plugins.
pub fn give_way() {
    // Without effect where the system does not let us: then plugins are as important as the rest.
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

fn work(shared: &(Mutex<State>, Condvar)) {
    give_way();
    let mut state = shared.0.lock();
    loop {
        if let Some(job) = state.jobs.pop_front() {
            drop(state);
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            state = shared.0.lock();
            continue;
        }
        state.idle += 1;
        let timed_out = shared.1.wait_for(&mut state, IDLE).timed_out();
        state.idle -= 1;
        if timed_out && state.jobs.is_empty() {
            state.threads -= 1;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_runs_on_few_threads_and_a_panic_costs_one_answer() {
        let threads = Threads::default();
        let many: Vec<_> = (0..50).map(|number| threads.run(move || number)).collect();
        let answers: Vec<_> = futures::future::join_all(many).await.into_iter().flatten().collect();
        assert_eq!(answers, (0..50).collect::<Vec<_>>());
        assert_eq!(threads.run(|| panic!("a bug")).await, None::<()>);
        assert_eq!(threads.run(|| 7).await, Some(7));
        assert!(threads.0.0.lock().threads <= MAX_THREADS);
    }
}
