//! A host beside the service, for a first look.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How long a host may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running host; it ends with this value, and its data with it.
#[derive(Debug)]
pub(crate) struct Host {
    child: Child,
    /// Where it listens.
    pub(crate) url: String,
    _data: tempfile::TempDir,
}

/// Starts `binary` with data of its own.
pub(crate) fn start(binary: &Path) -> anyhow::Result<Host> {
    let data = tempfile::tempdir()?;
    // A host writes there where it listens.
    let address = data.path().join("data/address");
    let configuration = serde_json::json!({
        "server": { "listen": "127.0.0.1:0", "otlp_listen": "", "otlp_grpc_listen": "" },
        "storage": { "data_dir": data.path().join("data") },
        "alerting": { "evaluation_interval": 5 },
    });
    let file = data.path().join("config.json");
    std::fs::write(&file, configuration.to_string())?;
    let mut child = Command::new(binary)
        .arg("start")
        .arg("--config")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| {
            format!("cannot start `{}`: give its path, as in `--with-host target/release/watchfire`", binary.display())
        })?;
    let begin = Instant::now();
    loop {
        if let Some(url) = std::fs::read_to_string(&address).ok().filter(|text| text.ends_with('\n')) {
            let url = url.trim().to_owned();
            println!("the host is at {url}: open it in a browser, or ask it with `watchfire status --url {url}`");
            return Ok(Host { child, url, _data: data });
        }
        if let Some(status) = child.try_wait()? {
            bail!("the host ended at once ({status}): try `{} check --config {}`", binary.display(), file.display());
        }
        if begin.elapsed() > PATIENCE {
            let _ = child.kill();
            bail!("the host did not say within {PATIENCE:?} where it listens");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
