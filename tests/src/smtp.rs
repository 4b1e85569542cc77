//! A real SMTP server, in Python.

use std::path::PathBuf;

use serde_json::Value;
use watchfire::config::Secret;
use watchfire::delivery::types::{Channel, Email, Receiver, SmtpTls};

use crate::eventually;
use crate::python_server::PythonServer;

/// Login of the server that wants one.
const USERNAME: &str = "monitor";
const PASSWORD: &str = "correct horse";

/// `aiosmtpd` in a process of its own. Dropping it ends it.
pub struct SmtpServer {
    server: PythonServer,
    tls: SmtpTls,
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
        Self::start(SmtpTls::Starttls)
    }

    /// Starts a server that speaks TLS from the first byte and takes mail only after a login.
    pub fn start_with_implicit_tls() -> Self {
        Self::start(SmtpTls::Tls)
    }

    /// Starts a server that takes mail as it comes and knows no STARTTLS.
    pub fn start_plain() -> Self {
        Self::start(SmtpTls::None)
    }

    fn start(tls: SmtpTls) -> Self {
        let mut arguments = vec!["--username", USERNAME, "--password", PASSWORD];
        arguments.extend((tls == SmtpTls::Tls).then_some("--implicit"));
        Self { server: PythonServer::start("smtp_server.py", tls != SmtpTls::None, &arguments), tls }
    }

    /// Returns the certificate authority to trust.
    pub fn ca_file(&self) -> PathBuf {
        self.server.ca_file()
    }

    /// Returns its port.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Returns how mail is sent through this server, with the right login if it wants one.
    pub fn email(&self) -> Email {
        let login = (self.tls != SmtpTls::None).then(|| (USERNAME.to_owned(), Secret::new(PASSWORD)));
        let (username, password) = login.unzip();
        Email {
            smtp_host: "localhost".into(),
            smtp_port: self.port(),
            tls: self.tls,
            username,
            password,
            from_email: "watchfire@example.com".into(),
            to_emails: vec!["ops@example.com".into()],
        }
    }

    /// Returns receiver `name`, which mails through this server.
    pub fn receiver(&self, name: &str) -> Receiver {
        Receiver { name: name.to_owned(), channel: Channel::Email(self.email()), send_resolved: true }
    }

    /// Returns all mails so far.
    pub fn mails(&self) -> Vec<Mail> {
        self.server.arrived().into_iter().map(Mail).collect()
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
