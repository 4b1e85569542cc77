//! Serving: no more connections than there are file descriptors for, and none that holds its place without use.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::serve::Listener;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::Layer as _;

use super::stall::Unstalled;
use crate::telemetry::{Counter, SelfMetrics};

/// Open requests have this long to end when the host stops.
const GRACE: Duration = Duration::from_secs(10);

/// Most connections at once.
const MOST: u64 = 1024;

/// A request's head must come within this, and the next request on the same connection too: longer than the minute that many
/// exporters leave between two requests, since a connection that closes as one comes costs them that request.
const HEAD: Duration = Duration::from_secs(75);

/// A peer that takes nothing of an answer for this long does not read any more.
const STALL: Duration = Duration::from_secs(60);

/// The connections of all servers of this host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connections {
    places: Arc<Semaphore>,
    full: Counter,
    head: Duration,
    stall: Duration,
}

impl Connections {
    /// Returns room for 1024 connections, or for fewer: half of the process's file descriptors stay with the stores.
    #[must_use]
    pub fn new(own: &SelfMetrics) -> Self {
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let most = (descriptors / 2).clamp(16, MOST) as usize;
        Self {
            places: Arc::new(Semaphore::new(most)),
            full: own.counter("watchfire_http_connections_full_total", &[]),
            head: HEAD,
            stall: STALL,
        }
    }

    /// Serves `router` over HTTP/1 on `listener` until `shutdown`, then closes idle connections and lets open requests end, for ten
    /// seconds at most. While all places are taken nothing is accepted.
    pub async fn serve(&self, mut listener: TcpListener, router: Router, shutdown: CancellationToken) {
        // Done once here instead of with each request.
        let router: Router = router.with_state(());
        let mut open = JoinSet::new();
        loop {
            let (stream, peer) = tokio::select! {
                // axum's, which waits out a lack of file descriptors, and not tokio's.
                accepted = Listener::accept(&mut listener) => accepted,
                Some(_) = open.join_next() => continue,
                () = shutdown.cancelled() => break,
            };
            let place = tokio::select! {
                place = self.place() => place,
                () = shutdown.cancelled() => break,
            };
            open.spawn(self.clone().connection(stream, peer, router.clone(), shutdown.clone(), place));
        }
        drop(listener);
        // Whatever is open after that is broken off as the set is dropped.
        let _ = tokio::time::timeout(GRACE, async { while open.join_next().await.is_some() {} }).await;
    }

    /// Waits for a place.
    async fn place(&self) -> OwnedSemaphorePermit {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return place;
        }
        // Said once: the counter tells the rest, and whoever fills the places must not fill the log too.
        if self.full.get() == 0 {
            tracing::warn!("as many connections are open as the host allows: a new one waits until another closes");
        }
        self.full.inc();
        Arc::clone(&self.places).acquire_owned().await.expect("this semaphore is never closed")
    }

    async fn connection(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        router: Router,
        shutdown: CancellationToken,
        _place: OwnedSemaphorePermit,
    ) {
        // HTTP/1 only: telling it from HTTP/2 would wait for the first bytes without a deadline.
        let mut builder = Builder::new(TokioExecutor::new()).http1_only();
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.head);
        let service = TowerToHyperService::new(Extension(ConnectInfo(peer)).layer(router));
        let mut connection = pin!(builder.serve_connection(TokioIo::new(Unstalled::new(stream, self.stall)), service));
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%peer, error = &*error, "a connection broke off");
        }
    }
}

#[cfg(test)]
#[path = "connections_tests.rs"]
mod tests;
