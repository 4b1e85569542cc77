//! Which HTTP a peer speaks, told from what it says first.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

/// What an HTTP/2 connection begins with. Source: RFC 9113, section 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long to wait for the rest of a preface that comes in parts, which no client is known to do.
const PART: Duration = Duration::from_millis(10);

/// Waits for the first bytes, leaves them where they are, and returns whether they begin HTTP/2 without TLS, as gRPC does.
pub(super) async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut seen = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut seen).await?;
        if count == 0 || seen[..count] != PREFACE[..count] {
            return Ok(false);
        }
        if count == PREFACE.len() {
            return Ok(true);
        }
        // `peek` returns what is there already; it does not wait for more.
        tokio::time::sleep(PART).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    async fn told(parts: &[&[u8]]) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
        let sender = tokio::spawn(async move {
            for part in parts {
                client.write_all(&part).await.unwrap();
                tokio::task::yield_now().await;
            }
            client
        });
        let told = speaks_http2(&server).await.unwrap();
        sender.await.unwrap();
        told
    }

    #[tokio::test]
    async fn a_peer_is_known_by_its_first_bytes() {
        assert!(told(&[&PREFACE[..], b"\0\0"]).await);
        assert!(told(&[&PREFACE[..5], &PREFACE[5..]]).await);
        assert!(!told(&[b"POST /v1/logs HTTP/1.1\r\n"]).await);
        assert!(!told(&[b"PRINT / HTTP/1.1\r\n"]).await);
    }
}
