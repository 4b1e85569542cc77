//! A service that keeps products in step with a shop: an API, a database, and images that are fetched in the background and fail now and then. Watched by
//! `watchfire-client`: `cargo run -p product-sync`, with a host at `WATCHFIRE_URL`, or `cargo run -p product-sync -- --with-host`.

#![expect(clippy::print_stdout, reason = "it tells on the terminal what it does")]

mod api;
mod host;
mod images;
mod load;
mod rules;
mod store;
mod traffic;

use std::future::IntoFuture as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use watchfire_client::{Config, ErrorSeverity, capture_error, fields, get_logger};

use crate::store::Store;

/// What the service is started with.
#[derive(Debug, Parser)]
#[command(about = "A product-sync service that is watched by watchfire")]
struct Arguments {
    /// Where the API listens.
    #[arg(long, default_value = "127.0.0.1:8088")]
    listen: String,
    /// The database; in memory if not given.
    #[arg(long)]
    database: Option<PathBuf>,
    /// Ends after so many seconds; runs until it is interrupted if not given.
    #[arg(long)]
    seconds: Option<u64>,
    /// Starts a host of its own beside it: this binary, or `watchfire` if none is given.
    #[arg(long, num_args = 0..=1, default_missing_value = "watchfire")]
    with_host: Option<PathBuf>,
    /// Simulated customers, who call the API all the time.
    #[arg(long, default_value_t = 2)]
    customers: usize,
    /// How many milliseconds pass between two image syncs.
    #[arg(long, default_value_t = 500)]
    sync_every: u64,
    /// Calls the API as fast as it goes for so many seconds, before monitoring is started and while it runs, prints figures, and ends.
    #[arg(long, value_name = "SECONDS")]
    load: Option<u64>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut config = Config::from_env()?;
    // The name of the environment goes before ours.
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        "product-sync".clone_into(&mut config.service);
    }
    config.version = Some(env!("CARGO_PKG_VERSION").to_owned());
    let host = arguments.with_host.as_deref().map(host::start).transpose()?;
    if let Some(host) = &host {
        config.url.clone_from(&host.url);
    }
    let store = Store::open(arguments.database.as_deref())?;
    if let Some(seconds) = arguments.load {
        return load::run(config, store, Duration::from_secs(seconds)).await;
    }
    watchfire_client::init_with(config)?;
    // Sends what is left when `main` ends, however it ends.
    let _guard = watchfire_client::guard();
    serve(&arguments, store).await?;
    println!("{}", watchfire_client::components());
    Ok(())
}

async fn serve(arguments: &Arguments, store: Store) -> anyhow::Result<()> {
    let logger = get_logger("product_sync");
    if let Err(error) = rules::add().await {
        // Monitoring is no reason not to work.
        capture_error(&error, ErrorSeverity::Low);
    }
    let app = api::router(store.clone());
    let listener =
        tokio::net::TcpListener::bind(&arguments.listen).await.with_context(|| format!("cannot listen on {}", arguments.listen))?;
    logger.info_with("product-sync is up", fields! { address: listener.local_addr()?.to_string() });
    let syncing = tokio::spawn(images::keep_in_step(store.clone(), Duration::from_millis(arguments.sync_every)));
    let customers: Vec<_> = (0..arguments.customers).map(|number| tokio::spawn(traffic::customer(app.clone(), number))).collect();
    let seconds = arguments.seconds;
    let end = async move {
        match seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            // Without a signal handler it simply runs on.
            None => drop(tokio::signal::ctrl_c().await),
        }
    };
    tokio::select! {
        result = axum::serve(listener, app).into_future() => result?,
        () = end => {}
    }
    syncing.abort();
    customers.iter().for_each(tokio::task::JoinHandle::abort);
    logger.info("product-sync ends");
    Ok(())
}
