//! Cases for mail against a small SMTP server on loopback.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::*;
use crate::config::Secret;
use crate::delivery::render::tests::sample;

/// Serves one conversation: `refuse` is a command and the answer it gets instead of the usual one. Returns the mail it took.
async fn serve(listener: TcpListener, refuse: (&'static str, &'static str)) -> String {
    let (stream, _) = listener.accept().await.unwrap();
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    writer.write_all(b"220 test\r\n").await.unwrap();
    let (mut mail, mut in_mail) = (String::new(), false);
    while let Ok(Some(line)) = lines.next_line().await {
        if in_mail && line != "." {
            mail.push_str(&line);
            mail.push('\n');
            continue;
        }
        let command = line.split(' ').next().unwrap_or_default().to_uppercase();
        let usual = match command.as_str() {
            "EHLO" => "250-test\r\n250 AUTH PLAIN LOGIN",
            "AUTH" => "235 welcome",
            "DATA" => "354 go on",
            "QUIT" => "221 bye",
            _ => "250 fine",
        };
        in_mail = command == "DATA" && refuse.0 != "DATA";
        let answer = if command == refuse.0 { refuse.1 } else { usual };
        if writer.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() || command == "QUIT" {
            break;
        }
    }
    mail
}

async fn send(refuse: (&'static str, &'static str)) -> (Outcome, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let email = Email {
        smtp_host: "127.0.0.1".into(),
        smtp_port: listener.local_addr().unwrap().port(),
        tls: SmtpTls::None,
        username: Some("watchfire".into()),
        password: Some(Secret::new("hush")),
        from_email: "watchfire@example.org".into(),
        to_emails: vec!["ops@example.org".into()],
    };
    let server = tokio::spawn(serve(listener, refuse));
    let channel = EmailChannel::new(&email, &Egress::new(None).unwrap()).unwrap();
    let outcome = channel.send(&sample(), Timestamp::from_seconds(1_795_000_010)).await;
    (outcome, server.await.unwrap())
}

#[tokio::test]
async fn a_mail_arrives_with_both_parts() {
    let (outcome, mail) = send(("", "")).await;
    assert_eq!(outcome, Outcome::Delivered { receipt: "250 fine".into() });
    assert!(mail.contains("Message-ID: <0194-id@watchfire>") && mail.contains("Auto-Submitted: auto-generated"), "{mail}");
    assert!(mail.contains("text/plain; charset=utf-8") && mail.contains("text/html; charset=utf-8"), "{mail}");
}

#[tokio::test]
async fn an_smtp_answer_says_what_follows() {
    let name = |outcome: &Outcome| match outcome {
        Outcome::Delivered { .. } => "delivered",
        Outcome::Retry { class, .. } => class,
        Outcome::Credentials { .. } => "credentials",
        Outcome::Never { .. } => "never",
        Outcome::Paced { .. } | Outcome::Unclaimed { .. } => "paced",
    };
    for (command, answer, expected) in [
        ("AUTH", "535 5.7.8 no", "credentials"),
        ("AUTH", "454 4.7.0 later", "server"),
        ("MAIL", "530 5.7.0 log in first", "credentials"),
        ("RCPT", "550 5.1.1 nobody", "never"),
        ("RCPT", "451 4.7.1 greylisted", "server"),
        ("DATA", "452 full", "server"),
        (".", "554 spam", "never"),
        (".", "421 closing", "server"),
    ] {
        let (outcome, _) = send((command, answer)).await;
        assert_eq!(name(&outcome), expected, "{command}: {answer}: {outcome:?}");
        assert!(!format!("{outcome:?}").contains("hush"));
    }
}

/// Serves conversations for ever. `refuse` has what each address is answered; the addresses whose mail was taken are sent.
async fn serve_all(listener: TcpListener, refuse: Arc<Mutex<Vec<(&'static str, &'static str)>>>, taken: Arc<Mutex<Vec<String>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        let _ = writer.write_all(b"220 test\r\n").await;
        let (mut to, mut in_mail) = (Vec::new(), false);
        while let Ok(Some(line)) = lines.next_line().await {
            let mut answer = "250 fine";
            match line.split(' ').next().unwrap_or_default() {
                "." => {
                    in_mail = false;
                    taken.lock().append(&mut to);
                }
                _ if in_mail => continue,
                "DATA" => (in_mail, answer) = (true, "354 go on"),
                "RCPT" => {
                    let known = refuse.lock().iter().find(|(address, _)| line.contains(address)).map(|(_, answer)| *answer);
                    answer = known.unwrap_or(answer);
                    if known.is_none() {
                        to.push(line.split(['<', '>']).nth(1).unwrap().to_owned());
                    }
                }
                _ => {}
            }
            if writer.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() || line == "QUIT" {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_recipient_that_is_refused_keeps_nobody_else_from_knowing_and_nobody_is_told_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let email = Email {
        smtp_host: "127.0.0.1".into(),
        smtp_port: listener.local_addr().unwrap().port(),
        tls: SmtpTls::None,
        username: None,
        password: None,
        from_email: "watchfire@example.org".into(),
        to_emails: ["gone@example.org", "full@example.org", "ops@example.org"].map(str::to_owned).to_vec(),
    };
    let refuse = Arc::new(Mutex::new(vec![("gone", "550 5.1.1 nobody"), ("full", "452 4.2.2 full")]));
    let taken = Arc::new(Mutex::new(Vec::new()));
    let server = tokio::spawn(serve_all(listener, Arc::clone(&refuse), Arc::clone(&taken)));
    let channel = EmailChannel::new(&email, &Egress::new(None).unwrap()).unwrap();
    let now = Timestamp::from_seconds(1_795_000_010);
    let outcome = channel.send(&sample(), now).await;
    assert!(matches!(&outcome, Outcome::Retry { reason, .. } if reason.starts_with("full@example.org: ")), "{outcome:?}");
    assert_eq!(*taken.lock(), ["ops@example.org"]);
    refuse.lock().pop();
    let outcome = channel.send(&sample(), now).await;
    let Outcome::Delivered { receipt } = outcome else { panic!("{outcome:?}") };
    let receipt = receipt.text;
    assert!(receipt.starts_with("taken for 2 of 3; refused: gone@example.org: ") && receipt.contains("nobody"), "{receipt}");
    assert_eq!(*taken.lock(), ["ops@example.org", "full@example.org"]);
    server.abort();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let email = Email {
        smtp_host: "localhost".into(),
        smtp_port: port,
        tls: SmtpTls::Starttls,
        username: None,
        password: None,
        from_email: "watchfire@example.org".into(),
        to_emails: vec!["ops@example.org".into()],
    };
    let channel = EmailChannel::new(&email, &Egress::new(None).unwrap()).unwrap();
    let outcome = channel.send(&sample(), Timestamp::from_seconds(1_795_000_010)).await;
    assert!(matches!(outcome, Outcome::Retry { class: "network", .. }), "{outcome:?}");
}
