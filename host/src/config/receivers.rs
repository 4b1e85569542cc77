//! Receivers: `notifications.email`, `notifications.webhook`, and the list of further ones.

use lettre::message::Mailbox;

use super::Secret;
use super::check::Checker;
use super::raw::{RawComponent, RawEmail, RawNotifications, RawReceiver, RawWebhook};
use super::secrets;
use crate::delivery::types::{Channel, Email, Receiver, SmtpTls, Webhook, is_loopback_host};

/// Returns the enabled receivers, and the names of all, for rules to refer to.
pub(super) fn check(
    checker: &mut Checker<'_>,
    notifications: RawNotifications,
    further: Vec<RawReceiver>,
) -> (Vec<Receiver>, Vec<String>) {
    let mut receivers = Vec::new();
    let mut names: Vec<String> = Vec::new();
    if let Some(email) = notifications.email {
        names.push("email".to_owned());
        receivers.extend(checker.email("alerting.notifications.email", "email", email, false));
    }
    if let Some(webhook) = notifications.webhook {
        names.push("webhook".to_owned());
        receivers.extend(checker.webhook("alerting.notifications.webhook", "webhook", webhook, false));
    }
    for (index, raw) in further.into_iter().enumerate() {
        let path = format!("alerting.receivers[{index}]");
        if raw.name.trim().is_empty() {
            checker.fault(format!("{path}.name"), "expected a name");
        } else if names.contains(&raw.name) {
            checker.fault(format!("{path}.name"), format!("there is a receiver `{}` already", raw.name));
        }
        names.push(raw.name.clone());
        match (raw.webhook, raw.email, raw.component, raw.pull) {
            (Some(webhook), None, None, None) => {
                receivers.extend(checker.webhook(&format!("{path}.webhook"), &raw.name, webhook, true));
            }
            (None, Some(email), None, None) => receivers.extend(checker.email(&format!("{path}.email"), &raw.name, email, true)),
            (None, None, Some(component), None) => {
                receivers.extend(checker.component(&format!("{path}.component"), &raw.name, component));
            }
            (None, None, None, Some(pull)) => {
                let receiver = Receiver { name: raw.name, channel: Channel::Pull, send_resolved: pull.send_resolved };
                receivers.extend(pull.enabled.then_some(receiver));
            }
            (None, None, None, None) => checker.fault(path, "expected `webhook`, `email`, `component` or `pull`"),
            _ => checker.fault(path, "expected one of `webhook`, `email`, `component` and `pull`, found several"),
        }
    }
    (receivers, names)
}

impl Checker<'_> {
    fn email(&mut self, path: &str, name: &str, raw: RawEmail, enabled: bool) -> Option<Receiver> {
        if !raw.enabled.unwrap_or(enabled) {
            if raw.enabled.is_none() && !raw.to_emails.is_empty() {
                self.warnings.push(format!("{path}: not used, since `enabled` is missing: set it to true or false"));
            }
            return None;
        }
        let password = secrets::read(self, &format!("{path}.password"), raw.password, raw.password_file.as_deref());
        let username = raw.username.filter(|username| !username.is_empty());
        self.login(path, username.as_deref(), password.as_ref());
        if raw.smtp_host.trim().is_empty() {
            self.fault(format!("{path}.smtp_host"), "expected the name of a mail server");
        }
        if raw.smtp_port == 0 {
            self.fault(format!("{path}.smtp_port"), "expected a port from 1 to 65535");
        }
        let tls = raw.tls.unwrap_or(if raw.smtp_port == 465 { SmtpTls::Tls } else { SmtpTls::Starttls });
        if tls == SmtpTls::None && !is_loopback_host(&raw.smtp_host) {
            self.fault(format!("{path}.tls"), "`none` is for this machine only: use `starttls` or `tls`");
        }
        self.mailbox(format!("{path}.from_email"), &raw.from_email);
        if raw.to_emails.is_empty() {
            self.fault(format!("{path}.to_emails"), "expected at least one address");
        }
        for (index, address) in raw.to_emails.iter().enumerate() {
            self.mailbox(format!("{path}.to_emails[{index}]"), address);
        }
        let (smtp_host, smtp_port, from_email, to_emails) = (raw.smtp_host, raw.smtp_port, raw.from_email, raw.to_emails);
        let email = Email { smtp_host, smtp_port, tls, username, password, from_email, to_emails };
        Some(Receiver { name: name.to_owned(), channel: Channel::Email(email), send_resolved: raw.send_resolved })
    }

    fn component(&mut self, path: &str, name: &str, raw: RawComponent) -> Option<Receiver> {
        if raw.plugin.is_empty() {
            self.fault(format!("{path}.plugin"), "expected the name of a plugin");
        }
        let receiver =
            Receiver { name: name.to_owned(), channel: Channel::Component(raw.plugin), send_resolved: raw.send_resolved };
        raw.enabled.then_some(receiver)
    }

    fn login(&mut self, path: &str, username: Option<&str>, password: Option<&Secret>) {
        match (username, password) {
            (Some(_), None) if !self.faults.iter().any(|(at, _)| at.starts_with(&format!("{path}.password"))) => {
                self.fault(format!("{path}.password"), "expected the password of `username`");
            }
            (None, Some(_)) => self.fault(format!("{path}.username"), "expected the login that `password` belongs to"),
            _ => {}
        }
        if password.is_some_and(|password| password.reveal() == "your-password") {
            self.warnings.push(format!("{path}.password: still the placeholder of the example, so no mail will go out"));
        }
    }

    fn mailbox(&mut self, path: String, address: &str) {
        if address.parse::<Mailbox>().is_err() {
            self.fault(path, format!("expected a mail address such as `ops@example.com`, found `{address}`"));
        }
    }

    fn webhook(&mut self, path: &str, name: &str, raw: RawWebhook, enabled: bool) -> Option<Receiver> {
        if !raw.enabled.unwrap_or(enabled) {
            if raw.enabled.is_none() {
                self.warnings.push(format!("{path}: not used, since `enabled` is missing: set it to true or false"));
            }
            return None;
        }
        let at = format!("{path}.url");
        let given = raw.url.is_some() || raw.url_file.is_some();
        let url = secrets::read(self, &at, raw.url, raw.url_file.as_deref());
        match &url {
            None if given => {}
            None => self.fault(at, "expected the URL to post to"),
            Some(url) => self.webhook_url(at, url),
        }
        let headers = raw.headers.into_iter().filter_map(|(key, value)| {
            let at = format!("{path}.headers.{key}");
            if axum::http::HeaderName::try_from(&key).is_err() {
                self.fault(at, "expected the name of an HTTP header");
                return None;
            }
            let value = secrets::read(self, &at, Some(value), None)?;
            if axum::http::HeaderValue::try_from(value.reveal()).is_err() {
                self.fault(at, "expected text that fits an HTTP header: no line breaks or control characters");
            }
            Some((key, value))
        });
        let headers = headers.collect();
        let webhook = Webhook { url: url?, headers, body: raw.body };
        Some(Receiver { name: name.to_owned(), channel: Channel::Webhook(webhook), send_resolved: raw.send_resolved })
    }

    fn webhook_url(&mut self, path: String, url: &Secret) {
        if !url::Url::parse(url.reveal()).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            self.fault(path, "expected a URL that begins with `https://` or `http://`");
        } else if url.reveal().contains("YOUR/SLACK/WEBHOOK") {
            self.warnings.push(format!("{path}: still the placeholder of the example, so nobody will be told"));
        }
    }
}
