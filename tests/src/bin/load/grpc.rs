//! A unary call of gRPC on one connection, as cheap as HTTP/2 lets it be.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use axum::body::Bytes;
use axum::http::{HeaderMap, Request};
use h2::client::SendRequest;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// The method that takes logs.
pub(crate) const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// One connection that is kept open, with a runtime of its own: its thread does nothing else.
pub(crate) struct Connection {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    address: SocketAddr,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.with_context(|| format!("cannot reach {address}"))?;
            stream.set_nodelay(true)?;
            let (sender, connection) = h2::client::Builder::new().max_frame_size(1 << 20).handshake(stream).await?;
            tokio::spawn(connection);
            anyhow::Ok(sender)
        })?;
        Ok(Self { runtime, sender, address })
    }

    /// Calls `method` with `message`; returns the status of gRPC.
    pub(crate) fn call(&mut self, method: &str, message: &[u8]) -> anyhow::Result<u32> {
        let request = Request::post(format!("http://{}{method}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut framed = Vec::with_capacity(5 + message.len());
        framed.push(0);
        framed.extend((message.len() as u32).to_be_bytes());
        framed.extend(message);
        let sender = &mut self.sender;
        self.runtime.block_on(async move {
            std::future::poll_fn(|context| sender.poll_ready(context)).await?;
            let (answer, mut body) = sender.send_request(request, false)?;
            // h2 waits for the peer's window by itself.
            body.send_data(framed.into(), true)?;
            let answer = answer.await?;
            ensure!(answer.status() == 200, "the host answers {}", answer.status());
            let (head, mut data) = answer.into_parts();
            while let Some(chunk) = data.data().await {
                let length = chunk?.len();
                data.flow_control().release_capacity(length)?;
            }
            let trailers = data.trailers().await?.unwrap_or_default();
            status(&head.headers).or_else(|| status(&trailers)).context("the answer has no grpc-status")
        })
    }
}

fn status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// Returns the HTTP status that means the same as one of gRPC.
pub(crate) fn as_http(status: u32) -> anyhow::Result<u16> {
    Ok(match status {
        0 => 200,
        14 => 503,
        other => bail!("the host answers with grpc-status {other}"),
    })
}
