//! Sends notifications as mail.

use std::time::{Duration, UNIX_EPOCH};

use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::{self};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use minijinja::value::Serde;
use minijinja::{Environment, Value, context};
use parking_lot::Mutex;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use watchfire_types::Timestamp;

use super::channel::Outcome;
use super::egress::{Egress, TOTAL_TIMEOUT};
use super::notification::{Notification, NotifiedAlert, Status};
use super::types::{Email, SmtpTls, is_loopback_host};
use super::{render, retry};
use crate::alerts::annotations::number;

/// Alerts shown one by one in a mail; the rest is counted.
const MAX_SHOWN: usize = 100;
/// Labels shown of one alert, and the longest text shown of a value, in characters: what is sent in must not fill mailboxes.
const MAX_LABELS: usize = 64;
const MAX_TEXT: usize = 4_096;
/// How long a whole conversation may take: each of its steps may take [`TOTAL_TIMEOUT`].
const CONVERSATION_TIMEOUT: Duration = Duration::from_secs(60);

/// The HTML part. Inline styles, because mail clients drop style sheets; colour is never the only sign.
const HTML: &str = r#"<!doctype html>
<html><body style="font-family: sans-serif; color: #222; max-width: 45em">
<h2 style="margin: 0 0 .5em">{{ title }}</h2>
{%- if late %}<p><em>{{ late }}</em></p>{% endif %}
{%- for alert in alerts %}
<div style="border-left: 4px solid {{ alert.color }}; padding: .2em .8em; margin: .8em 0">
<p style="margin: .2em 0"><strong>{{ alert.status }} · {{ alert.level }}</strong> {{ alert.summary }}</p>
{%- if alert.description %}<p style="margin: .2em 0">{{ alert.description }}</p>{% endif %}
<table style="font-size: 90%">
{%- for name, value in alert.rows %}
<tr><td style="color: #666; padding-right: 1em; vertical-align: top">{{ name }}</td><td>{{ value }}</td></tr>
{%- endfor %}
</table>
{%- if alert.runbook %}<p style="margin: .2em 0"><a href="{{ alert.runbook }}">Runbook</a></p>{% endif %}
</div>
{%- endfor %}
{%- if more %}<p>and {{ more }} more</p>{% endif %}
<p style="color: #666; font-size: 80%">Sent by watchfire{% if url %}, <a href="{{ url }}">{{ url }}</a>{% endif %}.</p>
</body></html>
"#;

/// A mailbox, ready to send to.
pub struct EmailChannel {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
    address: String,
    /// What became of a mail that not all recipients took.
    partial: Mutex<Partial>,
}

/// Who is done with one notification, so that trying again does not mail them twice. In memory: a restart may.
#[derive(Clone, Default)]
struct Partial {
    id: String,
    delivered: Vec<Address>,
    /// With what the server said.
    refused: Vec<(Address, String)>,
}

impl EmailChannel {
    /// Returns the channel for `email`.
    ///
    /// # Errors
    /// Says which address or setting is wrong.
    pub fn new(email: &Email, egress: &Egress) -> Result<Self, String> {
        let mailbox = |text: &String| text.parse::<Mailbox>().map_err(|error| format!("`{text}` is not a mail address: {error}"));
        let from = mailbox(&email.from_email)?;
        let to = email.to_emails.iter().map(mailbox).collect::<Result<Vec<_>, _>>()?;
        if to.is_empty() {
            return Err("it has no recipient".to_owned());
        }
        let tls = match email.tls {
            SmtpTls::None if !is_loopback_host(&email.smtp_host) => {
                return Err(format!(
                    "plain SMTP is only spoken to this machine, not to `{}`: use starttls or tls",
                    email.smtp_host
                ));
            }
            SmtpTls::None => Tls::None,
            SmtpTls::Starttls => Tls::Required(tls_parameters(&email.smtp_host, egress)?),
            SmtpTls::Tls => Tls::Wrapper(tls_parameters(&email.smtp_host, egress)?),
        };
        let host = email.smtp_host.trim_matches(['[', ']']);
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(email.smtp_port)
            .tls(tls)
            .timeout(Some(TOTAL_TIMEOUT));
        if let (Some(username), Some(password)) = (&email.username, &email.password) {
            builder = builder.credentials(Credentials::new(username.clone(), password.reveal().to_owned()));
        }
        let address = format!("{}:{}", email.smtp_host, email.smtp_port);
        Ok(Self { transport: builder.build(), from, to, address, partial: Mutex::default() })
    }

