//! The runtime on which hosts and receivers run, so that a test may block without stopping them.

use std::sync::OnceLock;

use tokio::runtime::Runtime;

/// Returns the one runtime of this process that is not a test's own. It lives as long as the process.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime needs only threads")
    })
}

/// Runs `work` on the background runtime and blocks until it is done, even inside a test's own runtime.
pub(crate) fn block_on<T: Send, F: Future<Output = T>>(work: impl FnOnce() -> F + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| runtime().block_on(work()));
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
