//! `kill -9` while a file is followed that grows and is rotated: each line is stored, once and in order.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::json;
use watchfire_tests::{Installation, Process, eventually};

use crate::crash_ingest::{ROUNDS_PER_INSTALLATION, rounds};

/// Where the host is killed, and how often it passes there at most before; elsewhere it is killed at any moment.
const POINTS: [(&str, usize); 5] = [
    ("logs.before_commit", 10),
    ("logs.after_commit", 10),
    ("files.after_commit", 10),
    ("logs.before_merge_commit", 1),
    ("logs.after_merge_commit", 1),
];

/// A program that writes its log and rotates it as `logrotate` does with `create`.
struct Program {
    path: PathBuf,
    file: File,
    /// How often the file was rotated.
    rotations: usize,
    /// Lines in the present file.
    in_file: usize,
    lines: Vec<String>,
}

impl Program {
    fn new(path: PathBuf) -> Self {
        let file = File::create(&path).expect("a temporary folder can be written");
        Self { path, file, rotations: 0, in_file: 0, lines: Vec::new() }
    }

    fn write(&mut self, count: usize) {
        for _ in 0..count {
            let line = format!("file {} line {}", self.rotations, self.in_file);
            writeln!(self.file, "{line}").expect("a temporary folder can be written");
            self.lines.push(line);
            self.in_file += 1;
        }
    }

    /// Renames the file and goes on in a new one, which gets a line at once.
    fn rotate(&mut self) {
        fs::rename(&self.path, self.path.with_extension(format!("log.{}", self.rotations))).expect("the folder can be written");
        let new = File::create(&self.path).expect("a temporary folder can be written");
        if fastrand::bool() {
            // The writer is told of it later, and writes a last line to the old one.
            self.write(1);
        }
        (self.file, self.in_file) = (new, 0);
        self.rotations += 1;
        self.write(1);
    }

    /// Begins a line that `finish` must end.
    fn begin_line(&mut self) {
        write!(self.file, "file {} ", self.rotations).expect("a temporary folder can be written");
    }

    fn finish_line(&mut self) {
        writeln!(self.file, "line {}", self.in_file).expect("a temporary folder can be written");
        self.lines.push(format!("file {} line {}", self.rotations, self.in_file));
        self.in_file += 1;
    }
}

/// Returns how many records the host has, or `None` if it has none to ask any more.
async fn records(host: &Process) -> Option<usize> {
    let answer = host.client().try_send(host.client().request(reqwest::Method::GET, "/api/v1/status")).await?;
    Some(answer.ok().json()["logs"]["records"].as_u64()? as usize)
}

#[tokio::test]
async fn lines_of_a_rotated_file_survive_kill_nine_once_and_in_order() {
    let mut left = rounds();
    while left > 0 {
        let now = left.min(ROUNDS_PER_INSTALLATION);
        kill_again_and_again(now).await;
        left -= now;
    }
}

async fn kill_again_and_again(rounds: usize) {
    let mut installation = Installation::new(json!({}));
    let path = installation.path("app.log");
    installation.configure(json!({"inputs": {"files": [{"path": path, "from_beginning": true}]}}));
    let mut program = Program::new(path);
    for round in 0..rounds {
        let point = (round % 2 == 0).then(|| POINTS[fastrand::usize(0..POINTS.len())]);
        let point = point.map_or_else(|| "nowhere".to_owned(), |(name, most)| format!("{name}:{}", fastrand::usize(1..=most)));
        let mut host = installation.spawn(&[("WATCHFIRE_CRASH_AT", &point)]);
        // It may end before it is asked whether it is ready: lines are waiting.
        if host.wait_ready().await.is_some() {
            let until_death = fastrand::usize(1..30);
            let mut looks = 0;
            eventually("the end of the host", async || {
                looks += 1;
                if host.exited().is_some() || (point == "nowhere" && looks > until_death) {
                    return Some(());
                }
                if records(&host).await.is_none() {
                    return Some(());
                }
                // Several rotations may come between two looks of the host.
                if fastrand::u8(..) < 50 {
                    program.rotate();
                }
                program.write(fastrand::usize(1..30));
                None
            })
            .await;
        }
        // Half a line is not a line, whether the host ends or begins.
        program.begin_line();
        host.kill9();
        let mut host = installation.start().await;
        program.finish_line();
        host.kill9();
        for _ in 0..fastrand::usize(0..3) {
            program.rotate();
        }
    }
    let host = installation.start().await;
    eventually("every line is stored", async || (records(&host).await? >= program.lines.len()).then_some(())).await;
    let lines = host.client().get("/api/v1/export/logs").await.ok().json_lines();
    let bodies: Vec<_> = lines.iter().map(|line| line["body"].as_str().unwrap_or_default().to_owned()).collect();
    for rotation in 0..=program.rotations {
        let of_file = |lines: &[String]| {
            let prefix = format!("file {rotation} ");
            lines.iter().filter(|line| line.starts_with(&prefix)).cloned().collect::<Vec<_>>()
        };
        assert_eq!(of_file(&bodies), of_file(&program.lines), "file {rotation} of {}", program.rotations);
    }
    assert_eq!(bodies.len(), program.lines.len());
}
