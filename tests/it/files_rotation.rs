//! Files that logrotate rotates while a program writes them and the host follows them.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use watchfire::config::FileInput;
use watchfire_tasks::debian::{self, Program};
use watchfire_tests::TestHost;
use watchfire_types::LogRecord;

/// Rounds of writing and rotating.
const ROUNDS: usize = 8;
/// Lines of a round.
const LINES: usize = 200;

fn follow_all(folder: &Path) -> FileInput {
    FileInput { from_beginning: true, exclude: vec!["*.gz".to_owned()], ..FileInput::at(folder.join("logs/*.log")) }
}

/// Runs logrotate once, as cron does.
fn rotate(logrotate: &Program, folder: &Path, mode: &str) {
    let logs = folder.join("logs");
    let text = format!("{}/app.log {{\n  rotate 20\n  {mode}\n  missingok\n  su root root\n}}\n", logs.display());
    let configuration = folder.join("logrotate.conf");
    fs::write(&configuration, text).expect("a temporary folder can be written");
    let mut permissions = fs::metadata(&configuration).expect("it was just written").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    fs::set_permissions(&configuration, permissions).expect("it is ours");
    let mut command = logrotate.command();
    let output =
        command.arg("--force").arg("--state").arg(folder.join("state")).arg(&configuration).output().expect("logrotate runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn bodies(records: &[LogRecord]) -> Vec<String> {
    let mut bodies: Vec<String> = records.iter().map(|record| record.body.as_text().unwrap_or_default().to_owned()).collect();
    bodies.sort();
    bodies
}

/// Writes, rotates, and looks at what arrives. `seen` says whether each rotation waits until the host has all lines before it.
async fn rotated(mode: &str, reopens: bool, seen: bool) {
    let Some(logrotate) = debian::program("logrotate") else { return };
    let host = TestHost::start_with(|config, folder| {
        fs::create_dir(folder.join("logs")).expect("a temporary folder can be written");
        config.inputs.files.push(follow_all(folder));
    });
    let path = host.path("logs/app.log");
    let open = || OpenOptions::new().create(true).append(true).open(&path).expect("a temporary folder can be written");
    let mut file: File = open();
    let mut written = Vec::new();
    for round in 0..ROUNDS {
        for number in 0..LINES {
            let line = format!("{mode} round {round:02} line {number:04} of a program that goes on writing");
            writeln!(file, "{line}").expect("it is open");
            written.push(line);
        }
        // The first file has to be known: what was rotated away before the host saw anything is nobody's next file.
        if seen || round == 0 {
            host.client().records_until(written.len(), &[("limit", "10000")]).await;
        }
        rotate(&logrotate, path.parent().and_then(Path::parent).expect("it lies in a folder"), mode);
        if reopens {
            // The writer is told a little later: its last line goes into the file of before.
            let line = format!("{mode} round {round:02} late");
            writeln!(file, "{line}").expect("it is open");
            written.push(line);
            file = open();
        }
    }
    let line = format!("{mode} the end");
    writeln!(file, "{line}").expect("it is open");
    written.push(line);
    let records = host.client().records_until(written.len(), &[("limit", "10000")]).await;
    written.sort();
    assert_eq!(bodies(&records), written);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_logrotate_renames_are_read_to_the_last_line() {
    rotated("create", true, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_rotations_that_the_host_does_not_see_lose_nothing() {
    rotated("create", true, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_logrotate_copies_and_truncates_are_read_once() {
    rotated("copytruncate", false, true).await;
}
