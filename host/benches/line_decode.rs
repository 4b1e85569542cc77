//! Reading lines into columns: Elasticsearch's bulk requests, Loki's push requests, the journal's export format. NDJSON is measured beside
//! OTLP in `otlp_decode`.
//!
//! `cargo bench --package watchfire --bench line_decode`. Each item is a record with four attributes.

use std::fmt::Write as _;

use divan::Bencher;
use divan::counter::ItemsCount;
use jiff::tz::TimeZone;
use watchfire::inputs::elastic::bulk;
use watchfire::inputs::journald::export;
use watchfire::inputs::loki;
use watchfire::inputs::ndjson::Defaults;
use watchfire_types::Timestamp;

const RECORDS: usize = 1000;
const NOW: Timestamp = Timestamp::from_seconds(1_795_392_600);

fn main() {
    divan::main();
}

fn defaults(zone: &TimeZone) -> Defaults<'_> {
    Defaults { service: None, host: None, now: NOW, zone }
}

fn document(number: usize) -> String {
    format!(
        "{{\"@timestamp\":\"2026-11-23T00:00:00.{number:06}Z\",\"log\":{{\"level\":\"INFO\"}},\"service\":{{\"name\":\"shop\"}},\"message\":\"order {number} of customer {} paid with card ending 42: total 17.{} EUR, took 12.250 ms\",\"http.request.method\":\"GET\",\"http.response.status_code\":200,\"request.id\":\"{number:016x}\",\"user.id\":{}}}",
        number * 7,
        number % 100,
        number * 13
    )
}

#[divan::bench]
fn bulk_documents(bencher: Bencher<'_, '_>) {
    let action = "{\"create\":{\"_index\":\"shop\"}}\n";
    let text: String = (0..RECORDS).map(|number| format!("{action}{}\n", document(number))).collect::<Vec<_>>().concat();
    let zone = TimeZone::UTC;
    bencher.counter(ItemsCount::new(RECORDS)).bench(|| bulk::decode(text.as_bytes(), None, &defaults(&zone), usize::MAX));
}

#[divan::bench]
fn loki_json(bencher: Bencher<'_, '_>) {
    let mut text = String::from("{\"streams\":[{\"stream\":{\"app\":\"shop\",\"level\":\"info\"},\"values\":[");
    for number in 0..RECORDS {
        let separator = if number == 0 { "" } else { "," };
        // Writing into a `String` cannot fail.
        let _ = write!(
            text,
            "{separator}[\"1795392000000000{number:03}\",\"order {number} paid with card ending 42: total 17.{} EUR, took 12.250 ms\",{{\"method\":\"GET\",\"status\":\"200\",\"request\":\"{number:016x}\",\"user\":\"{number}\"}}]",
            number % 100
        );
    }
    text.push_str("]}]}");
    bencher.counter(ItemsCount::new(RECORDS)).bench(|| loki::decode_json(text.as_bytes(), NOW, usize::MAX));
}

#[divan::bench]
fn journal_entries(bencher: Bencher<'_, '_>) {
    let mut text = String::new();
    for number in 0..RECORDS {
        let _ = write!(
            text,
            "__CURSOR=s=1;i={number:x}\n__REALTIME_TIMESTAMP=1795392000000{number:03}\nPRIORITY=6\nSYSLOG_IDENTIFIER=shop\n_HOSTNAME=web-1\n_PID=77\n_SYSTEMD_UNIT=shop.service\n_TRANSPORT=journal\nMESSAGE=order {number} paid with card ending 42: total 17.25 EUR, took 12.250 ms\n\n"
        );
    }
    bencher.counter(ItemsCount::new(RECORDS)).bench(|| export::read_all(text.as_bytes(), 64 << 10));
}
