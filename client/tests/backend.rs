//! The client against another backend: a small server that decodes with `opentelemetry-proto`, takes, refuses, stalls and comes back.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message as _;
use watchfire_client::{
    Config, ErrorSeverity, Level, capture_error, components, fields, flush, get_logger, increment_counter, init_with, record_timer,
    shutdown, track_errors,
};

/// The client is one to a process, so these tests take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the server answers: status, further headers, body.
type Reply = (u16, &'static str, Vec<u8>);
type Script = dyn Fn(u64, &Request) -> Reply + Send + Sync;

#[derive(Clone, Debug)]
struct Request {
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    at: Instant,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn records(&self) -> Vec<(String, LogRecord)> {
        let request = ExportLogsServiceRequest::decode(&self.body[..]).expect("OTLP");
        let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
        scopes
            .flat_map(|scope| {
                let name = scope.scope.map(|scope| scope.name).unwrap_or_default();
                scope.log_records.into_iter().map(move |record| (name.clone(), record))
            })
            .collect()
    }
}

struct Backend {
    address: String,
    taken: Arc<Mutex<Vec<Request>>>,
}

impl Backend {
    /// Starts a server; `script` gets the number of the request, from 0. What it answers with 200 counts as taken.
    fn start(script: impl Fn(u64, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = format!("http://{}", listener.local_addr().expect("it listens"));
        let (taken, script, number) = (Arc::new(Mutex::new(Vec::new())), Arc::new(script), Arc::new(AtomicU64::new(0)));
        let all = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (taken, script, number) = (Arc::clone(&all), Arc::clone(&script), Arc::clone(&number));
                std::thread::spawn(move || serve(&stream, &taken, &*script, &number));
            }
        });
        Self { address, taken }
    }

    fn taking() -> Self {
        Self::start(|_, _| (200, "", Vec::new()))
    }

    fn requests(&self, path: &str) -> Vec<Request> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.iter().filter(|request| request.path == path).cloned().collect()
    }

    fn records(&self) -> Vec<(String, LogRecord)> {
        self.requests("/v1/logs").iter().flat_map(Request::records).collect()
    }

    fn bodies(&self) -> Vec<String> {
        self.records().iter().map(|(_, record)| body(record)).collect()
    }
}

fn serve(stream: &TcpStream, taken: &Mutex<Vec<Request>>, script: &Script, number: &AtomicU64) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        let path = line.split(' ').nth(1)?.to_owned();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut request = Request { path, headers, body: Vec::new(), at: Instant::now() };
        let mut body = vec![0; request.header("content-length")?.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        if request.header("content-encoding") == Some("gzip") {
            flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut request.body).expect("gzip");
        } else {
            request.body = body;
        }
        let (status, more, answer) = script(number.fetch_add(1, Ordering::SeqCst), &request);
        if status == 200 {
            taken.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        }
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{more}\r\n", answer.len());
        (&*stream).write_all(&[head.as_bytes(), &answer].concat()).ok()?;
    }
}

fn config(backend: &Backend) -> Config {
    Config {
        endpoint: Some(backend.address.clone()),
        export_interval: Duration::from_millis(20),
        collection_interval: Duration::from_secs(3600),
        install_subscriber: false,
        ..Config::new("shop")
    }
}

fn text(value: &AnyValue) -> String {
    match &value.value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(value)) => value.to_string(),
        other => format!("{other:?}"),
    }
}

fn body(record: &LogRecord) -> String {
    record.body.as_ref().map(text).unwrap_or_default()
}

fn attribute(attributes: &[KeyValue], key: &str) -> String {
    attributes.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.as_ref()).map(text).unwrap_or_default()
}

#[track_errors(severity = ErrorSeverity::Medium)]
fn inner() -> Result<(), std::io::Error> {
    Err(std::io::Error::other("the disk is on fire"))
}

#[track_errors]
fn outer() -> anyhow::Result<()> {
    use anyhow::Context as _;
    inner().context("cannot sync product 7")
}

