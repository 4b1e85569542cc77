//! Receivers, and the channels that deliver for them.

use std::net::IpAddr;

use crate::config::Secret;

/// A name in the alerting configuration, and what delivers for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Receiver {
    /// Unique.
    pub name: String,
    /// How it is reached.
    pub channel: Channel,
    /// Whether it is told when an alert is over. Default true.
    pub send_resolved: bool,
}

/// What delivers for a receiver.
#[derive(Clone, Debug, PartialEq)]
pub enum Channel {
    /// HTTP POST.
    Webhook(Webhook),
    /// SMTP.
    Email(Email),
    /// The plugin of this name.
    Component(String),
    /// An application that asks for notifications.
    Pull,
}

/// An HTTP endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// Where to post; a secret, since such URLs often hold one.
    pub url: Secret,
    /// Further request headers, such as `Authorization`.
    pub headers: Vec<(String, Secret)>,
    /// What the body looks like.
    pub body: WebhookBody,
}

/// Shape of a webhook's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookBody {
    /// `slack` for hosts that end in `slack.com`, `json` otherwise.
    #[default]
    Auto,
    /// What Slack's incoming webhooks take (`text`, `attachments`); Mattermost and Rocket.Chat take it too.
    Slack,
    /// The notification as JSON, in Alertmanager's webhook shape (version 4) with our fields beside.
    Json,
}

/// A mailbox reached over SMTP.
#[derive(Clone, Debug, PartialEq)]
pub struct Email {
    /// Server name or address.
    pub smtp_host: String,
    /// Server port.
    pub smtp_port: u16,
    /// How the connection is protected.
    pub tls: SmtpTls,
    /// Login, if the server wants one.
    pub username: Option<String>,
    /// Password of that login.
    pub password: Option<Secret>,
    /// Sender.
    pub from_email: String,
    /// Recipients, at least one.
    pub to_emails: Vec<String>,
}

/// How an SMTP connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    /// Upgraded by STARTTLS, which must succeed. The default, but for port 465.
    Starttls,
    /// TLS from the first byte. The default for port 465.
    Tls,
    /// Plain text: only towards this machine.
    None,
}

/// Returns whether `host` is this machine: the only place where plain SMTP goes.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
