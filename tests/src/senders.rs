//! Syslog daemons that nobody here wrote, and certificates for them.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use watchfire_tasks::debian::Program;
use watchfire_tasks::python;

/// An authority, and certificates of it for a server on loopback and for a client.
pub struct Certificates(TempDir);

impl Certificates {
    /// Makes new ones.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut command = Command::new(python::ensure().unwrap_or_else(|failed| panic!("{failed}")));
        let status = command.arg(python::programs().join("certificates.py")).arg(folder.path()).status().expect("Python runs");
        assert!(status.success(), "no certificates: {status}");
        Self(folder)
    }

    /// Returns the path of `ca.pem`, `server.pem`, `server.key`, `client.pem` or `client.key`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

/// A daemon that sends what is appended to a file. Dropping it ends it.
pub struct Daemon {
    child: Child,
    folder: TempDir,
}

impl Daemon {
    /// Starts rsyslog with an action, in the words of its configuration, for every line of its file.
    pub fn rsyslog(program: &Program, global: &str, action: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let at = |name: &str| folder.path().join(name).display().to_string();
        let configuration = format!(
            "global(workDirectory=\"{}\" {global})\nmodule(load=\"imfile\" mode=\"inotify\")\n\
             input(type=\"imfile\" file=\"{}\" tag=\"shop[42]:\" severity=\"warning\" facility=\"local3\")\n{action}\n",
            folder.path().display(),
            at("input.log"),
        );
        let mut command = program.command();
        if let Some(modules) = program.folder("usr/lib/ARCH/rsyslog") {
            command.arg("-M").arg(modules);
        }
        command.args(["-n", "-C", "-f", &at("daemon.conf"), "-i", &at("daemon.pid")]);
        Self::start(command, folder, &configuration)
    }

    /// Starts syslog-ng with a source and a destination, in the words of its configuration; `FILE` stands for its file.
    pub fn syslog_ng(program: &Program, source: &str, destination: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let at = |name: &str| folder.path().join(name).display().to_string();
        let configuration = format!(
            "@version: 3.35\noptions {{ keep-hostname(yes); use-dns(no); }};\nsource s {{ {} }};\ndestination d {{ {destination} }};\n\
             log {{ source(s); destination(d); }};\n",
            source.replace("FILE", &format!("\"{}\"", at("input.log"))),
        );
        let mut command = program.command();
        if let Some(modules) = program.folder("usr/lib/syslog-ng/3*").or_else(|| program.folder("usr/lib/syslog-ng/4*")) {
            command.arg("--module-path").arg(modules);
        }
        command.args([
            "-F",
            "--no-caps",
            "-f",
            &at("daemon.conf"),
            "-R",
            &at("persist"),
            "-p",
            &at("daemon.pid"),
            "-c",
            &at("control"),
        ]);
        Self::start(command, folder, &configuration)
    }

    fn start(mut command: Command, folder: TempDir, configuration: &str) -> Self {
        fs::write(folder.path().join("daemon.conf"), configuration).expect("the folder can be written");
        fs::write(folder.path().join("input.log"), "").expect("the folder can be written");
        let said = File::create(folder.path().join("said")).expect("the folder can be written");
        let twin = said.try_clone().expect("a file can be opened twice");
        let child = command.stdin(Stdio::null()).stdout(twin).stderr(said).spawn().expect("the daemon runs");
        Self { child, folder }
    }

    /// Appends lines to the file that it reads.
    pub fn write(&self, lines: impl IntoIterator<Item = String>) {
        let mut file = OpenOptions::new().append(true).open(self.path("input.log")).expect("the file is there");
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        file.write_all(text.as_bytes()).expect("the file can be written");
    }

    /// Returns what it has said.
    pub fn said(&self) -> String {
        fs::read_to_string(self.path("said")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the daemon said: {}", self.said());
        }
    }
}

/// Runs util-linux's `logger` towards `to`.
pub fn logger(to: SocketAddr, arguments: &[&str]) {
    let (host, port) = (to.ip().to_string(), to.port().to_string());
    let status = Command::new("logger").args(["-n", &host, "-P", &port]).args(arguments).status().expect("util-linux is there");
    assert!(status.success(), "logger ends with {status}");
}

/// Logs `count` messages through Python's handler.
pub fn python_handler(to: SocketAddr, transport: &str, count: usize) {
    let program: &Path = &python::programs().join("syslog_handler.py");
    let mut command = Command::new(python::ensure().unwrap_or_else(|failed| panic!("{failed}")));
    command.arg(program).args([&to.ip().to_string(), &to.port().to_string(), transport, &count.to_string()]);
    let status = command.status().expect("Python runs");
    assert!(status.success(), "Python ends with {status}");
}
