//! What a channel is, and what it says of an attempt.

use std::time::Duration;

use watchfire_types::Timestamp;

use super::egress::Egress;
use super::email::EmailChannel;
use super::notification::Notification;
use super::types::{Channel, Receiver};
use super::webhook::WebhookChannel;

/// What became of an attempt, in terms of what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived.
    Delivered {
        /// What the other side answered.
        receipt: String,
    },
    /// It may arrive later.
    Retry {
        /// Not before this long from now, if the other side said so.
        after: Option<Duration>,
        /// Class of the failure, for counting: `server`, `rate_limited`, `network`, `timeout`.
        class: &'static str,
        /// What went wrong, for people.
        reason: String,
    },
    /// Our credentials are refused: somebody must act.
    Credentials {
        /// What the other side said.
        reason: String,
    },
    /// It will never arrive as it is.
    Never {
        /// What the other side said.
        reason: String,
    },
}

/// Why a channel cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Its configuration cannot work.
    #[error("receiver `{receiver}` cannot be used: {problem}")]
    Unusable {
        /// Name of the receiver.
        receiver: String,
        /// What is wrong.
        problem: String,
    },
    /// The certificates of `server.ca_file` cannot be used.
    #[error("cannot use the certificates of `{path}`: {problem}")]
    Certificates {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// The HTTP client cannot be built.
    #[error("cannot build the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// A channel, ready to send.
pub enum Sender {
    /// HTTP.
    Webhook(WebhookChannel),
    /// SMTP.
    Email(EmailChannel),
    /// Answers as a test tells it to.
    #[cfg(test)]
    Scripted(super::worker::testing::Script),
}

impl Sender {
    /// Returns the channel of `receiver`.
    ///
    /// # Errors
    /// If its configuration cannot work.
    pub fn new(receiver: &Receiver, egress: &Egress) -> Result<Self, ChannelError> {
        let unusable = |problem| ChannelError::Unusable { receiver: receiver.name.clone(), problem };
        match &receiver.channel {
            Channel::Webhook(webhook) => WebhookChannel::new(webhook, egress).map(Self::Webhook).map_err(unusable),
            Channel::Email(email) => EmailChannel::new(email, egress).map(Self::Email).map_err(unusable),
            Channel::Component(_) => Err(unusable("components are not wired yet".to_owned())),
        }
    }

    /// Sends `notification`. Ends within about 30 s.
    pub async fn send(&self, notification: &Notification, now: Timestamp) -> Outcome {
        match self {
            Self::Webhook(channel) => channel.send(notification, now).await,
            Self::Email(channel) => channel.send(notification, now).await,
            #[cfg(test)]
            Self::Scripted(script) => script.send(notification),
        }
    }

    /// Returns where it sends, without secrets: `https://hooks.slack.com`, `smtp.example.org:587`.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Self::Webhook(channel) => channel.address().to_owned(),
            Self::Email(channel) => channel.address().to_owned(),
            #[cfg(test)]
            Self::Scripted(_) => "test".to_owned(),
        }
    }

    /// Returns what kind of channel it is: `webhook`, `email`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Email(_) => "email",
            #[cfg(test)]
            Self::Scripted(_) => "test",
        }
    }
}