#[test]
fn everything_arrives_at_any_backend() {
    let _turn = turn();
    let backend = Backend::taking();
    let headers = vec![("x-key".to_owned(), "one".to_owned())];
    init_with(Config {
        gzip: true,
        headers,
        token: Some("only for the host".into()),
        version: Some("1.2".into()),
        ..config(&backend)
    })
    .unwrap();
    let logger = get_logger("shop::sync");
    logger.info_with("user logged in", fields! { user_id: "12345", tries: 3 });
    logger.log_task_complete("task_123", "image_sync", 1500.5);
    logger.debug("not at this level");
    increment_counter("orders", 2, &[("plan", "premium")]);
    record_timer("response_time", 250.5, &[]);
    outer().unwrap_err();
    let panicked = std::thread::Builder::new().name("worker".into()).spawn(|| panic!("no such product")).unwrap().join();
    assert!(panicked.is_err());
    assert!(flush(Duration::from_secs(10)), "{:?}", components());
    assert!(components().get("exporter").unwrap().running);
    assert!(shutdown());

    let request = &backend.requests("/v1/logs")[0];
    assert_eq!((request.header("x-key"), request.header("content-type")), (Some("one"), Some("application/x-protobuf")));
    assert_eq!((request.header("content-encoding"), request.header("authorization")), (Some("gzip"), None));
    let decoded = ExportLogsServiceRequest::decode(&request.body[..]).unwrap();
    let resource = &decoded.resource_logs[0].resource.as_ref().unwrap().attributes;
    assert_eq!((attribute(resource, "service.name"), attribute(resource, "service.version")), ("shop".into(), "1.2".into()));

    let records = backend.records();
    assert_eq!(records.len(), 4, "{records:#?}");
    let (scope, first) = &records[0];
    assert_eq!((scope.as_str(), body(first).as_str(), first.severity_number), ("shop::sync", "user logged in", 9));
    assert_eq!((attribute(&first.attributes, "user_id"), attribute(&first.attributes, "tries")), ("12345".into(), "3".into()));
    assert_eq!(attribute(&records[1].1.attributes, "task.name"), "image_sync");

    // Captured where it came up, and not again on its way out.
    let error = &records[2].1;
    assert_eq!((attribute(&error.attributes, "exception.type"), error.severity_number), ("std::io::error::Error".into(), 13));
    let trace = attribute(&error.attributes, "exception.stacktrace");
    assert!(trace.starts_with("Error: the disk is on fire") && trace.contains("backend::inner"), "{trace}");
    assert!(trace.lines().find(|line| line.trim_start().starts_with("0: ")).unwrap().contains("backend::"), "{trace}");
    let crumbs: serde_json::Value = serde_json::from_str(&attribute(&error.attributes, "breadcrumbs")).unwrap();
    assert_eq!(crumbs[0]["message"], "user logged in");
    let panic = &records[3].1;
    assert_eq!((attribute(&panic.attributes, "exception.type"), panic.severity_number), ("panic".into(), 21));
    let trace = attribute(&panic.attributes, "exception.stacktrace");
    assert!(trace.starts_with("thread 'worker' panicked at ") && trace.contains("stack backtrace:"), "{trace}");

    let metrics = backend.requests("/v1/metrics").pop().unwrap();
    let metrics = ExportMetricsServiceRequest::decode(&metrics.body[..]).unwrap();
    let metrics = &metrics.resource_metrics[0].scope_metrics[0].metrics;
    let find = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name}: {metrics:#?}"));
    let Some(Data::Sum(orders)) = &find("orders").data else { panic!("a counter") };
    assert_eq!(attribute(&orders.data_points[0].attributes, "plan"), "premium");
    let Some(Data::Histogram(times)) = &find("response_time").data else { panic!("a timer") };
    assert_eq!((times.data_points[0].sum, find("response_time").unit.as_str()), (Some(250.5), "ms"));
    for name in ["active_requests", "total_requests", "error_count", "process_memory_mb", "watchfire_client_dropped"] {
        find(name);
    }
}

