//! A real SMTP server, in Python.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use watchfire::config::Secret;
use watchfire::delivery::types::{Channel, Email, Receiver, SmtpTls};
use watchfire_tasks::python;

use crate::{Lines, eventually};

/// Login of the server that wants one.
const USERNAME: &str = "monitor";
const PASSWORD: &str = "correct horse";

/// `aiosmtpd` in a process of its own. Dropping it ends it.
pub struct SmtpServer {
    child: Child,
    lines: Lines,
    folder: TempDir,
    port: u16,
    tls: bool,
}

/// A mail that the server took.
#[derive(Clone, Debug)]
pub struct Mail(pub Value);

impl Mail {
    /// Returns one of `subject`, `text`, `html`, `from`, `message_id`.
    pub fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }
}

impl SmtpServer {
    /// Starts a server that takes mail only after STARTTLS and a login.
    pub fn start_with_tls() -> Self {
        Self::start(true)
    }

    /// Starts a server that takes mail as it comes.
    pub fn start_plain() -> Self {
        Self::start(false)
    }

    fn start(tls: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let python = python::ensure().unwrap_or_else(|failed| panic!("{failed}"));
        let mut command = Command::new(python);
        command.arg(python::programs().join("smtp_server.py")).args(["--username", USERNAME, "--password", PASSWORD]);
        if tls {
            command.arg("--tls").arg(folder.path());
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python runs");
        let lines = Lines::read(child.stdout.take().expect("it is piped"));
        let port = lines.wait_for("the port of the SMTP server", |line| {
            let value: Value = serde_json::from_str(line).ok()?;
            value["port"].as_u64()?.try_into().ok()
        });
        Self { child, lines, folder, port, tls }
    }

    /// Returns the certificate authority to trust.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Returns its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns receiver `name`, which mails through this server.
    pub fn receiver(&self, name: &str) -> Receiver {
        let login = self.tls.then(|| (USERNAME.to_owned(), Secret::new(PASSWORD)));
        let (username, password) = login.unzip();
        let email = Email {
            smtp_host: "localhost".into(),
            smtp_port: self.port,
            tls: if self.tls { SmtpTls::Starttls } else { SmtpTls::None },
            username,
            password,
            from_email: "watchfire@example.com".into(),
            to_emails: vec!["ops@example.com".into()],
        };
        Receiver { name: name.to_owned(), channel: Channel::Email(email), send_resolved: true }
    }

    /// Returns all mails so far.
    pub fn mails(&self) -> Vec<Mail> {
        let values = self.lines.all().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        values.filter(|value| value.get("subject").is_some()).map(Mail).collect()
    }

    /// Waits until there are `count` mails.
    pub async fn wait_for(&self, count: usize) -> Vec<Mail> {
        eventually(&format!("{count} mails"), async || {
            let mails = self.mails();
            (mails.len() >= count).then_some(mails)
        })
        .await
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    /// Returns what the server says to `commands`, as one text.
    fn say(server: &SmtpServer, commands: &str) -> String {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream.write_all(commands.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn mail_is_taken_only_after_starttls_where_it_is_wanted() {
        let server = SmtpServer::start_with_tls();
        let answer = say(&server, "EHLO me\r\nMAIL FROM:<a@example.com>\r\nQUIT\r\n");
        assert!(answer.contains("STARTTLS") && answer.contains("530"), "{answer}");
        assert!(server.ca_file().is_file());
    }

    #[tokio::test]
    async fn a_plain_server_takes_mail_as_it_comes() {
        let server = SmtpServer::start_plain();
        let mail = "EHLO me\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nSubject: hello\r\n\r\nbody\r\n.\r\nQUIT\r\n";
        say(&server, mail);
        assert_eq!(server.wait_for(1).await[0].text("subject"), "hello");
    }
}