    /// Returns server and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends `notification`.
    pub async fn send(&self, notification: &Notification, now: Timestamp) -> Outcome {
        let message = match message(notification, &self.from, &self.to, now) {
            Ok(message) => message,
            Err(reason) => return Outcome::Never { reason },
        };
        match tokio::time::timeout(CONVERSATION_TIMEOUT, self.converse(&notification.id, message)).await {
            Err(_) => Outcome::Retry { after: None, class: "timeout", reason: "the mail server took too long".to_owned() },
            Ok(outcome) => outcome,
        }
    }

    /// Sends to all recipients at once; if the server objects, to each alone, so that one bad address keeps nobody else from knowing.
    async fn converse(&self, id: &str, message: Message) -> Outcome {
        let begun = self.partial.lock().id == id;
        if !begun {
            let error = match self.transport.send_raw(message.envelope(), &message.formatted()).await {
                Ok(response) => return Outcome::Delivered { receipt: receipt(&response).into() },
                Err(error) => error,
            };
            let outcome = judge(&error);
            // What is wrong with the server or with us is wrong for each recipient.
            let about_recipients =
                error.status().is_some() && !matches!(outcome, Outcome::Credentials { .. } | Outcome::Retry { after: Some(_), .. });
            if self.to.len() < 2 || !about_recipients {
                return outcome;
            }
            *self.partial.lock() = Partial { id: id.to_owned(), ..Partial::default() };
        }
        self.each(&message).await
    }

    async fn each(&self, message: &Message) -> Outcome {
        let bytes = message.formatted();
        let mut later = None;
        for recipient in &self.to {
            let to = &recipient.email;
            let done = {
                let partial = self.partial.lock();
                partial.delivered.contains(to) || partial.refused.iter().any(|(refused, _)| refused == to)
            };
            if done {
                continue;
            }
            let envelope = match Envelope::new(Some(self.from.email.clone()), vec![to.clone()]) {
                Ok(envelope) => envelope,
                Err(error) => return Outcome::Never { reason: error.to_string() },
            };
            match self.transport.send_raw(&envelope, &bytes).await.map_err(|error| judge(&error)) {
                Ok(_) => self.partial.lock().delivered.push(to.clone()),
                Err(Outcome::Never { reason }) => self.partial.lock().refused.push((to.clone(), reason)),
                Err(outcome) => later = later.or(Some((to.clone(), outcome))),
            }
        }
        let partial = self.partial.lock().clone();
        let refused = partial.refused.iter().map(|(to, reason)| format!("{to}: {reason}"));
        let refused = refused.collect::<Vec<_>>().join("; ");
        match later {
            Some((to, Outcome::Retry { after, class, reason })) => {
                Outcome::Retry { after, class, reason: render::cut(&format!("{to}: {reason}"), 300) }
            }
            Some((_, outcome)) => outcome,
            None if partial.delivered.is_empty() => Outcome::Never { reason: render::cut(&refused, 300) },
            None if refused.is_empty() => Outcome::Delivered { receipt: "250 taken for each recipient alone".into() },
            None => Outcome::Delivered {
                receipt: render::cut(
                    &format!("taken for {} of {}; refused: {refused}", partial.delivered.len(), self.to.len()),
                    500,
                )
                .into(),
            },
        }
    }
}

fn receipt(response: &smtp::response::Response) -> String {
    let line = response.first_line().unwrap_or("");
    render::cut(&format!("{} {line}", response.code()), 200)
}

fn tls_parameters(host: &str, egress: &Egress) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(host.trim_matches(['[', ']']).to_owned());
    if let Some(pem) = egress.authorities() {
        builder = builder.add_root_certificate(Certificate::from_pem(pem).map_err(|error| error.to_string())?);
    }
    builder.build().map_err(|error| error.to_string())
}