#[test]
fn a_server_that_is_busy_is_asked_again_when_it_says() {
    let _turn = turn();
    let backend =
        Backend::start(|number, _| if number < 2 { (503, "retry-after: 1\r\n", Vec::new()) } else { (200, "", Vec::new()) });
    init_with(config(&backend)).unwrap();
    get_logger("shop").info("early");
    let begin = Instant::now();
    while backend.records().len() < 2 && begin.elapsed() < Duration::from_secs(20) {
        if begin.elapsed() > Duration::from_millis(300) && components().accepted < 2 {
            get_logger("shop").info("late");
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    assert_eq!(backend.bodies(), ["early", "late"]);
    assert!(backend.requests("/v1/logs")[0].at.duration_since(begin) >= Duration::from_millis(900));
    assert!(shutdown());
    assert_eq!(components().dropped, 0);
}

#[test]
fn the_spool_keeps_for_the_next_run_what_the_host_could_not_take() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let spooled = |backend: &Backend, folder: &Path| Config {
        spool_dir: Some(folder.to_owned()),
        shutdown_timeout: Duration::from_secs(2),
        ..config(backend)
    };
    let away = Backend::start(|_, _| (503, "", Vec::new()));
    init_with(spooled(&away, folder.path())).unwrap();
    (0..2_500).for_each(|number| get_logger("shop").info(format!("record {number}")));
    assert!(!shutdown());

    let back = Backend::taking();
    init_with(spooled(&back, folder.path())).unwrap();
    get_logger("shop").info("after");
    assert!(flush(Duration::from_secs(10)));
    assert!(shutdown());
    let expected: Vec<String> = (0..2_500).map(|number| format!("record {number}")).chain(["after".to_owned()]).collect();
    assert_eq!(back.bodies(), expected);
}

#[test]
fn a_host_that_hangs_costs_records_and_no_time() {
    let _turn = turn();
    let hang = Backend::start(|_, _| {
        std::thread::park_timeout(Duration::from_secs(60));
        (200, "", Vec::new())
    });
    init_with(Config { queue_records: 1_000, shutdown_timeout: Duration::from_millis(300), ..config(&hang) }).unwrap();
    (0..50_000).for_each(|number| get_logger("shop").info(format!("record {number}")));
    let state = components();
    assert_eq!(state.accepted + state.dropped, 50_000, "{state:?}");
    assert!(state.dropped > 40_000, "{state:?}");
    assert!(!flush(Duration::from_millis(50)));
    let begin = Instant::now();
    assert!(!shutdown());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[test]
fn a_request_that_is_too_large_is_halved() {
    let _turn = turn();
    let backend =
        Backend::start(|_, request| if request.body.len() > 20_000 { (413, "", Vec::new()) } else { (200, "", Vec::new()) });
    init_with(config(&backend)).unwrap();
    let texts: Vec<String> = (0..400).map(|number| format!("record {number} {}", "x".repeat(100))).collect();
    texts.iter().for_each(|text| get_logger("shop").info(text.clone()));
    get_logger("shop").info("y".repeat(30_000));
    flush(Duration::from_secs(10));
    assert_eq!(backend.bodies(), texts);
    assert_eq!(components().dropped, 1);
    shutdown();
}

#[test]
fn what_a_server_refuses_is_counted_and_not_sent_again() {
    let _turn = turn();
    let partial = ExportLogsPartialSuccess { rejected_log_records: 1, error_message: "too old".into() };
    let partial = ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let backend = Backend::start(move |_, request| match request.path.as_str() {
        "/v1/logs" if request.records()[0].1.severity_number == 13 => (400, "", b"no".to_vec()),
        "/v1/logs" => (200, "", partial.clone()),
        _ => (200, "", Vec::new()),
    });
    init_with(config(&backend)).unwrap();
    get_logger("shop").log(Level::Warning, "refused", fields! {});
    flush(Duration::from_secs(10));
    get_logger("shop").info("one");
    get_logger("shop").info("two");
    flush(Duration::from_secs(10));
    let state = components();
    assert_eq!((state.sent, state.dropped, state.waiting), (1, 2, 0), "{state:?}");
    shutdown();
}

#[test]
fn settings_that_make_no_sense_are_refused_with_their_names() {
    let _turn = turn();
    let error = init_with(Config { url: "localhost".into(), ..Config::new("shop") }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot start monitoring: url: `localhost` is no address: write `http://127.0.0.1:3473` or `https://host:port`"
    );
    let error = init_with(Config { ca_file: Some("/does/not/exist".into()), ..Config::new("shop") }).unwrap_err();
    assert!(error.to_string().contains("ca_file: cannot read `/does/not/exist`"), "{error}");
    assert!(!components().get("exporter").unwrap().running);
    init_with(Config { disabled: true, ..Config::new("shop") }).unwrap();
    assert!(shutdown());
    capture_error(&std::io::Error::other("nobody listens"), ErrorSeverity::High);
}
