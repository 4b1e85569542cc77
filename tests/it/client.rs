//! The Rust client against a whole host.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use watchfire_client::{
    AlertLevel, AskError, Config, ErrorSeverity, Finding, Level, LogAnalyzer, LogEntry, Notification, NotificationChannel, Refused,
    Selection, add_analyzer, add_notification_channel, capture_error, components, create_error_rule, create_metric_rule, fields,
    flush, get_logger, increment_counter, init_with, monitor_api_request, monitor_database_operation, monitor_execution,
    monitor_task_execution, record_timer, set_gauge, shutdown,
};
use watchfire_tests::{Client, Installation, TestHost, eventually, example};

/// The client is one to a process, so these tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// Runs `work`, which may block, with a client that sends to `url`.
async fn with_client(url: &str, change: impl FnOnce(&mut Config), work: impl FnOnce() + Send + 'static) {
    let mut config = Config::new("shop");
    config.url = url.to_owned();
    config.export_interval = Duration::from_millis(50);
    config.install_subscriber = false;
    config.auto_capture = false;
    change(&mut config);
    let run = move || {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        init_with(config).expect("the settings are right");
        work();
        shutdown();
    };
    tokio::task::spawn_blocking(run).await.expect("the client does not panic");
}

fn flushed() {
    assert!(flush(Duration::from_secs(30)), "{:?}", components());
}

#[monitor_execution(metric_name = "data_processing", log_args = true)]
fn process_data(size: u32, api_key: &str) -> u32 {
    size + api_key.len() as u32
}

#[monitor_api_request(endpoint = "/api/products", method = "GET")]
fn get_products(page: u32) -> Result<u32, String> {
    if page == 0 { Err("there is no page 0".to_owned()) } else { Ok(page) }
}

#[monitor_database_operation(operation = "SELECT", table = "products")]
fn fetch_products() -> Result<Vec<u32>, std::io::Error> {
    Ok(vec![1, 2, 3])
}

#[monitor_task_execution(task_name = "image_sync")]
fn sync_images(task_id: u32) -> Result<bool, std::io::Error> {
    if task_id == 2 { Err(std::io::Error::other("image 2 is broken")) } else { Ok(true) }
}

fn everything() {
    let logger = get_logger("shop::api");
    logger.info_with("user logged in", fields! { user_id: "12345", session_id: "sess_abc" });
    logger.log_task_start("task_123", "图片同步");
    logger.log_task_complete("task_123", "图片同步", 1500.5);
    logger.log_api_request("GET", "/api/products", 200, 250.3);
    logger.log_database_operation("SELECT", "products", 120.5, 25);
    logger.log_business_event("user_registered", fields! { user_id: "12345" });
    increment_counter("api_requests", 3, &[("endpoint", "/api/products"), ("method", "GET")]);
    set_gauge("active_connections", 150, &[]);
    record_timer("response_time", 250.5, &[("endpoint", "/api/products")]);
    process_data(7, "key");
    let _ = (get_products(1), get_products(0), fetch_products(), sync_images(1), sync_images(2));
    capture_error(&"x".parse::<u8>().expect_err("a letter is no number"), ErrorSeverity::Critical);
    flushed();
}

