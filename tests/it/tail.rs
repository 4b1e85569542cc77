//! Files that the host follows.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use watchfire::config::FileInput;
use watchfire_tests::TestHost;
use watchfire_types::{LogRecord, Value};

/// Returns a host that follows `name` in the test's folder, which holds `before` already.
fn host_following(name: &str, before: &str, from_beginning: bool) -> TestHost {
    TestHost::start_with(|config, folder| {
        let path = folder.join(name);
        fs::write(&path, before).expect("a temporary folder can be written");
        config.inputs.files.push(FileInput { from_beginning, ..FileInput::at(path) });
    })
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("a temporary folder can be written");
    file.write_all(text.as_bytes()).expect("a temporary folder can be written");
}

fn bodies(records: &[LogRecord]) -> Vec<&str> {
    let mut records: Vec<_> = records.iter().collect();
    records.sort_by_key(|record| record.seq.parse::<u64>().expect("seqs are numbers"));
    records.iter().map(|record| record.body.as_text().unwrap_or_default()).collect()
}

fn attribute<'a>(record: &'a LogRecord, name: &str) -> Option<&'a Value> {
    let all = record.attributes.iter().chain(&record.resource);
    all.filter(|(key, _)| key == name).map(|(_, value)| value).next()
}

#[tokio::test]
async fn a_file_is_followed_from_its_end() {
    let host = host_following("app.log", "old line\n", false);
    append(&host.path("app.log"), "new line one\nnew line two\nhalf a li");
    append(&host.path("app.log"), "ne\n");
    let records = host.client().records_until(3, &[]).await;
    assert_eq!(bodies(&records), ["new line one", "new line two", "half a line"]);
    assert_eq!(attribute(&records[0], "service.name"), Some(&Value::Text("app".into())));
    assert_eq!(attribute(&records[0], "log.file.path"), Some(&Value::Text(host.path("app.log").display().to_string())));
}

#[tokio::test]
async fn a_file_is_read_from_its_beginning_if_asked_and_only_once() {
    let mut host = host_following("app.log", "one\ntwo\n", true);
    host.client().records_until(2, &[]).await;
    host.restart();
    append(&host.path("app.log"), "three\n");
    let records = host.client().records_until(3, &[]).await;
    assert_eq!(bodies(&records), ["one", "two", "three"]);
}

#[tokio::test]
async fn lines_written_while_the_host_is_down_are_read_after_it_starts() {
    let mut host = host_following("app.log", "", true);
    append(&host.path("app.log"), "one\n");
    host.client().records_until(1, &[]).await;
    // The file changes and is rotated while nobody looks: `restart` stops first, but the order is the same for the offsets.
    append(&host.path("app.log"), "two\n");
    host.restart();
    append(&host.path("app.log"), "three\n");
    assert_eq!(bodies(&host.client().records_until(3, &[]).await), ["one", "two", "three"]);
}

#[tokio::test]
async fn a_file_rotated_by_renaming_loses_no_line_and_doubles_none() {
    let host = host_following("app.log", "", true);
    let path = host.path("app.log");
    let mut expected = Vec::new();
    for round in 0..5 {
        let mut file = OpenOptions::new().append(true).create(true).open(&path).expect("a temporary folder can be written");
        for line in 0..100 {
            writeln!(file, "round {round} line {line}").expect("a temporary folder can be written");
            expected.push(format!("round {round} line {line}"));
        }
        fs::rename(&path, host.path(&format!("app.log.{round}"))).expect("a temporary folder can be written");
        // As `logrotate` with `create`: the writer still holds the old file, and its last line lands there.
        let replacement = File::create(&path).expect("a temporary folder can be written");
        writeln!(file, "round {round} last line").expect("a temporary folder can be written");
        expected.push(format!("round {round} last line"));
        drop(replacement);
        // One rotation after the other: several within one look would need the names of the rotated files.
        host.client().records_until(expected.len(), &[("limit", "1000")]).await;
    }
    assert_eq!(bodies(&host.client().records(&[("limit", "1000")]).await), expected);
}

#[tokio::test]
async fn syslog_prefixes_give_time_host_and_service() {
    let host = host_following("syslog", "", true);
    let now = host.clock().now().to_string();
    append(&host.path("syslog"), &format!("{now} web1 sshd[812]: Accepted publickey for ann\n"));
    let day = as_rfc3164(&now);
    append(&host.path("syslog"), &format!("{day} web2 CRON[99]: (root) CMD (run-parts)\n"));
    let records = host.client().records_until(2, &[]).await;
    let find = |service: &str| {
        let service = Value::Text(service.into());
        records.iter().find(|record| attribute(record, "service.name") == Some(&service)).expect("the service is known")
    };
    let sshd = find("sshd");
    assert_eq!(sshd.body, Value::Text("Accepted publickey for ann".into()));
    assert_eq!(sshd.timestamp, host.clock().now());
    assert_eq!(attribute(sshd, "host.name"), Some(&Value::Text("web1".into())));
    assert_eq!(attribute(sshd, "process.pid"), Some(&Value::Int(812)));
    let cron = find("CRON");
    assert_eq!(cron.body, Value::Text("(root) CMD (run-parts)".into()));
    assert_eq!(attribute(cron, "host.name"), Some(&Value::Text("web2".into())));
}

/// Returns `2026-03-09T08:07:06…` as RFC 3164 writes it: `Mar  9 08:07:06`.
fn as_rfc3164(iso: &str) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number = |range: std::ops::Range<usize>| iso[range].parse::<usize>().expect("RFC 3339 has digits there");
    format!("{} {:>2} {}", MONTHS[number(5..7) - 1], number(8..10), &iso[11..19])
}
