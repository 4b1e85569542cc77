//! What it costs to make records of lines, by their format, and of a whole file: `cargo bench -p watchfire --bench formats`.

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use jiff::tz::TimeZone;
use watchfire::inputs::builder::BatchBuilder;
use watchfire::inputs::formats::{Defaults, Detected, Format, parse_line};
use watchfire_types::{LogBatch, Timestamp};

const LINES: usize = 1_000;

fn main() {
    divan::main();
}

const FORMATS: [&str; 10] = ["syslog", "rfc3164", "json", "logfmt", "log4j", "access", "cri_json", "docker", "klog", "plain"];

fn line(format: &str, number: usize) -> String {
    let message = format!("order {number:06} paid by user {} in {} ms", number * 7 % 1000, number % 300);
    match format {
        "syslog" => format!("2026-11-24T05:37:20.123456Z shop-1 shop[4711]: INFO {message}"),
        "rfc3164" => format!("Nov 24 05:37:20 shop-1 shop[4711]: INFO {message}"),
        "json" => format!(
            r#"{{"level":"info","ts":"2026-11-24T05:37:20.123Z","logger":"shop","msg":"{message}","user":{number},"took_ms":12}}"#
        ),
        "logfmt" => format!(r#"ts=2026-11-24T05:37:20.123Z level=info logger=shop msg="{message}" user={number} took_ms=12"#),
        "log4j" => format!("2026-11-24 05:37:20,123 INFO  [main] com.shop.Orders - {message}"),
        "access" => format!(
            r#"10.0.0.{} - - [24/Nov/2026:05:37:20 +0100] "GET /order/{number}?x=1 HTTP/1.1" 200 512 "-" "Mozilla/5.0 (X11; Linux x86_64)""#,
            number % 255
        ),
        "cri_json" => format!(r#"2026-11-24T05:37:20.123456789Z stdout F {{"level":"info","msg":"{message}","user":{number}}}"#),
        "docker" => format!(r#"{{"log":"INFO {message}\n","stream":"stdout","time":"2026-11-24T05:37:20.123456789Z"}}"#),
        "klog" => format!("I1124 05:37:20.123456   12345 server.go:123] {message}"),
        _ => message,
    }
}

fn parse(lines: &[String]) -> LogBatch {
    let defaults =
        Defaults { service: None, host: Some("shop-1"), now: Timestamp::from_seconds(1_795_392_600), zone: &TimeZone::UTC };
    let mut detected = Detected::new(Format::Auto);
    let mut builder = BatchBuilder::new(usize::MAX);
    for line in lines {
        parse_line(&mut builder, line, &defaults, &mut detected).expect("it fits");
    }
    builder.finish()
}

#[divan::bench(args = FORMATS)]
fn lines(bencher: Bencher<'_, '_>, format: &str) {
    let lines: Vec<String> = (0..LINES).map(|number| line(format, number)).collect();
    let bytes: usize = lines.iter().map(String::len).sum();
    bencher.counter(ItemsCount::new(LINES)).counter(BytesCount::new(bytes)).bench(|| parse(divan::black_box(&lines)));
}