#[tokio::test]
async fn everything_of_the_specification_appears() {
    let host = TestHost::start();
    let client = host.client();
    with_client(client.url(), |config| config.level = Level::Info, everything).await;

    let one = async |query: &str| {
        let records = client.records(&[("q", query), ("service", "shop")]).await;
        assert_eq!(records.len(), 1, "{query}: {records:#?}");
        serde_json::to_value(&records[0]).expect("a record is JSON")
    };
    let record = one("\"user logged in\" user_id:12345").await;
    assert_eq!((&record["scope"], &record["severity_number"]), (&json!("shop::api"), &json!(9)));
    assert_eq!(one("event.name:task.complete task.id:task_123").await["attributes"]["duration_ms"], json!(1500.5));
    assert_eq!(one("http.response.status_code:200 duration_ms:250.3").await["attributes"]["url.path"], "/api/products");
    assert_eq!(one("db.operation.name:SELECT duration_ms:120.5").await["attributes"]["db.response.returned_rows"], json!(25));
    assert_eq!(one("event.name:user_registered").await["attributes"]["user_id"], "12345");
    let arguments = one("args.size:7").await;
    // By the macro, and then by the host, which knows such names as well.
    assert_eq!(arguments["attributes"]["args.api_key"], "[redacted:secret]");
    assert_eq!(one("event.name:task.error").await["attributes"]["error"], "image 2 is broken");

    let value = async |name: &str, labels: &[(&str, &str)]| {
        let series = client.series(name, labels).await;
        assert_eq!(series.len(), 1, "{name} {labels:?}: {series:#?}");
        series[0].clone()
    };
    let last = |series: &Value| series["samples"].as_array().and_then(|samples| samples.last()?["value"].as_f64());
    assert_eq!(last(&value("api_requests", &[("method", "GET"), ("service", "shop")]).await), Some(3.0));
    assert_eq!(last(&value("active_connections", &[]).await), Some(150.0));
    assert_eq!(last(&value("active_requests", &[]).await), Some(0.0));
    assert_eq!(last(&value("total_requests", &[("status", "500"), ("endpoint", "/api/products")]).await), Some(1.0));
    for name in ["process_memory_mb", "error_count"] {
        assert!(last(&value(name, &[("service", "shop")]).await).is_some_and(|value| value > 0.0), "{name}");
    }
    for (timer, labels) in [
        ("response_time", ("endpoint", "/api/products")),
        ("data_processing_duration", ("outcome", "success")),
        ("api_request_duration", ("status", "200")),
        ("database_operation_duration", ("table", "products")),
        ("task_duration", ("outcome", "error")),
    ] {
        assert!(
            !client.series(&format!("{timer}_count"), &[labels]).await.is_empty()
                || !client.series(timer, &[labels]).await.is_empty(),
            "{timer}"
        );
    }

    let issues = eventually("three issues", async || {
        let issues = client.get_json("/api/v1/issues").await["issues"].as_array().cloned().unwrap_or_default();
        (issues.len() >= 3).then_some(issues)
    })
    .await;
    let kinds: Vec<&str> = issues.iter().filter_map(|issue| issue["type"].as_str()).collect();
    assert_eq!(issues.len(), 3, "{issues:#?}");
    assert!(kinds.contains(&"std::io::error::Error") && kinds.contains(&"core::num::error::ParseIntError"), "{kinds:?}");
}

#[tokio::test]
async fn what_a_program_said_before_an_error_goes_along_with_it() {
    let installation = Installation::new(json!({}));
    let host = installation.start().await;
    let work = || {
        let logger = get_logger("shop::cart");
        logger.info_with("put into the cart", fields! { product: 7 });
        // Another thread's story is another one.
        std::thread::spawn(|| get_logger("shop::stock").info("counted the stock")).join().expect("it does not panic");
        logger.warning("password=hunter2 was wrong");
        let error = std::io::Error::other("the card was refused");
        watchfire_client::capture_error_with(&error, ErrorSeverity::High, fields! { order_id: 17 });
        flushed();
    };
    with_client(host.client().url(), |config| config.breadcrumbs = 5, work).await;
    let issue = eventually("the error is an issue", async || {
        host.client().get_json("/api/v1/issues").await["issues"][0]["id"].as_str().map(str::to_owned)
    })
    .await;
    let detail = host.client().get_json(&format!("/api/v1/issues/{issue}")).await;
    let details = &detail["events"][0]["details"];
    let crumbs: Vec<_> = details["breadcrumbs"]["values"].as_array().into_iter().flatten().collect();
    let told: Vec<_> = crumbs.iter().map(|crumb| (crumb["level"].as_str(), crumb["category"].as_str())).collect();
    assert_eq!(told, [(Some("info"), Some("shop::cart")), (Some("warning"), Some("shop::cart"))], "{detail:#}");
    assert_eq!(crumbs[0]["message"], "put into the cart");
    assert!(!detail.to_string().contains("hunter2"), "{detail:#}");
    assert_eq!((&details["extra"]["order_id"], &details["extra"]["error.severity"]), (&json!(17), &json!("HIGH")));
    let story = installation.run_against(&host, &["errors", "show", &issue]).expect(0).stdout;
    let shown = |line: &str, words: &[&str]| {
        story.lines().any(|shown| shown.starts_with(line) && words.iter().all(|word| shown.contains(word)))
    };
    assert!(story.lines().any(|line| line.contains("shop::cart  put into the cart")), "{story}");
    assert!(shown("order_id", &["17"]) && shown("log lines of the same", &["/api/v1/logs?"]), "{story}");
    assert!(!story.contains("counted the stock"), "{story}");
}