/// Returns what follows from a failed conversation. Codes: RFC 5321, section 4.2; RFC 4954, section 6.
fn judge(error: &smtp::Error) -> Outcome {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let reason = render::cut(&causes.map(ToString::to_string).collect::<Vec<_>>().join(": "), 300);
    let code = error.status().map(u16::from);
    match code {
        // Authentication required, too weak, or failed.
        Some(530 | 534 | 535 | 538) => Outcome::Credentials { reason },
        Some(454) => Outcome::Retry { after: Some(retry::backoff(5, 1.0)), class: "server", reason },
        _ if error.is_permanent() => Outcome::Never { reason },
        _ if error.is_transient() => Outcome::Retry { after: None, class: "server", reason },
        _ if error.is_timeout() => Outcome::Retry { after: None, class: "timeout", reason },
        _ => Outcome::Retry { after: None, class: "network", reason },
    }
}

/// Returns the mail for `notification`. Its id is stable across attempts, and all mails of a group refer to one thread.
fn message(notification: &Notification, from: &Mailbox, to: &[Mailbox], now: Timestamp) -> Result<Message, String> {
    let digest = Sha256::digest(notification.group_key.as_bytes());
    let thread = format!("<group-{}@watchfire>", watchfire_types::log::hex(&digest[..12]));
    let date = UNIX_EPOCH + Duration::from_secs(now.as_millis() / 1000);
    let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    let mut builder = Message::builder()
        .from(from.clone())
        .subject(render::title(notification))
        .date(date)
        .message_id(Some(format!("<{}@watchfire>", notification.id)))
        .in_reply_to(thread.clone())
        .references(thread)
        .raw_header(automatic);
    for recipient in to {
        builder = builder.to(recipient.clone());
    }
    let parts = MultiPart::alternative_plain_html(text(notification, now), html(notification, now)?);
    builder.multipart(parts).map_err(|error| format!("the mail cannot be built: {error}"))
}

