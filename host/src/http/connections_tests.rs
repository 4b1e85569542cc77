use std::sync::Arc;

use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::http::stream::ndjson;

/// Long enough to never pass in a test.
const LONG: Duration = Duration::from_secs(3600);

struct Stage {
    address: SocketAddr,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
    full: Counter,
}

async fn serve(router: Router, most: usize, head: Duration, stall: Duration) -> Stage {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let full = Counter::default();
    let connections = Connections { places: Arc::new(Semaphore::new(most)), full: full.clone(), head, stall };
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let server = tokio::spawn(async move { connections.serve(listener, router, stop).await });
    Stage { address, shutdown, server, full }
}

fn hello() -> Router {
    Router::new().route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { format!("hello {peer}") }))
}

async fn connect(stage: &Stage) -> TcpStream {
    TcpStream::connect(stage.address).await.unwrap()
}

async fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
}

/// Reads until `end` has come.
async fn read_to(stream: &mut TcpStream, end: &str) {
    let mut text = String::new();
    while !text.ends_with(end) {
        text.push(char::from(stream.read_u8().await.unwrap()));
    }
}

/// Reads the answer of [`hello`].
async fn read_greeting(stream: &mut TcpStream) {
    let end = format!("hello {}", stream.local_addr().unwrap());
    read_to(stream, &end).await;
}

/// Returns whether the peer has closed: nothing more comes.
async fn is_closed(stream: &mut TcpStream) -> bool {
    stream.read(&mut [0; 64]).await.map_or(true, |count| count == 0)
}

#[tokio::test]
async fn a_request_whose_head_does_not_come_is_broken_off() {
    let stage = serve(hello(), 2, Duration::from_millis(50), LONG).await;
    let (mut silent, mut slow) = (connect(&stage).await, connect(&stage).await);
    slow.write_all(b"GET / HT").await.unwrap();
    assert!(is_closed(&mut silent).await);
    assert!(is_closed(&mut slow).await);
    // Their places are free again.
    let mut next = connect(&stage).await;
    ask(&mut next).await;
    read_greeting(&mut next).await;
}

#[tokio::test]
async fn a_connection_too_many_waits_for_a_place_and_is_counted() {
    let stage = serve(hello(), 1, LONG, LONG).await;
    let mut first = connect(&stage).await;
    ask(&mut first).await;
    read_greeting(&mut first).await;
    assert_eq!(stage.full.get(), 0);
    let mut second = connect(&stage).await;
    ask(&mut second).await;
    while stage.full.get() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(second.try_read(&mut [0; 1]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(first);
    read_greeting(&mut second).await;
    assert_eq!(stage.full.get(), 1);
}

#[tokio::test]
async fn a_stop_closes_idle_connections_and_lets_an_open_request_end() {
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (inside, go) = (Arc::clone(&entered), Arc::clone(&leave));
    let work = move || async move {
        inside.notify_one();
        go.notified().await;
        "done"
    };
    let stage = serve(hello().route("/work", get(work)), 8, LONG, LONG).await;
    let (mut fresh, mut idle, mut busy) = (connect(&stage).await, connect(&stage).await, connect(&stage).await);
    ask(&mut idle).await;
    read_greeting(&mut idle).await;
    busy.write_all(b"GET /work HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    entered.notified().await;
    stage.shutdown.cancel();
    assert!(is_closed(&mut idle).await);
    assert!(is_closed(&mut fresh).await);
    assert!(!stage.server.is_finished());
    leave.notify_one();
    read_to(&mut busy, "done").await;
    assert!(is_closed(&mut busy).await);
    stage.server.await.unwrap();
}

#[tokio::test]
async fn a_stream_whose_reader_stalls_gives_its_thread_back() {
    let ended = Arc::new(Notify::new());
    let end = Arc::clone(&ended);
    let endless = move || async move {
        ndjson(move |lines| {
            while lines.push(&"a line that nobody reads") {}
            end.notify_one();
            Ok(())
        })
    };
    let stage = serve(Router::new().route("/", get(endless)), 8, LONG, Duration::from_millis(100)).await;
    let mut reader = connect(&stage).await;
    ask(&mut reader).await;
    ended.notified().await;
}
