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

use super::preface::speaks_http2;
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

/// An HTTP/2 peer that says nothing for this long is asked whether it is there, and has as long again to answer: gRPC's clients
/// keep their one connection open for as long as they run.
const PING: Duration = Duration::from_secs(30);

/// Requests of one HTTP/2 connection at the same time.
const STREAMS: u32 = 64;

/// Bytes that an HTTP/2 peer may send ahead of what is read, for one request and for all of a connection.
const WINDOWS: (u32, u32) = (1 << 20, 2 << 20);

/// Most bytes in one HTTP/2 frame: 64 times the least allowed, so that a large batch is not cut into thousands.
const FRAME: u32 = 1 << 20;

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

    /// Serves `router` over HTTP/1 and HTTP/2 on `listener` until `shutdown`, then closes idle connections and lets open requests end, for ten
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
        // Told apart here and not by hyper, which would wait for the first bytes without a deadline.
        let is_http2 = tokio::select! {
            told = tokio::time::timeout(self.head, speaks_http2(&stream)) => matches!(told, Ok(Ok(true))),
            () = shutdown.cancelled() => return,
        };
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.head);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .max_frame_size(FRAME);
        let builder = if is_http2 { builder.http2_only() } else { builder.http1_only() };
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