#[tokio::test]
async fn the_host_is_asked_and_gets_rules() {
    let host = TestHost::start();
    let client = host.client();
    let url = client.url().to_owned();
    let asked = async move {
        let errors = create_error_rule("too many errors", 2, AlertLevel::Error).service("shop");
        watchfire_client::add_rule(errors.clone()).await.expect("the rule is right");
        // A program says so at each start.
        let state = watchfire_client::add_rule(errors).await.expect("the same rule again is right");
        assert_eq!((state.name.as_str(), state.state.as_str()), ("too many errors", "inactive"));
        let cpu = create_metric_rule("CPU使用率过高", "system.cpu_percent", 80.0, AlertLevel::Warning);
        watchfire_client::add_rule(cpu).await.expect("the rule is right");
        let wrong =
            watchfire_client::add_rule(create_metric_rule("", "x", 1.0, AlertLevel::Info)).await.expect_err("it has no name");
        assert!(matches!(&wrong, AskError::Refused { status: 400, message, .. } if message.contains("name")), "{wrong}");
        watchfire_client::remove_rule("CPU使用率过高").await.expect("it is there");

        (0..3).for_each(|number| capture_error(&std::io::Error::other(format!("no {number}")), ErrorSeverity::High));
        get_logger("shop").info("nothing special");
        tokio::task::spawn_blocking(flushed).await.expect("it does not panic");
        watchfire_client::get_system_health().await.expect("a host has a health");
        let found = watchfire_client::search_logs("special", None, 1).await.expect("a search");
        assert_eq!((found.len(), &found[0].body), (1, &json!("nothing special")));
        let errors = watchfire_client::search_logs("", Some(Level::Error), 1).await.expect("a search");
        assert_eq!(errors.len(), 3);
        let patterns = watchfire_client::get_top_patterns(10).await.expect("patterns");
        assert!(patterns.total >= 4 && !patterns.patterns.is_empty(), "{patterns:?}");
        watchfire_client::get_recent_anomalies(24).await.expect("anomalies");
        let report = watchfire_client::generate_analysis_report(24).await.expect("a report");
        assert!(report.starts_with('#'), "{report}");
    };
    let run = move || tokio::runtime::Handle::current().block_on(asked);
    with_client(&url, |_| (), run).await;
    assert_eq!(client.get_json("/api/v1/rules").await["rules"].as_array().map(Vec::len), Some(1));
    let statistics = eventually("three errors are counted", async || {
        let statistics = client.get_json("/api/v1/errors/statistics?hours=24").await;
        (statistics["total"] == 3).then_some(statistics)
    })
    .await;
    assert_eq!(statistics["by_service"][0]["name"], "shop");
    host.advance_until("the alert fires", Duration::from_secs(1), async || client.alerts("too many errors", "firing").await.pop())
        .await;
    let both = || {
        let alerts = watchfire_client::get_active_alerts().wait().expect("alerts");
        assert_eq!((alerts.len(), alerts[0].rule.as_str(), alerts[0].state.as_str()), (1, "too many errors", "firing"));
        assert_eq!(watchfire_client::get_error_statistics(24).wait().expect("statistics").total, 3);
    };
    with_client(&url, |_| (), both).await;
    let none = watchfire_client::get_active_alerts();
    let away = tokio::task::spawn_blocking(move || {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        none.wait()
    });
    assert!(matches!(away.await.expect("it does not panic"), Err(AskError::NotRunning)));
}

