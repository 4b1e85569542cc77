//! journald's own programs: what they upload, and what is followed in files that they write.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::json;
use watchfire::clock::Clock;
use watchfire::config::JournaldInput;
use watchfire_tasks::debian;
use watchfire_tests::{Installation, Process, TestHost, eventually};

use crate::crash_ingest::rounds;

/// A folder of journal files that `systemd-journal-remote` writes.
struct Journal {
    writer: Child,
    folder: PathBuf,
    boot: u8,
    written: u64,
}

impl Journal {
    /// Returns a journal in `folder`, or `None` if there are no programs for it, which has been said then.
    fn in_folder(folder: PathBuf) -> Option<Self> {
        if !std::process::Command::new("journalctl").arg("--version").output().is_ok_and(|output| output.status.success()) {
            assert!(!watchfire_tasks::is_ci(), "there is no journalctl");
            watchfire_tasks::loudly("skipped: there is no journalctl");
            return None;
        }
        fs::create_dir_all(&folder).expect("a temporary folder can be made");
        let mut command = debian::program("systemd-journal-remote")?.command();
        command
            .arg("--output")
            .arg(folder.join("test.journal"))
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Some(Self { writer: command.spawn().expect("it is there"), folder, boot: 1, written: 0 })
    }

    /// Writes `count` numbered entries.
    fn write(&mut self, count: u64) {
        let stdin = self.writer.stdin.as_mut().expect("it is piped");
        for _ in 0..count {
            let now = Clock::system().now().as_nanos() / 1000;
            let number = self.written;
            let mut entry = format!(
                "__REALTIME_TIMESTAMP={now}\n__MONOTONIC_TIMESTAMP={number}\n_BOOT_ID={:032x}\n_MACHINE_ID={:032x}\n_HOSTNAME=web-1\n\
                 PRIORITY={}\nSYSLOG_IDENTIFIER=app\n_PID=77\nNUMBER={number}\n",
                self.boot,
                7,
                number % 8
            )
            .into_bytes();
            if number % 5 == 4 {
                let value = format!("two\nlines {number}").into_bytes();
                entry.extend([&b"MESSAGE\n"[..], &(value.len() as u64).to_le_bytes(), &value, b"\n\n"].concat());
            } else {
                entry.extend(format!("MESSAGE=line {number}\n\n").bytes());
            }
            stdin.write_all(&entry).expect("the journal takes it");
            self.written += 1;
        }
        stdin.flush().expect("the journal takes it");
    }

    /// What follows is of another boot.
    fn reboot(&mut self) {
        self.boot += 1;
    }

    /// Waits until all that was written is in the files.
    async fn settle(&self) {
        eventually("the journal is written", async || {
            let mut command = std::process::Command::new("journalctl");
            command.args(["--output=cat", "--output-fields=NUMBER", "--no-pager", "--merge", "--directory"]).arg(&self.folder);
            let output = command.output().expect("journalctl runs");
            (String::from_utf8_lossy(&output.stdout).lines().count() as u64 >= self.written).then_some(())
        })
        .await;
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.writer.kill();
        let _ = self.writer.wait();
    }
}

/// Asserts that `lines`, a whole export, are the entries from 0 to `count`, each once and in order.
fn check(lines: &[serde_json::Value], count: u64, round: usize) {
    let numbers: Vec<u64> = lines
        .iter()
        .map(|line| line["attributes"]["NUMBER"].as_str().and_then(|number| number.parse().ok()).expect("numbered"))
        .collect();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "round {round}");
    for (number, line) in lines.iter().enumerate() {
        let expected = if number % 5 == 4 { format!("two\nlines {number}") } else { format!("line {number}") };
        assert_eq!(line["body"], expected);
        assert_eq!((&line["resource"]["service.name"], &line["attributes"]["process.pid"]), (&json!("app"), &json!(77)));
    }
}

