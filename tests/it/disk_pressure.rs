//! A real small disk fills up: what matters least is left out first, it is said and told, nothing acknowledged is lost, and it ends.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use watchfire_tests::{Answer, Client, Installation, WebhookReceiver, eventually};

const MIB: u64 = 1 << 20;

/// A file system in memory, taken away when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of `bytes` at `path`; `None` where that is not allowed, which no test run for others may be.
    fn mount(path: &Path, bytes: u64) -> Option<Self> {
        std::fs::create_dir_all(path).expect("a temporary folder can be written");
        let options = format!("size={bytes},mode=700");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).output();
        if done.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self(path.to_owned()));
        }
        assert!(std::env::var_os("CI").is_none(), "cannot mount a small file system, which this needs: {done:?}");
        eprintln!("SKIPPED: cannot mount a small file system (that takes root): {done:?}");
        None
    }

    fn free(&self) -> u64 {
        let output = Command::new("df").args(["--output=avail", "-B1"]).arg(&self.0).output().expect("df runs");
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().last().and_then(|line| line.trim().parse().ok()).expect("df prints a number")
    }

    /// Fills it with a file of somebody else until `free` bytes are left.
    fn leave(&self, free: u64) {
        let mut file =
            std::fs::OpenOptions::new().append(true).create(true).open(self.0.join("foreign")).expect("it can be opened");
        let excess = self.free().saturating_sub(free);
        file.write_all(&vec![7; excess as usize]).expect("there is room");
    }

    fn clear(&self) {
        std::fs::remove_file(self.0.join("foreign")).expect("it is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the host may still be on its way out.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// What was sent and acknowledged.
#[derive(Default)]
struct Sender {
    next: u64,
    stored: Vec<u64>,
}

impl Sender {
    async fn send(&mut self, client: &Client, level: &str) -> Answer {
        self.next += 1;
        let line = json!({"service": "app", "level": level, "message": "numbered", "number": self.next}).to_string();
        let answer = client.post("/api/v1/logs", "application/x-ndjson", line).await;
        if answer.status == 200 && answer.json()["rejected"] == 0 {
            self.stored.push(self.next);
        }
        answer
    }

    /// Returns whether a record of `level` is stored, left out, or refused.
    async fn fate(&mut self, client: &Client, level: &str) -> &'static str {
        let answer = self.send(client, level).await;
        match answer.status {
            200 if answer.json()["rejected"] == 0 => "stored",
            200 => {
                assert!(answer.json().to_string().contains("little room"), "{answer:?}");
                "left out"
            }
            503 => {
                assert!(!answer.header("retry-after").is_empty());
                "refused"
            }
            other => panic!("{other}: {answer:?}"),
        }
    }

    async fn fates(&mut self, client: &Client) -> [&'static str; 4] {
        let mut fates = [""; 4];
        for (fate, level) in fates.iter_mut().zip(["debug", "info", "warn", "error"]) {
            *fate = self.fate(client, level).await;
        }
        fates
    }

    async fn check(&self, client: &Client) {
        let exported = client.get("/api/v1/export/logs").await.ok().json_lines();
        let numbers: Vec<u64> = exported.iter().filter_map(|record| record["attributes"]["number"].as_u64()).collect();
        assert_eq!(numbers, self.stored, "what is stored is what was acknowledged");
    }
}

async fn storage(client: &Client) -> Value {
    let status = client.get("/api/v1/status").await.json();
    let parts = status["parts"].as_array().cloned().unwrap_or_default();
    parts.into_iter().find(|part| part["name"] == "storage").unwrap_or_default()
}

#[tokio::test]
async fn a_disk_that_fills_up_sheds_by_level_tells_and_recovers() {
    let pager = WebhookReceiver::start();
    let installation = Installation::new(json!({
        "storage": {"shed_debug_below_bytes": 12 * MIB, "shed_info_below_bytes": 6 * MIB, "refuse_below_bytes": MIB},
        "alerting": {
            "starter_rules": true, "group_wait": "0s", "group_interval": "1s", "cooldown": 0,
            "receivers": [{"name": "pager", "webhook": {"url": pager.url(), "body": "json"}}],
        },
    }));
    let Some(disk) = SmallDisk::mount(&installation.data(), 120 * MIB) else { return };
    let mut host = installation.start().await;
    let client = host.client().clone();
    let mut sender = Sender::default();
    assert_eq!(sender.fates(&client).await, ["stored"; 4]);

    disk.leave(9 * MIB);
    eventually("debug records are left out", async || (sender.fate(&client, "debug").await == "left out").then_some(())).await;
    assert_eq!(sender.fates(&client).await, ["left out", "stored", "stored", "stored"]);
    eventually("the alert has been delivered", async || (!pager.accepted("firing").is_empty()).then_some(())).await;
    assert!(!client.alerts("logs-shed", "firing").await.is_empty());
    let shown = installation.run_against(&host, &["alerts"]).expect(0).stdout;
    assert!(shown.contains("logs-shed"), "{shown}");
    let part = storage(&client).await;
    assert_eq!(part["state"], "degraded", "{part}");
    assert!(part["detail"].as_str().is_some_and(|text| text.contains("debug and trace records are not stored")), "{part}");

    disk.leave(4 * MIB);
    eventually("info records are left out", async || (sender.fate(&client, "info").await == "left out").then_some(())).await;
    assert_eq!(sender.fates(&client).await, ["left out", "left out", "stored", "stored"]);

    disk.leave(600 << 10);
    eventually("records are refused", async || (sender.fate(&client, "error").await == "refused").then_some(())).await;
    assert_eq!(sender.fates(&client).await, ["refused"; 4]);
    sender.check(&client).await;

    disk.clear();
    eventually("all is stored again", async || (sender.fate(&client, "debug").await == "stored").then_some(())).await;
    assert_eq!(sender.fates(&client).await, ["stored"; 4]);
    eventually("it has been told that it is over", async || (!pager.accepted("resolved").is_empty()).then_some(())).await;
    assert_eq!(storage(&client).await["state"], "ok");
    let metrics = client.get("/metrics").await.ok().body;
    for line in ["watchfire_storage_state 0", r#"watchfire_log_records_shed_total{level="debug"}"#] {
        assert!(metrics.contains(line), "{metrics}");
    }
    sender.check(&client).await;
    host.kill9();
    let host = installation.start().await;
    sender.check(host.client()).await;
}
