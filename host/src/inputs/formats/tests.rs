//! Lines as the programs themselves write them, and what becomes of them.

use jiff::tz::TimeZone;
use proptest::prelude::*;
use watchfire_types::LogRecord;

use super::*;

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn records(format: &str, lines: &[&str]) -> Vec<LogRecord> {
    let zone = TimeZone::fixed(jiff::tz::offset(1));
    let defaults = Defaults { service: None, host: None, now: now(), zone: &zone };
    let mut detected = Detected::new(Format::from_name(format).unwrap());
    detected.unnamed = Some("file".to_owned());
    let mut builder = BatchBuilder::new(usize::MAX);
    for line in lines {
        parse_line(&mut builder, line, &defaults, &mut detected).unwrap();
    }
    let batch = builder.finish();
    assert_eq!(batch.len(), lines.len());
    (0..batch.len()).map(|row| batch.record(row)).collect()
}

/// Returns each record in a line: time, level, service, logger, body, attributes.
fn shown(format: &str, lines: &[&str]) -> String {
    let show = |record: LogRecord| {
        let time = if record.timestamp == now() { "now".to_owned() } else { record.timestamp.to_string() };
        let service = watchfire_types::log::service_of(&record.resource).unwrap_or("").to_owned();
        let host =
            record.resource.iter().find(|(key, _)| key == "host.name").map(|(_, value)| format!("@{}", value.as_ref().display()));
        let attributes: Vec<String> =
            record.attributes.iter().map(|(key, value)| format!("{key}={}", serde_json::to_string(value).unwrap())).collect();
        let ids = if record.trace_id.is_empty() { String::new() } else { format!(" {}/{}", record.trace_id, record.span_id) };
        format!(
            "{time} {}({}) {service}{} [{}]{ids} {} {{{}}}",
            record.severity_number,
            record.severity_text,
            host.unwrap_or_default(),
            record.scope,
            serde_json::to_string(&record.body).unwrap(),
            attributes.join(" ")
        )
    };
    records(format, lines).into_iter().map(show).collect::<Vec<_>>().join("\n")
}