/// Returns the plain part.
fn text(notification: &Notification, now: Timestamp) -> String {
    let mut lines = vec![render::title(notification)];
    lines.extend(render::late(notification, now));
    for alert in notification.alerts.iter().take(MAX_SHOWN) {
        lines.push(String::new());
        lines.push(format!("{} {}: {}", alert.status.name().to_uppercase(), alert.level, render::describe(alert)));
        lines.push(format!("  condition: {}", render::cut(&alert.condition, MAX_TEXT)));
        let annotations = alert.annotations.iter().filter(|(name, _)| *name != "summary").take(MAX_LABELS);
        lines.extend(annotations.map(|(name, value)| format!("  {name}: {}", render::cut(value, MAX_TEXT))));
    }
    lines.extend(more(notification).map(|more| format!("\nand {more} more")));
    if !notification.external_url.is_empty() {
        lines.push(format!("\n{}", notification.external_url));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn more(notification: &Notification) -> Option<usize> {
    Some(notification.alerts.len().saturating_sub(MAX_SHOWN) + notification.truncated).filter(|more| *more > 0)
}

#[derive(Serialize)]
struct Shown<'a> {
    status: String,
    color: &'static str,
    level: &'a str,
    summary: String,
    description: Option<String>,
    runbook: Option<&'a String>,
    rows: Vec<(&'a str, String)>,
}

fn shown(alert: &NotifiedAlert) -> Shown<'_> {
    let cut = |text: &String| render::cut(text, MAX_TEXT);
    let mut rows = vec![("condition", cut(&alert.condition))];
    rows.extend(alert.value.map(|value| ("value", number(value))));
    rows.extend(alert.labels.iter().take(MAX_LABELS).map(|(name, value)| (name.as_str(), cut(value))));
    rows.push(("since", render::to_second(alert.starts_at)));
    rows.extend(alert.ends_at.map(|end| ("until", render::to_second(end))));
    Shown {
        status: alert.status.name().to_uppercase(),
        color: if alert.status == Status::Firing { "#c0392b" } else { "#2e8b57" },
        level: &alert.level,
        summary: cut(alert.annotations.get("summary").unwrap_or(&alert.condition)),
        description: alert.annotations.get("description").map(cut),
        // Nothing but a web address becomes a link.
        runbook: alert.annotations.get("runbook_url").filter(|url| url.starts_with("https://") || url.starts_with("http://")),
        rows,
    }
}

/// Returns the HTML part, every value escaped.
fn html(notification: &Notification, now: Timestamp) -> Result<String, String> {
    let context = context! {
        title => render::title(notification),
        late => render::late(notification, now),
        alerts => Value::from(Serde(notification.alerts.iter().take(MAX_SHOWN).map(shown).collect::<Vec<_>>())),
        more => more(notification),
        url => &notification.external_url,
    };
    // The name's ending is what switches escaping on.
    Environment::new().render_named_str("mail.html", HTML, context).map_err(|error| format!("the mail cannot be built: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::render::tests::{resolved, sample};

    fn email(host: &str, tls: SmtpTls) -> Email {
        Email {
            smtp_host: host.into(),
            smtp_port: 25,
            tls,
            username: None,
            password: None,
            from_email: "watchfire <watchfire@example.org>".into(),
            to_emails: vec!["ops@example.org".into(), "运维 <ops2@example.org>".into()],
        }
    }

    fn formatted(notification: &Notification) -> String {
        let boxes = ["a@example.org".parse().unwrap(), "b@example.org".parse().unwrap()];
        let message = message(notification, &boxes[0], &boxes, Timestamp::from_seconds(1_795_000_010)).unwrap();
        String::from_utf8(message.formatted()).unwrap()
    }

    #[test]
    fn plain_smtp_stays_on_this_machine() {
        let egress = Egress::new(None).unwrap();
        assert!(EmailChannel::new(&email("127.0.0.1", SmtpTls::None), &egress).is_ok());
        assert!(EmailChannel::new(&email("mail.example.org", SmtpTls::None), &egress).err().unwrap().contains("this machine"));
        assert!(EmailChannel::new(&email("mail.example.org", SmtpTls::Starttls), &egress).is_ok());
        let bad = Email { to_emails: vec!["nobody".into()], ..email("::1", SmtpTls::None) };
        assert!(EmailChannel::new(&bad, &egress).err().unwrap().contains("`nobody`"));
    }

    #[test]
    fn every_attempt_has_one_id_and_every_group_one_thread() {
        let header = |mail: &str, name: &str| mail.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        let (first, second) = (formatted(&sample()), formatted(&resolved()));
        assert_eq!(header(&first, "Message-ID:"), "Message-ID: <0194-id@watchfire>");
        assert_eq!(header(&first, "References:"), header(&second, "References:"));
        assert!(header(&first, "Subject:").contains("=?utf-8?b?"), "{first}");
    }

    #[test]
    fn html_escapes_what_comes_from_outside() {
        let html = html(&sample(), Timestamp::from_seconds(1_795_000_010)).unwrap();
        assert!(html.contains("CPU at 91.23 % &lt;now&gt;"), "{html}");
        assert!(html.contains("a&lt;b&gt;&amp;c"), "{html}");
        assert!(!html.contains("<now>"));
    }

    #[test]
    fn a_rule_name_cannot_add_headers() {
        let mut notification = sample();
        notification.group_labels.insert("alertname".into(), "x\r\nBcc: evil@example.org".into());
        let mail = formatted(&notification);
        assert!(!mail.split("\r\n\r\n").next().unwrap().contains("\r\nBcc:"), "{mail}");
    }

    #[test]
    fn the_plain_part_reads_alone() {
        insta::assert_snapshot!(text(&resolved(), Timestamp::from_seconds(1_795_001_800)), @"
        [RESOLVED] CPU使用率过高
        delayed by 30 min, in place of 1 earlier

        RESOLVED ERROR: CPU at 91.23 % <now> (value 91.23) host=a<b>&c, was firing 2026-11-18T11:06:40Z .. 2026-11-18T11:35:40Z
          condition: avg(system.cpu_percent) over 5m > 80

        http://127.0.0.1:3473
        ");
    }
}

#[cfg(test)]
#[path = "email_tests.rs"]
mod smtp_tests;