/// Takes notifications: refuses the first, and tells the test of the others.
struct Siren(std::sync::mpsc::Sender<Notification>, std::sync::atomic::AtomicBool);

impl NotificationChannel for Siren {
    fn send(&self, notification: &Notification) -> Result<(), Refused> {
        if !self.1.swap(true, std::sync::atomic::Ordering::SeqCst) {
            return Err(Refused::after(Duration::from_secs(1), "still asleep"));
        }
        self.0.send(notification.clone())?;
        Ok(())
    }

    fn test(&self) -> Result<(), Refused> {
        Err(Refused::later("the siren is broken"))
    }
}

/// Finds each record, but panics on some at first sight.
struct Watcher(u32);

impl LogAnalyzer for Watcher {
    fn selection(&self) -> Selection {
        Selection { query: "event.name:sold".into(), from_start: true, batch: 3, ..Selection::default() }
    }

    fn analyze(&mut self, records: &[LogEntry]) -> Vec<Finding> {
        self.0 += 1;
        assert!(self.0 != 2, "as programs do");
        records
            .iter()
            .map(|record| {
                Finding::new("sold", "something was sold").about(record).label("item", record.attributes["item"].to_string())
            })
            .collect()
    }
}

#[tokio::test]
async fn an_application_is_a_channel_and_an_analyzer() {
    let host = TestHost::start_with(|config, _| {
        let (name, channel) = ("siren".to_owned(), watchfire::delivery::types::Channel::Pull);
        config.alerting.receivers.push(watchfire::delivery::types::Receiver { name, channel, send_resolved: false });
        config.alerting.group_wait = Duration::ZERO;
    });
    let (client, url) = (host.client(), host.client().url().to_owned());
    let (sender, told) = std::sync::mpsc::channel();
    let (over, ended) = std::sync::mpsc::channel::<()>();
    let (ready, is_ready) = std::sync::mpsc::channel::<()>();
    let run = tokio::spawn(async move {
        let work = move || {
            let channel = add_notification_channel("siren", Siren(sender, false.into()));
            let analyzer = add_analyzer("sales", Watcher(0));
            (0..8).for_each(|item| get_logger("shop").log_business_event("sold", fields! { item: item }));
            capture_error(&std::io::Error::other("no lamp left"), ErrorSeverity::High);
            flushed();
            ready.send(()).expect("the test waits");
            ended.recv().expect("the test says when");
            channel.remove();
            analyzer.remove();
        };
        with_client(&url, |_| (), work).await;
    });
    tokio::task::spawn_blocking(move || is_ready.recv()).await.expect("it does not panic").expect("the client runs");
    eventually("all is found, once", async || {
        let findings =
            client.get_json("/api/v1/findings?plugin=pull:sales").await["findings"].as_array().cloned().unwrap_or_default();
        assert!(findings.len() <= 8, "{findings:#?}");
        (findings.len() == 8).then_some(())
    })
    .await;
    let tested = client.post("/api/v1/receivers/siren/test", "application/json", "").await.ok().json();
    assert_eq!((&tested["delivered"], &tested["detail"]), (&json!(false), &json!("the siren is broken")));
    let mut rule = watchfire_tests::error_burst_rule(1);
    rule["name"] = json!("no lamps");
    host.add_rule(&rule).await;
    let notification = host.advance_until("the siren sounds", Duration::from_secs(1), async || told.try_recv().ok()).await;
    assert_eq!((notification.status.as_str(), notification.alerts[0].labels["alertname"].as_str()), ("firing", "no lamps"));
    eventually("the receipt is stored", async || (client.outbox("delivered").await.len() == 1).then_some(())).await;
    over.send(()).expect("the client waits");
    run.await.expect("the client ends");
}