#[test]
fn json_of_log_libraries() {
    let lines = [
        // zap, zerolog, logrus, slog
        r#"{"level":"info","ts":1795498640.123,"logger":"shop.orders","caller":"orders/pay.go:42","msg":"paid","order":7,"amount":1.5}"#,
        r#"{"level":"error","error":"no route","time":"2026-11-24T05:37:20+01:00","message":"cannot pay"}"#,
        r#"{"animal":"walrus","level":"warning","msg":"a \"quoted\" one","time":"2026-11-24T05:37:20Z"}"#,
        r#"{"time":"2026-11-24T05:37:20.123456789Z","level":"DEBUG","msg":"hello","group":{"a":1}}"#,
        // pino, bunyan, winston
        r#"{"level":50,"time":1795498640123,"pid":12,"hostname":"web1","err":{"type":"TypeError","message":"x is undefined","stack":"TypeError: x is undefined\n    at f (/app/a.js:1:2)"},"msg":"failed"}"#,
        r#"{"name":"shop","hostname":"web1","pid":12,"level":30,"msg":"hi","time":"2026-11-24T05:37:20.123Z","v":0}"#,
        r#"{"level":"info","message":"Hello","service":"user-service","timestamp":"2026-11-24 05:37:20"}"#,
        // structlog, python-json-logger
        r#"{"event":"user logged in","level":"info","logger":"app.auth","timestamp":"2026-11-24T05:37:20.123456Z","user":"ann"}"#,
        r#"{"asctime":"2026-11-24 05:37:20,123","levelname":"WARNING","name":"app","message":"slow"}"#,
        // Logback, Log4j, ECS
        r#"{"@timestamp":"2026-11-24T05:37:20.123+01:00","@version":"1","message":"up","logger_name":"com.shop.App","thread_name":"main","level":"INFO","level_value":20000}"#,
        r#"{"instant":{"epochSecond":1795498640,"nanoOfSecond":123000000},"thread":"main","level":"ERROR","loggerName":"com.shop.A","message":"no","thrown":{"name":"java.io.IOException","message":"closed","extendedStackTrace":"java.io.IOException: closed\n\tat a.B.c(D.java:1)"},"endOfBatch":false}"#,
        r#"{"@timestamp":"2026-11-24T05:37:20.123Z","log.level":"WARN","message":"m","service.name":"shop","process.thread.name":"main","log.logger":"com.shop.B","trace.id":"4bf92f3577b34da6a3ce929d0e0e4736","span.id":"00f067aa0ba902b7"}"#,
        r#"{"@timestamp":"2026-11-24T05:37:20.123Z","log":{"level":"warn","logger":"x"},"service":{"name":"nested","version":"1"},"host":{"name":"h"},"message":"m"}"#,
        // Serilog, .NET
        r#"{"@t":"2026-11-24T05:37:20.1230000Z","@mt":"Paid {Order}","@l":"Warning","Order":7,"SourceContext":"Shop.Orders"}"#,
        r#"{"Timestamp":"2026-11-24T05:37:20.123Z","EventId":14,"LogLevel":"Information","Category":"Microsoft.Hosting.Lifetime","Message":"Now listening on: http://[::]:80","State":{"address":"http://[::]:80"}}"#,
        // Monolog, GELF, systemd, MongoDB
        r#"{"message":"no stock","context":{"sku":1},"level":400,"level_name":"ERROR","channel":"app","datetime":"2026-11-24T05:37:20.123456+01:00","extra":[]}"#,
        r#"{"version":"1.1","host":"web1","short_message":"boom","level":3,"timestamp":1795498640.5,"_user":"ann"}"#,
        r#"{"__REALTIME_TIMESTAMP":"1795498640123456","PRIORITY":"4","SYSLOG_IDENTIFIER":"sshd","_PID":"7","_HOSTNAME":"web1","MESSAGE":"refused"}"#,
        r#"{"t":{"$date":"2026-11-24T05:37:20.123+00:00"},"s":"I","c":"NETWORK","id":23015,"ctx":"listener","msg":"Listening on","attr":{"address":"127.0.0.1"}}"#,
        // Odd ones.
        r#"{"time":"yesterday","msg":"a time that is none"}"#,
        r#"{"a":1}"#,
        r#"{"msg":null,"level":null,"x":18446744073709551615}"#,
        r"{not json}",
        r#"{"msg":"cut off"#,
    ];
    insta::assert_snapshot!(shown("auto", &lines), @r#"
    2026-11-24T05:37:20.122999808Z 9(info) file [shop.orders] "paid" {caller="orders/pay.go:42" order=7 amount=1.5}
    2026-11-24T04:37:20Z 17(error) file [] "cannot pay" {error="no route"}
    2026-11-24T05:37:20Z 13(warning) file [] "a \"quoted\" one" {animal="walrus"}
    2026-11-24T05:37:20.123456789Z 5(DEBUG) file [] "hello" {group={"a":1}}
    2026-11-24T05:37:20.123Z 17(50) file@web1 [] "failed" {process.pid=12 exception.type="TypeError" exception.message="x is undefined" exception.stacktrace="TypeError: x is undefined\n    at f (/app/a.js:1:2)"}
    2026-11-24T05:37:20.123Z 9(30) shop@web1 [] "hi" {process.pid=12 v=0}
    2026-11-24T04:37:20Z 9(info) user-service [] "Hello" {}
    2026-11-24T05:37:20.123456Z 9(info) file [app.auth] "user logged in" {user="ann"}
    2026-11-24T04:37:20.123Z 13(WARNING) file [app] "slow" {}
    2026-11-24T04:37:20.123Z 9(INFO) file [com.shop.App] "up" {@version="1" thread.name="main" level_value=20000}
    2026-11-24T05:37:20.123Z 17(ERROR) file [com.shop.A] "no" {thread.name="main" exception.type="java.io.IOException" exception.message="closed" exception.stacktrace="java.io.IOException: closed\n\tat a.B.c(D.java:1)" endOfBatch=false}
    2026-11-24T05:37:20.123Z 13(WARN) shop [com.shop.B] 4bf92f3577b34da6a3ce929d0e0e4736/00f067aa0ba902b7 "m" {thread.name="main"}
    2026-11-24T05:37:20.123Z 13(warn) nested@h [x] "m" {service.version="1"}
    2026-11-24T05:37:20.123Z 13(Warning) file [Shop.Orders] "Paid {Order}" {Order=7}
    2026-11-24T05:37:20.123Z 9(Information) file [Microsoft.Hosting.Lifetime] "Now listening on: http://[::]:80" {EventId=14 address="http://[::]:80"}
    2026-11-24T04:37:20.123456Z 17(ERROR) file [app] "no stock" {context={"sku":1} level=400 extra=[]}
    2026-11-24T05:37:20.5Z 17(3) file@web1 [] "boom" {version="1.1" _user="ann"}
    2026-11-24T05:37:20.123456Z 13(4) sshd@web1 [] "refused" {process.pid=7}
    2026-11-24T05:37:20.123Z 9(I) file [] "Listening on" {c="NETWORK" id=23015 ctx="listener" address="127.0.0.1"}
    now 0() file [] "a time that is none" {time="yesterday"}
    now 0() file [] null {a=1}
    now 0() file [] null {x=1.8446744073709552e+19}
    now 0() file [] "{not json}" {}
    now 0() file [] "{\"msg\":\"cut off" {}
    "#);
}

#[test]
fn logfmt_and_klog() {
    let lines = [
        r#"time="2026-11-24T05:37:20Z" level=warning msg="disk \"a\" is\tfull" disk=/dev/sda1 free=12 ok=false"#,
        r"ts=2026-11-24T05:37:20.123Z caller=main.go:12 level=info component=tsdb msg=ready",
        "level=error err=\"no route\" status=0500",
        "level=info msg=half\"quoted",
        "a=1 b=2",
        "x = 1, y = 2",
        "key=value and then prose",
        "I1124 05:37:20.123456   12345 server.go:123] \"Started\" node=\"a\"",
        "E20261124 05:37:20.123456 12345 file.cc:9] broken",
        "W1231 23:59:59.000001       1 a.go:1] of last year",
        "I am no klog",
    ];
    insta::assert_snapshot!(shown("auto", &lines), @r#"
    2026-11-24T05:37:20Z 13(warning) file [] "disk \"a\" is\tfull" {disk="/dev/sda1" free=12 ok=false}
    2026-11-24T05:37:20.123Z 9(info) file [] "ready" {caller="main.go:12" component="tsdb"}
    now 17(error) file [] "level=error err=\"no route\" status=0500" {err="no route" status="0500"}
    now 9(info) file [] "half\"quoted" {}
    now 0() file [] "a=1 b=2" {}
    now 0() file [] "x = 1, y = 2" {}
    now 0() file [] "key=value and then prose" {}
    2026-11-24T04:37:20.123456Z 9(I) file [] "\"Started\" node=\"a\"" {thread.id=12345 code.file.path="server.go" code.line.number=123}
    2026-11-24T04:37:20.123456Z 17(E) file [] "broken" {thread.id=12345 code.file.path="file.cc" code.line.number=9}
    2025-12-31T22:59:59.000001Z 13(W) file [] "of last year" {thread.id=1 code.file.path="a.go" code.line.number=1}
    now 0() file [] "I am no klog" {}
    "#);
}

#[test]
fn access_logs_and_errors_of_servers() {
    let lines = [
        r#"127.0.0.1 - frank [10/Oct/2025:13:55:36 -0700] "GET /apache_pb.gif?a=b HTTP/1.0" 200 2326"#,
        r#"2001:db8::1 - - [24/Nov/2026:05:37:20 +0100] "POST /pay HTTP/2.0" 503 0 "https://shop.example/" "Mozilla/5.0 (X11; \"quoted\")" "10.0.0.9" 0.123"#,
        r#"shop.example:443 10.0.0.1 - - [24/Nov/2026:05:37:20 +0100] "GET / HTTP/1.1" 404 - "-" "curl/8""#,
        r#"10.0.0.1 - - [24/Nov/2026:05:37:20 +0100] "\x16\x03\x01" 400 157 "-" "-""#,
        r#"2026/11/24 05:37:20 [error] 31#32: *7 open() "/srv/x" failed (2: No such file or directory), client: 10.0.0.1, server: shop, request: "GET /x HTTP/1.1", host: "shop.example", referrer: "https://a/""#,
        r"2026/11/24 05:37:20 [notice] 1#1: start worker processes",
        "[Tue Nov 24 05:37:20.123456 2026] [core:error] [pid 12:tid 34] (13)Permission denied: [client 10.0.0.1:567] AH00035: access denied",
        "[Tue Nov 24 05:37:20.123456 2026] [php:trace1] [pid 12] [client 10.0.0.1:567] x",
        "2026-11-24 05:37:20.123 UTC [1234] LOG:  database system is ready to accept connections",
        "2026-11-24 05:37:20.123 CET [1234] shop@orders ERROR:  relation \"x\" does not exist at character 15",
        "2026-11-24 05:37:20 UTC [12-3] STATEMENT:  SELECT 1",
    ];
    insta::assert_snapshot!(shown("auto", &lines), @r#"
    2025-10-10T20:55:36Z 9() file [] "\"GET /apache_pb.gif?a=b HTTP/1.0\" 200 2326" {client.address="127.0.0.1" user.name="frank" http.request.method="GET" url.path="/apache_pb.gif" url.query="a=b" network.protocol.version="1.0" http.response.status_code=200 http.response.body.size=2326}
    2026-11-24T04:37:20Z 17() file [] "\"POST /pay HTTP/2.0\" 503 0" {client.address="2001:db8::1" http.request.method="POST" url.path="/pay" network.protocol.version="2.0" http.response.status_code=503 http.response.body.size=0 http.request.header.referer="https://shop.example/" user_agent.original="Mozilla/5.0 (X11; \\\"quoted\\\")" http.log.extra="\"10.0.0.9\" 0.123"}
    2026-11-24T04:37:20Z 13() file [] "\"GET / HTTP/1.1\" 404 -" {client.address="10.0.0.1" server.address="shop.example:443" http.request.method="GET" url.path="/" network.protocol.version="1.1" http.response.status_code=404 user_agent.original="curl/8"}
    2026-11-24T04:37:20Z 13() file [] "\"\\x16\\x03\\x01\" 400 157" {client.address="10.0.0.1" http.request.original="\\x16\\x03\\x01" http.response.status_code=400 http.response.body.size=157}
    2026-11-24T04:37:20Z 17(error) file [] "open() \"/srv/x\" failed (2: No such file or directory)" {process.pid=31 thread.id=32 nginx.connection=7 client.address="10.0.0.1" server.address="shop" http.request.method="GET" url.path="/x" network.protocol.version="1.1" http.request.header.host="shop.example" http.request.header.referer="https://a/"}
    2026-11-24T04:37:20Z 10(notice) file [] "start worker processes" {process.pid=1 thread.id=1}
    2026-11-24T04:37:20.123456Z 17(error) file [core] "(13)Permission denied: [client 10.0.0.1:567] AH00035: access denied" {process.pid=12 thread.id=34}
    2026-11-24T04:37:20.123456Z 1(trace1) file [php] "x" {process.pid=12 client.address="10.0.0.1" client.port=567}
    2026-11-24T05:37:20.123Z 9(LOG) file [] "database system is ready to accept connections" {process.pid=1234}
    2026-11-24T04:37:20.123Z 17(ERROR) file [] "relation \"x\" does not exist at character 15" {process.pid=1234 user.name="shop" db.namespace="orders"}
    2026-11-24T05:37:20Z 9(STATEMENT) file [] "SELECT 1" {process.pid=12}
    "#);
}

#[test]
fn text_with_a_head() {
    let lines = [
        "2026-11-24 05:37:20,123 INFO  [main] com.shop.Orders - paid",
        "2026-11-24 05:37:20,123 [http-nio-1] WARN  c.s.Orders (Orders.java:12) - slow",
        "05:37:20.123 [main] ERROR com.shop.App -- cannot start",
        "2026-11-24T05:37:20.123+01:00  INFO 12345 --- [shop] [           main] c.s.Orders       : Started in 2.1 s",
        "2026-11-24 05:37:20.123  WARN 7 --- [nio-8080-exec-1] o.a.c.C.[Tomcat]  : odd logger",
        "2026-11-24 05:37:20,123 - app.auth - ERROR - refused",
        "WARNING:app.auth:refused",
        "[2026-11-24 05:37:20 +0000] [123] [INFO] Booting worker",
        "[2026-11-24 05:37:20,123] INFO started (kafka.server.KafkaServer)",
        "[2026-11-24T05:37:20,123][WARN ][o.e.n.Node ] [node-1] low on disk",
        "2026-11-24T05:37:20.123456Z 0 [Warning] [MY-010055] [Server] deprecated",
        "2026-11-24T05:37:20.123456Z  INFO shop::orders: paid order=7",
        "\u{1b}[2m2026-11-24T05:37:20.123456Z\u{1b}[0m \u{1b}[33m WARN\u{1b}[0m \u{1b}[2mshop::orders\u{1b}[0m\u{1b}[2m:\u{1b}[0m slow",
        "[2026-11-24T05:37:20Z ERROR shop::pay] refused",
        "2026/11/24 05:37:20 http: TLS handshake error",
        "I, [2026-11-24T05:37:20.123456 #1234]  INFO -- shop: paid",
        "1:M 24 Nov 2026 05:37:20.123 * Ready to accept connections",
        "[24-Nov-2026 05:37:20 UTC] PHP Warning:  Undefined variable $x in /app/a.php on line 3",
        "[24-Nov-2026 05:37:20] NOTICE: fpm is running, pid 1",
        "[2026-11-24T05:37:20.123456+01:00] app.ERROR: no stock {\"sku\":1} []",
        "24-Nov-2026 05:37:20.123 SEVERE [main] org.apache.catalina.A failed",
        "Nov 24 05:37:20 web1 sshd[123]: Failed password for root",
        "2026-11-24T05:37:20.123456+01:00 web1 postfix/smtpd[77]: ERROR: no route",
        "2026-11-24 05:37:20,500 WARNING app.module careful: now",
        "2026-11-24T05:37:20Z INFO starting: up",
        "2026-11-24T05:37:20Z info: winston",
        "2026-11-24 05:37:20 alert box was shown",
        "2026-11-24 05:37:20 nothing to see",
        "<11>Nov 24 05:37:20 web1 app: it broke",
        "[warn] disk is filling",
        "info: Microsoft.Hosting.Lifetime[14]",
        "just words",
        "12:30:00 noon",
        "é",
    ];
    insta::assert_snapshot!(shown("auto", &lines), @r#"
    2026-11-24T04:37:20.123Z 9(INFO) file [com.shop.Orders] "paid" {thread.name="main"}
    2026-11-24T04:37:20.123Z 13(WARN) file [c.s.Orders] "slow" {thread.name="http-nio-1"}
    2026-11-24T04:37:20.123Z 17(ERROR) file [] "com.shop.App -- cannot start" {thread.name="main"}
    2026-11-24T04:37:20.123Z 9(INFO) shop [c.s.Orders] "Started in 2.1 s" {process.pid=12345 thread.name="main"}
    2026-11-24T04:37:20.123Z 13(WARN) file [] "o.a.c.C.[Tomcat]  : odd logger" {process.pid=7 thread.name="nio-8080-exec-1"}
    2026-11-24T04:37:20.123Z 17(ERROR) file [app.auth] "refused" {}
    now 13(WARNING) file [app.auth] "refused" {}
    2026-11-24T05:37:20Z 9(INFO) file [] "Booting worker" {process.pid=123}
    2026-11-24T04:37:20.123Z 9(INFO) file [kafka.server.KafkaServer] "started" {}
    2026-11-24T04:37:20.123Z 13(WARN) file [o.e.n.Node] "low on disk" {thread.name="node-1"}
    2026-11-24T05:37:20.123456Z 13(Warning) file [Server] "deprecated" {thread.id=0 error.code="MY-010055"}
    2026-11-24T05:37:20.123456Z 9(INFO) file [shop::orders] "paid order=7" {}
    2026-11-24T05:37:20.123456Z 13(WARN) file [shop::orders] "slow" {}
    2026-11-24T05:37:20Z 17(ERROR) file [shop::pay] "refused" {}
    2026-11-24T04:37:20Z 0() file [] "http: TLS handshake error" {}
    2026-11-24T04:37:20.123456Z 9(INFO) file [shop] "paid" {process.pid=1234}
    2026-11-24T04:37:20.123Z 10(*) file [] "Ready to accept connections" {process.pid=1 redis.role="M"}
    2026-11-24T05:37:20Z 13(Warning) file [] "PHP Warning:  Undefined variable $x in /app/a.php on line 3" {}
    2026-11-24T04:37:20Z 10(NOTICE) file [] "fpm is running, pid 1" {}
    2026-11-24T04:37:20.123456Z 17(ERROR) file [app] "no stock {\"sku\":1} []" {}
    2026-11-24T04:37:20.123Z 17(SEVERE) file [] "org.apache.catalina.A failed" {thread.name="main"}
    2026-11-24T04:37:20Z 0() sshd@web1 [] "Failed password for root" {process.pid=123}
    2026-11-24T04:37:20.123456Z 17(ERROR) postfix/smtpd@web1 [] "ERROR: no route" {process.pid=77}
    2026-11-24T04:37:20.5Z 13(WARNING) file [] "app.module careful: now" {}
    2026-11-24T05:37:20Z 9(INFO) file [] "starting: up" {}
    2026-11-24T05:37:20Z 9(info) file [] "winston" {}
    2026-11-24T04:37:20Z 0() file [] "alert box was shown" {}
    2026-11-24T04:37:20Z 0() file [] "nothing to see" {}
    2026-11-24T04:37:20Z 17() app@web1 [] "it broke" {}
    now 13(warn) file [] "[warn] disk is filling" {}
    now 9(info) file [] "info: Microsoft.Hosting.Lifetime[14]" {}
    now 0() file [] "just words" {}
    now 0() file [] "12:30:00 noon" {}
    now 0() file [] "é" {}
    "#);
}

#[test]
fn envelopes_are_opened() {
    let lines = [
        "2026-11-24T05:37:20.123456789+01:00 stdout F plain",
        "2026-11-24T05:37:20.123456789Z stderr F {\"level\":\"error\",\"msg\":\"nested\"}",
        r#"{"log":"2026-11-24 05:37:20 [x] \u001b[31mred\u001b[0m\n","stream":"stderr","time":"2026-11-24T05:37:20.123456789Z"}"#,
        r#"{"log":"no docker","stream":"stderr","time":"2026-11-24T05:37:20.123456789Z","more":1}"#,
        "2026-11-24T05:37:20Z stdout X no tag of CRI",
    ];
    insta::assert_snapshot!(shown("auto", &lines), @r#"
    2026-11-24T04:37:20.123456789Z 0() file [] "plain" {log.iostream="stdout"}
    2026-11-24T05:37:20.123456789Z 17(error) file [] "nested" {log.iostream="stderr"}
    2026-11-24T04:37:20Z 0() file [] "[x] red" {log.iostream="stderr"}
    2026-11-24T05:37:20.123456789Z 0() file [] "no docker" {stream="stderr" more=1}
    2026-11-24T05:37:20Z 0() file [] "stdout X no tag of CRI" {}
    "#);
}

#[test]
fn a_format_that_is_fixed_is_not_guessed() {
    insta::assert_snapshot!(shown("raw", &["{\"msg\":\"a\"}", "2026-11-24 05:37:20 \u{1b}[1mx"]), @r#"
    now 0() file [] "{\"msg\":\"a\"}" {}
    now 0() file [] "2026-11-24 05:37:20 \u001b[1mx" {}
    "#);
    insta::assert_snapshot!(shown("text", &["{\"msg\":\"a\"}", "2026-11-24 05:37:20 ERROR x"]), @r#"
    now 0() file [] "{\"msg\":\"a\"}" {}
    2026-11-24T04:37:20Z 17(ERROR) file [] "x" {}
    "#);
    insta::assert_snapshot!(shown("logfmt", &["a=1 b", "no logfmt, really"]), @r#"
    now 0() file [] "a=1 b" {a=1 b=true}
    now 0() file [] "no logfmt, really" {}
    "#);
    assert_eq!(Format::from_name("parser:x"), Some(Format::Parser("x".to_owned())));
    assert!(Format::NAMES.iter().all(|name| Format::from_name(name).is_some()));
    assert_eq!(Format::from_name("parser:").or(Format::from_name("jsn")), None);
}

#[test]
fn formats_may_change_from_line_to_line() {
    let lines = ["{\"msg\":\"a\"}", "level=warn msg=b", "{\"msg\":\"c\"}", "I1124 05:37:20.1 1 a.go:1] d", "e", "{\"msg\":\"f\"}"];
    let bodies: Vec<String> = records("auto", &lines).iter().map(|record| record.body.as_ref().display()).collect();
    assert_eq!(bodies, ["a", "b", "c", "d", "e", "f"]);
}

/// Pieces of all formats, in any order.
fn scraps() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(vec![
        "2026-11-24T05:37:20.123Z",
        "2026-11-24 05:37:20,123",
        " stdout F ",
        " stderr P ",
        " INFO ",
        "[main] ",
        "[error] ",
        " --- ",
        " - ",
        ": ",
        "{\"log\":\"",
        "\\n\",\"stream\":\"stdout\",\"time\":\"",
        "\"}",
        "{",
        "}",
        "\"msg\":",
        "\"time\":",
        "{\"$date\":",
        "\"level\":",
        "50",
        "\"x\"",
        ",",
        "level=",
        "msg=\"",
        "\\\"",
        "\"",
        "I1124 05:37:20.123 1 a.go:1] ",
        "127.0.0.1 - - [",
        "24/Nov/2026:05:37:20 +0100",
        "] \"GET / HTTP/1.1\" 200 ",
        "1:M 24 Nov 2026 05:37:20.123 * ",
        "I, [",
        " #1]",
        " -- ",
        "(a.B)",
        "31#32: *7 ",
        ", client: ",
        "PHP Warning:  ",
        "[pid 1:tid 2] ",
        "\u{1b}[31m",
        "Nov 24 05:37:20 ",
        "Tue Nov 24 05:37:20 2026",
        "web1 app[1]: ",
        "é",
        "\n",
        "\tat a.B.c(D.java:1)",
        "0",
        "<11>",
        "app.ERROR: ",
    ]);
    proptest::collection::vec(prop_oneof![6 => piece.prop_map(str::to_owned), 1 => "\\PC{0,6}"], 0..16)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_line_is_one_record_in_any_format(line in scraps(), format in 0..Format::NAMES.len()) {
        let records = records(Format::NAMES[format], &[&line, &line]);
        // What the first line taught changes nothing about the second.
        prop_assert_eq!(&records[0], &records[1]);
    }

    #[test]
    fn a_text_is_never_lost(words in "[a-z]{1,8}( [a-z]{1,8}){0,5}", level in proptest::sample::select(vec!["INFO", "WARN", "ERROR"])) {
        for line in [
            format!("2026-11-24 05:37:20,123 {level} [main] com.shop.Orders - {words}"),
            format!("{{\"level\":\"{level}\",\"msg\":\"{words}\"}}"),
            format!("level={level} msg=\"{words}\""),
            words.clone(),
        ] {
            let record = &records("auto", &[&line])[0];
            prop_assert_eq!(record.body.as_text(), Some(words.as_str()), "{}", line);
        }
    }
}
