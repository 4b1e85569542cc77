//! Mail and webhooks over TLS, with certificates of a private authority (`server.ca_file`): nothing goes out in clear.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use watchfire::config::Secret;
use watchfire::delivery::types::{Channel, Email, Receiver, SmtpTls};
use watchfire_tests::{HttpsReceiver, SmtpServer, TestHost, Wire, error_burst_rule, merge, webhook_receiver};

const STEP: Duration = Duration::from_secs(5);

/// Returns a host with receiver `receiver` that trusts the authority in `ca_file`.
async fn host_with(receiver: Receiver, ca_file: Option<PathBuf>) -> TestHost {
    let host = TestHost::start_with(|config, _| {
        config.server.ca_file = ca_file;
        config.alerting.receivers = vec![receiver];
    });
    // The burst outlasts every attempt, however fast the clock moves: what is over before anybody was told is not told.
    let mut rule = error_burst_rule(1);
    merge(&mut rule, json!({"window": "6h"}));
    host.add_rule(&rule).await;
    host.client().ingest(&[json!({"level": "ERROR", "service": "api", "message": "boom"})]).await;
    host
}

fn mail(email: Email) -> Receiver {
    Receiver { name: "mail".into(), channel: Channel::Email(email), send_resolved: true }
}

/// Returns the receiver that mails to `smtp` by way of `wire`.
fn mail_by(wire: &Wire, smtp: &SmtpServer) -> Email {
    Email { smtp_port: wire.port(), ..smtp.email() }
}

/// Waits until the notification has been tried `attempts` times in vain, and returns it: it must still be queued.
async fn still_queued(host: &mut TestHost, attempts: u64) -> Value {
    let queued = host
        .advance_until("a failed attempt", STEP, async || {
            let row = host.client().outbox("queued").await.pop()?;
            (row["attempts"].as_u64()? >= attempts).then_some(row)
        })
        .await;
    host.allow_queued();
    queued
}

async fn delivered(host: &TestHost) -> Value {
    host.advance_until("the receipt", STEP, async || host.client().outbox("delivered").await.pop()).await
}

fn verbs(commands: &[String]) -> Vec<&str> {
    commands.iter().map(|command| command.split(' ').next().unwrap_or_default()).collect()
}

#[tokio::test]
async fn mail_goes_out_by_starttls_and_login() {
    let smtp = SmtpServer::start_with_tls();
    let wire = Wire::to(smtp.port());
    let host = host_with(mail(mail_by(&wire, &smtp)), Some(smtp.ca_file())).await;
    delivered(&host).await;
    let mails = smtp.mails();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].0["tls"] == true && mails[0].0["authenticated"] == true, "{mails:?}");
    assert_eq!(wire.commands_in_clear().iter().map(|said| verbs(said)).collect::<Vec<_>>(), [["EHLO", "STARTTLS"]]);
}

#[tokio::test]
async fn mail_goes_out_by_tls_from_the_first_byte_and_login() {
    let smtp = SmtpServer::start_with_implicit_tls();
    let wire = Wire::to(smtp.port());
    let host = host_with(mail(mail_by(&wire, &smtp)), Some(smtp.ca_file())).await;
    delivered(&host).await;
    let mails = smtp.mails();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].0["tls"] == true && mails[0].0["authenticated"] == true, "{mails:?}");
    assert_eq!(wire.commands_in_clear(), [Vec::<String>::new()]);
}

#[tokio::test]
async fn a_wrong_password_is_said_to_be_one_and_the_mail_waits() {
    for smtp in [SmtpServer::start_with_tls(), SmtpServer::start_with_implicit_tls()] {
        let email = Email { password: Some(Secret::new("battery staple")), ..smtp.email() };
        let mut host = host_with(mail(email), Some(smtp.ca_file())).await;
        let queued = still_queued(&mut host, 1).await;
        assert_eq!(queued["receipts"][0]["outcome"], "credentials", "{queued:#}");
        assert!(queued["last_error"].as_str().is_some_and(|error| error.contains("535")), "{queued:#}");
        assert!(!queued.to_string().contains("battery"), "the password is a secret: {queued:#}");
        let status = host.client().get_json("/api/v1/status").await;
        let parts = status["parts"].as_array().expect("parts are a list");
        let part = parts.iter().find(|part| part["name"] == "receiver mail").expect("each receiver is a part");
        assert_eq!(part["state"], "degraded");
        assert!(part["hint"].as_str().is_some_and(|hint| hint.contains("credentials")), "{part}");
        assert!(smtp.mails().is_empty());
    }
}