/// Returns the numbers that records of the log end with, in order.
async fn numbers(client: &Client) -> Vec<u32> {
    let records = client.get("/api/v1/export/logs").await.ok().json_lines();
    let mut numbers: Vec<u32> =
        records.iter().filter_map(|record| record["body"].as_str()?.rsplit_once(' ')?.1.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn a_host_that_is_killed_and_comes_back_gets_everything() {
    let installation = Installation::new(json!({}));
    let mut process = installation.start().await;
    let address = process.client().url().trim_start_matches("http://").to_owned();
    let url = format!("http://{address}");
    let spool = installation.path("spool");
    let say = |range: std::ops::Range<u32>| {
        range.for_each(|number| {
            get_logger("shop").info(format!("record {number}"));
            if number % 100 == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
    };
    // The next run listens where this one did.
    let mut installation = installation;
    installation.configure(json!({ "server": { "listen": address } }));
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let (told, killed) = std::sync::mpsc::channel::<()>();
    let run = tokio::spawn(async move {
        with_client(
            &url,
            |config| config.spool_dir = Some(spool),
            move || {
                say(0..3_000);
                told.send(()).expect("the test waits");
                say(3_000..6_000);
                receiver.recv().expect("the test sends");
                flushed();
            },
        )
        .await;
    });
    tokio::task::spawn_blocking(move || killed.recv()).await.expect("it does not panic").expect("the client runs");
    process.kill9();
    drop(process);
    let process = installation.start().await;
    sender.send(()).expect("the client waits");
    run.await.expect("the client ends");
    let mut found = numbers(process.client()).await;
    // A request that the host stored without coming to say so is sent again.
    found.dedup();
    assert_eq!(found, (0..6_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_example_service_shows_everything() {
    let host = TestHost::start();
    let client = host.client();
    let mut command = example::product_sync();
    command.env("WATCHFIRE_URL", client.url()).env("MONITORING_COLLECTION_INTERVAL", "1").env("OTEL_BLRP_SCHEDULE_DELAY", "50");
    command.args(["--listen", "127.0.0.1:0", "--sync-every", "10", "--seconds", "4", "--customers", "4"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it does not panic").expect("the example runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("exporter  running"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for query in [
        "event.name:task.start task.name:image_sync",
        "event.name:task.complete",
        "event.name:task.error",
        "http.response.status_code:200",
        "http.response.status_code:404",
        "db.operation.name:UPDATE",
        "event.name:customer_arrived",
        "args.api_key:\"[redacted:secret]\"",
    ] {
        assert!(!client.records(&[("q", query), ("service", "product-sync")]).await.is_empty(), "{query}");
    }
    for name in [
        "total_requests",
        "active_requests",
        "error_count",
        "process_memory_mb",
        "process_cpu_percent",
        "queue_depth",
        "image_syncs",
    ] {
        assert!(!client.series(name, &[("service", "product-sync")]).await.is_empty(), "{name}");
    }
    let kinds = eventually("every kind of error is an issue", async || {
        let issues = client.get_json("/api/v1/issues").await["issues"].as_array().cloned().unwrap_or_default();
        let kinds: Vec<String> = issues.iter().filter_map(|issue| Some(issue["type"].as_str()?.to_owned())).collect();
        ["SyncError", "panic", "rusqlite"].iter().all(|kind| kinds.iter().any(|known| known.contains(kind))).then_some(kinds)
    })
    .await;
    assert!(kinds.len() < 20, "one issue for each kind and place, not for each error: {kinds:?}");
    host.advance_until("the service's own rule fires", Duration::from_secs(1), async || {
        client.alerts("product-sync: many errors", "firing").await.pop()
    })
    .await;
}
