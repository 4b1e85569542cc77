//! What monitoring costs: the API is called as fast as it goes, before monitoring is started and while it runs.

use std::time::{Duration, Instant};

use axum::Router;
use watchfire_client::{Config, components, init_with};

use crate::store::Store;
use crate::{api, traffic};

/// Callers at the same time.
const CALLERS: usize = 4;

struct Figures {
    calls: u64,
    seconds: f64,
    /// Sorted, in microseconds.
    times: Vec<f64>,
}

impl Figures {
    fn percentile(&self, share: f64) -> f64 {
        let index = ((self.times.len() as f64 - 1.0) * share) as usize;
        self.times.get(index).copied().unwrap_or(0.0)
    }

    fn print(&self, name: &str) {
        println!(
            "{name:<22} {:>9.0} calls/s   p50 {:>7.1} µs   p99 {:>7.1} µs",
            self.calls as f64 / self.seconds,
            self.percentile(0.5),
            self.percentile(0.99)
        );
    }
}

/// Measures both, and prints figures.
pub(crate) async fn run(config: Config, store: Store, time: Duration) -> anyhow::Result<()> {
    println!("{CALLERS} callers, {time:?} each, 10 % of the calls wrong, one in 40 an error that is captured");
    let without = calls(api::router(store.clone()), time).await;
    without.print("monitoring not started");
    let url = config.url.clone();
    init_with(Config { install_subscriber: false, ..config })?;
    let with = calls(api::router(store), time).await;
    with.print("monitoring runs");
    let begin = Instant::now();
    let arrived = tokio::task::spawn_blocking(|| watchfire_client::flush(Duration::from_secs(60))).await?;
    let state = components();
    println!(
        "what is said costs {:.1} µs a call in the middle, at {:.1} records a call; what is counted is counted either way",
        with.percentile(0.5) - without.percentile(0.5),
        (state.accepted + state.dropped) as f64 / with.calls.max(1) as f64
    );
    println!(
        "log records: {} accepted, {} sent to {url}, {} wait, {} dropped{}; what was left took {:?}",
        state.accepted,
        state.sent,
        state.waiting,
        state.dropped,
        state.last_error.as_ref().map_or_else(String::new, |reason| format!(" ({reason})")),
        begin.elapsed()
    );
    println!(
        "records per second: {:.0} said, {:.0} arrived",
        (state.accepted + state.dropped) as f64 / with.seconds,
        state.sent as f64 / (with.seconds + begin.elapsed().as_secs_f64())
    );
    if !arrived {
        println!("not everything has arrived: is the host at {url} up?");
    }
    tokio::task::spawn_blocking(watchfire_client::shutdown).await?;
    Ok(())
}

async fn calls(app: Router, time: Duration) -> Figures {
    let begin = Instant::now();
    let callers: Vec<_> = (0..CALLERS as u64)
        .map(|caller| {
            let app = app.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                for step in 0_u64.. {
                    let called = Instant::now();
                    if called.duration_since(begin) >= time {
                        break;
                    }
                    traffic::call(&app, caller * 10 + step).await;
                    times.push(called.elapsed().as_nanos() as f64 / 1e3);
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for caller in callers {
        times.extend(caller.await.unwrap_or_default());
    }
    let seconds = begin.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    Figures { calls: times.len() as u64, seconds, times }
}