#[tokio::test]
async fn a_mail_server_of_another_authority_gets_nothing() {
    let other = SmtpServer::start_with_tls();
    for (smtp, in_clear) in
        [(SmtpServer::start_with_tls(), vec!["EHLO", "STARTTLS"]), (SmtpServer::start_with_implicit_tls(), vec![])]
    {
        let wire = Wire::to(smtp.port());
        let mut host = host_with(mail(mail_by(&wire, &smtp)), Some(other.ca_file())).await;
        let queued = still_queued(&mut host, 2).await;
        let error = queued["last_error"].as_str().unwrap_or_default();
        assert!(error.to_lowercase().contains("certificate"), "says what is wrong: {error}");
        let connections = wire.commands_in_clear();
        assert!(connections.len() >= 2, "{connections:?}");
        // The last one may be in the middle of it.
        assert!(connections.iter().all(|said| in_clear.starts_with(&verbs(said))), "{connections:?}");
        assert!(smtp.mails().is_empty());
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let smtp = SmtpServer::start_with_tls();
    // Our machine as well, but the certificate is for `localhost` and `127.0.0.1`; the wire passes on from either.
    let email = Email { smtp_host: "127.0.0.2".into(), ..smtp.email() };
    let wire = Wire::on([127, 0, 0, 2], smtp.port());
    let mut host = host_with(mail(Email { smtp_port: wire.port(), ..email }), Some(smtp.ca_file())).await;
    let queued = still_queued(&mut host, 1).await;
    let error = queued["last_error"].as_str().unwrap_or_default();
    assert!(error.to_lowercase().contains("certificate"), "says what is wrong: {error}");
    assert!(wire.commands_in_clear().iter().all(|said| ["EHLO", "STARTTLS"].starts_with(&verbs(said))));
    assert!(smtp.mails().is_empty());
}

#[tokio::test]
async fn a_mail_server_without_starttls_gets_nothing_in_clear() {
    let smtp = SmtpServer::start_plain();
    let wire = Wire::to(smtp.port());
    let login = (Some("monitor".to_owned()), Some(Secret::new("correct horse")));
    let email = Email { tls: SmtpTls::Starttls, username: login.0, password: login.1, ..mail_by(&wire, &smtp) };
    let mut host = host_with(mail(email), None).await;
    let queued = still_queued(&mut host, 2).await;
    let error = queued["last_error"].as_str().unwrap_or_default();
    assert!(error.to_lowercase().contains("starttls"), "says what is wrong: {error}");
    for commands in wire.commands_in_clear() {
        assert!(verbs(&commands).iter().all(|verb| ["EHLO", "QUIT"].contains(verb)), "{commands:?}");
    }
    assert!(smtp.mails().is_empty());
}

#[tokio::test]
async fn a_plain_mail_server_where_tls_is_spoken_from_the_first_byte_gets_nothing_in_clear() {
    let smtp = SmtpServer::start_plain();
    let wire = Wire::to(smtp.port());
    let mut host = host_with(mail(Email { tls: SmtpTls::Tls, ..mail_by(&wire, &smtp) }), None).await;
    still_queued(&mut host, 1).await;
    assert!(wire.commands_in_clear().iter().all(Vec::is_empty), "{:?}", wire.commands_in_clear());
    assert!(smtp.mails().is_empty());
}

#[tokio::test]
async fn a_webhook_goes_out_by_https() {
    let receiver = HttpsReceiver::start();
    let host = host_with(webhook_receiver("pager", &receiver.url()), Some(receiver.ca_file())).await;
    delivered(&host).await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 1, "{requests:#?}");
    assert_eq!(requests[0]["path"], "/hook");
    assert!(requests[0]["headers"]["idempotency-key"].is_string(), "{requests:#?}");
    assert!(requests[0]["body"].as_str().is_some_and(|body| body.contains("error burst")), "{requests:#?}");
}

#[tokio::test]
async fn a_webhook_of_another_authority_gets_nothing() {
    let (receiver, other) = (HttpsReceiver::start(), HttpsReceiver::start());
    let mut host = host_with(webhook_receiver("pager", &receiver.url()), Some(other.ca_file())).await;
    let queued = still_queued(&mut host, 2).await;
    let error = queued["last_error"].as_str().unwrap_or_default();
    assert!(error.to_lowercase().contains("certificate"), "says what is wrong: {error}");
    assert!(receiver.requests().is_empty());
}

#[tokio::test]
async fn a_file_of_several_authorities_is_trusted_whole() {
    let (smtp, receiver) = (SmtpServer::start_with_tls(), HttpsReceiver::start());
    let host = TestHost::start_with(|config, folder| {
        let bundle = folder.join("bundle.pem");
        let pem = [receiver.ca_file(), smtp.ca_file()].map(|file| fs::read_to_string(file).expect("the server wrote it"));
        fs::write(&bundle, pem.concat()).expect("a temporary folder can be written");
        config.server.ca_file = Some(bundle);
        config.alerting.receivers = vec![webhook_receiver("pager", &receiver.url()), smtp.receiver("mail")];
    });
    for name in ["pager", "mail"] {
        let answer = host.client().post_json(&format!("/api/v1/receivers/{name}/test"), &json!({})).await.ok().json();
        assert_eq!(answer["delivered"], true, "{answer}");
    }
}
