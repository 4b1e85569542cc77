//! What monitoring costs the application, per call: `cargo bench -p watchfire-client --bench calls`.
//!
//! Monitoring runs; it exports to a port where nobody listens, as with a host that is away.

use std::time::Duration;

use divan::{Bencher, black_box};
use watchfire_client::{
    Config, fields, get_logger, increment_counter, init_with, monitor_api_request, monitor_database_operation, monitor_execution,
    record_timer, set_gauge, track_errors,
};

fn main() {
    // The discard port: connections are refused at once.
    let config = Config {
        url: "http://127.0.0.1:9".into(),
        install_subscriber: false,
        timeout: Duration::from_secs(1),
        ..Config::new("bench")
    };
    init_with(config).expect("the settings are right");
    divan::main();
}

fn work(number: u64) -> u64 {
    black_box(number.wrapping_mul(31))
}

#[monitor_execution(metric_name = "bench")]
fn execution(number: u64) -> u64 {
    work(number)
}

#[monitor_execution(metric_name = "bench_result")]
fn execution_of_result(number: u64) -> Result<u64, std::io::Error> {
    Ok(work(number))
}

#[track_errors]
fn tracked(number: u64) -> Result<u64, std::io::Error> {
    Ok(work(number))
}

#[monitor_execution(metric_name = "bench_args", log_args = true)]
fn execution_with_arguments(number: u64) -> u64 {
    work(number)
}

#[monitor_api_request(endpoint = "/bench", method = "GET")]
fn api_request(number: u64) -> u64 {
    work(number)
}

#[monitor_database_operation(operation = "SELECT", table = "bench")]
fn database_operation(number: u64) -> u64 {
    work(number)
}

#[divan::bench]
fn a0_nothing() -> u64 {
    work(black_box(7))
}

#[divan::bench]
fn a1_two_looks_at_the_clock() -> Duration {
    let begin = std::time::Instant::now();
    work(black_box(7));
    begin.elapsed()
}

#[divan::bench(threads = [1, 2])]
fn b0_monitor_execution() -> u64 {
    execution(black_box(7))
}

#[divan::bench]
fn b1_monitor_execution_of_a_result() -> Result<u64, std::io::Error> {
    execution_of_result(black_box(7))
}

#[divan::bench]
fn b2_track_errors() -> Result<u64, std::io::Error> {
    tracked(black_box(7))
}

#[divan::bench]
fn c0_monitor_execution_with_arguments() -> u64 {
    execution_with_arguments(black_box(7))
}

#[divan::bench]
fn c1_monitor_api_request() -> u64 {
    api_request(black_box(7))
}

#[divan::bench]
fn c2_monitor_database_operation() -> u64 {
    database_operation(black_box(7))
}

#[divan::bench]
fn d0_increment_counter() {
    increment_counter("bench_orders", 1, &[("plan", "premium"), ("country", "de")]);
}

#[divan::bench]
fn d1_counter_looked_up_once(bencher: Bencher) {
    let counter = watchfire_client::counter("bench_orders", &[("plan", "premium")]);
    bencher.bench_local(|| counter.add(1));
}

#[divan::bench]
fn d2_record_timer() {
    record_timer("bench_time", black_box(250.5), &[("endpoint", "/bench")]);
}

#[divan::bench]
fn d3_set_gauge() {
    set_gauge("bench_active", black_box(150), &[]);
}

#[divan::bench]
fn e0_log_below_the_level(bencher: Bencher) {
    let logger = get_logger("bench");
    bencher.bench_local(|| logger.debug("not sent"));
}

#[divan::bench]
fn e1_log_with_three_fields(bencher: Bencher) {
    let logger = get_logger("bench");
    bencher.bench_local(|| logger.info_with("user logged in", fields! { user_id: "12345", tries: 3, admin: false }));
}