#[tokio::test]
async fn a_journal_is_followed_across_restarts_and_reboots() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let Some(mut journal) = Journal::in_folder(folder.path().join("journal")) else { return };
    journal.write(10);
    journal.settle().await;
    let directory = Some(journal.folder.clone());
    let mut host = TestHost::start_with(|config, _| {
        config.inputs.journald = Some(JournaldInput { directory, from_beginning: true, ..JournaldInput::default() });
    });
    host.client().records_until(10, &[("service", "app")]).await;
    journal.write(20);
    host.client().records_until(30, &[("service", "app"), ("limit", "100")]).await;
    host.restart();
    journal.write(5);
    journal.reboot();
    journal.write(5);
    host.client().records_until(40, &[("service", "app"), ("limit", "100")]).await;
    check(&host.client().get("/api/v1/export/logs").await.ok().json_lines(), 40, 0);
    let record = &host.client().records(&[("service", "app"), ("level", "error"), ("limit", "100")]).await[0];
    assert!(record.resource.contains(&("host.name".to_owned(), "web-1".into())), "{record:?}");
}

#[tokio::test]
async fn a_journal_that_is_new_is_read_from_its_end_and_nothing_after_that_is_missed() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let Some(mut journal) = Journal::in_folder(folder.path().join("journal")) else { return };
    journal.write(10);
    journal.settle().await;
    let directory = Some(journal.folder.clone());
    let mut host = TestHost::start_with(|config, _| {
        config.inputs.journald = Some(JournaldInput { directory, ..JournaldInput::default() });
    });
    eventually("the journal is followed", async || {
        let status = host.client().get_json("/api/v1/status").await;
        let parts = status["parts"].as_array().cloned().unwrap_or_default();
        parts.iter().any(|part| part["name"] == "inputs journald" && part["detail"] == "0 entries read").then_some(())
    })
    .await;
    // Written while nobody listens.
    host.restart();
    journal.write(3);
    let records = host.client().records_until(3, &[("service", "app")]).await;
    assert_eq!(records[2].body.as_text(), Some("line 10"));
}

#[tokio::test]
async fn entries_of_a_journal_survive_kill_nine_once_and_in_order() {
    const POINTS: [&str; 4] = ["journald.after_commit", "logs.before_commit", "logs.after_commit", "nowhere"];
    let mut installation = Installation::new(json!({}));
    let folder = installation.path("journal");
    let Some(mut journal) = Journal::in_folder(folder.clone()) else { return };
    installation.configure(json!({"inputs": {"journald": {"directory": folder, "from_beginning": true}}}));
    for round in 0..rounds() {
        let point = format!("{}:{}", POINTS[round % POINTS.len()], fastrand::usize(1..6));
        let mut host = installation.spawn(&[("WATCHFIRE_CRASH_AT", &point)]);
        if host.wait_ready().await.is_some() {
            let mut looks = 0;
            let until_death = fastrand::usize(1..20);
            eventually("the end of the host", async || {
                looks += 1;
                if host.exited().is_some() || (point.starts_with("nowhere") && looks > until_death) {
                    return Some(());
                }
                journal.write(fastrand::u64(1..30));
                None
            })
            .await;
        }
        host.kill9();
        journal.write(fastrand::u64(0..5));
    }
    let host = installation.start().await;
    eventually("every entry is stored", async || (records(&host).await? >= journal.written).then_some(())).await;
    check(&host.client().get("/api/v1/export/logs").await.ok().json_lines(), journal.written, rounds());
}

async fn records(host: &Process) -> Option<u64> {
    let answer = host.client().try_send(host.client().request(reqwest::Method::GET, "/api/v1/status")).await?;
    answer.ok().json()["logs"]["records"].as_u64()
}

/// Runs the real uploader over all of a folder.
fn upload(folder: &Path, url: &str) -> Option<bool> {
    let mut command = debian::program("systemd-journal-upload")?.command();
    command.args(["--url", url, "--follow=no", "--directory"]).arg(folder);
    let output = command.output().expect("it is there");
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Some(output.status.success())
}

#[tokio::test]
async fn what_systemd_journal_upload_sends_is_stored() {
    let host = TestHost::start();
    let Some(mut journal) = Journal::in_folder(host.path("journal")) else { return };
    journal.write(1000);
    journal.settle().await;
    let Some(uploaded) = upload(&journal.folder, host.client().url()) else { return };
    assert!(uploaded);
    check(&host.client().get("/api/v1/export/logs").await.ok().json_lines(), 1000, 0);
    let answer = host.client().post("/upload", "text/plain", "MESSAGE=x\n\n").await;
    assert_eq!(answer.status, 415);
    let answer = host.client().post("/upload", "application/vnd.fdo.journal", "MESSAGE=kept\n\nno field\n").await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    host.client().records_until(1, &[("q", "kept")]).await;
}
