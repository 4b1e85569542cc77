//! A host outside this process.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Client, Lines, eventually};

/// A running host (or one that has just ended). Dropping it kills it.
pub struct Process {
    child: Child,
    log: Lines,
    address_file: PathBuf,
    client: Option<Client>,
}

impl Process {
    /// Starts `command`, which will write its address to `address_file`.
    pub fn spawn(mut command: Command, address_file: PathBuf) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let log = Lines::read(child.stderr.take().expect("it is piped"));
        Self { child, log, address_file, client: None }
    }

    /// Waits until the host answers; `None` if it ends before that.
    pub async fn wait_ready(&mut self) -> Option<Client> {
        let ready = eventually("the host is ready", async || {
            if self.exited().is_some() {
                return Some(None);
            }
            let address = std::fs::read_to_string(&self.address_file).ok().filter(|text| text.ends_with('\n'))?;
            let client = Client::new(address);
            let answer = client.try_send(client.request(reqwest::Method::GET, "/-/ready")).await?;
            (answer.status == 200).then_some(Some(client))
        });
        self.client = ready.await;
        self.client.clone()
    }

    /// Returns a client of it.
    ///
    /// # Panics
    /// Before [`Self::wait_ready`] has found it ready.
    pub fn client(&self) -> &Client {
        self.client.as_ref().expect("the host was ready once")
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it has said on standard error.
    pub fn log(&self) -> Vec<String> {
        self.log.all()
    }

    /// Returns how it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child can be waited for")
    }

    /// Waits until it has ended.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        eventually("the host ends", async || self.exited()).await
    }

    /// Ends it as a crash would, and waits.
    pub fn kill9(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to read its configuration again (SIGHUP).
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a child's pid is not zero");
        kill_process(pid, signal).expect("our own child can be signalled");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            eprintln!("what the host said:\n{}", self.log().join("\n"));
        }
    }
}
