//! What a channel is, and what it says of an attempt.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use watchfire_types::Timestamp;

use super::component::ComponentChannel;
use super::egress::Egress;
use super::egress::component::ComponentEgress;
use super::email::EmailChannel;
use super::notification::Notification;
use super::pacer::Pacer;
use super::progress::Progress;
use super::pull::PullChannel;
use super::types::{Channel, Receiver};
use super::webhook::WebhookChannel;
use crate::clock::Clock;
use crate::plugins::Plugins;

/// What became of an attempt, in terms of what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived.
    Delivered {
        /// What the other side answered.
        receipt: Receipt,
    },
    /// It may arrive later.
    Retry {
        /// Not before this long from now, if the other side said so.
        after: Option<Duration>,
        /// Class of the failure, for counting: `server`, `rate_limited`, `network`, `timeout`, `service`, `plugin`.
        class: &'static str,
        /// What went wrong, for people.
        reason: String,
    },
    /// Our credentials are refused: somebody must act.
    Credentials {
        /// What the other side said.
        reason: String,
    },
    /// Nobody was there to take it.
    Unclaimed {
        /// It is offered again after this long.
        after: Duration,
        /// Whom it waits for.
        reason: String,
    },
    /// It is not its turn yet: the service takes only so many a minute. No failure.
    Paced {
        /// Not before this long from now.
        after: Duration,
    },
    /// It will never arrive as it is.
    Never {
        /// What the other side said.
        reason: String,
    },
}

/// What the other side answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// For people.
    pub text: String,
    /// What the channel wants to be given with the group's next notification.
    pub reference: Option<String>,
}

impl From<String> for Receipt {
    fn from(text: String) -> Self {
        Self { text, reference: None }
    }
}

impl From<&str> for Receipt {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
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

/// What channels reach out with.
pub struct Ways {
    /// HTTP and TLS, for what is built in.
    pub egress: Egress,
    /// The plugins.
    pub plugins: Plugins,
    /// HTTP for plugins.
    pub components: ComponentEgress,
    /// How many requests each plugin has sent of late.
    pub pacer: Arc<Pacer>,
    /// The clock.
    pub clock: Clock,
}

impl Ways {
    /// Returns the ways, trusting the certificate authorities in `ca_file` beside the system's.
    ///
    /// # Errors
    /// If the file cannot be used.
    pub fn new(plugins: Plugins, ca_file: Option<&Path>, clock: Clock) -> Result<Self, ChannelError> {
        let egress = Egress::new(ca_file)?;
        let components = ComponentEgress::new(&egress)?;
        Ok(Self { egress, plugins, components, pacer: Arc::default(), clock })
    }
}

/// A channel, ready to send.
pub enum Sender {
    /// HTTP.
    Webhook(WebhookChannel),
    /// SMTP.
    Email(EmailChannel),
    /// A plugin.
    Component(ComponentChannel),
    /// An application asks.
    Pull(PullChannel),
    /// Answers as a test tells it to.
    #[cfg(test)]
    Scripted(super::worker::testing::Script),
}

impl Sender {
    /// Returns the channel of `receiver`.
    ///
    /// # Errors
    /// If its configuration cannot work.
    pub fn new(receiver: &Receiver, ways: &Ways) -> Result<Self, ChannelError> {
        let egress = &ways.egress;
        let unusable = |problem| ChannelError::Unusable { receiver: receiver.name.clone(), problem };
        match &receiver.channel {
            Channel::Webhook(webhook) => WebhookChannel::new(webhook, egress).map(Self::Webhook).map_err(unusable),
            Channel::Email(email) => EmailChannel::new(email, egress).map(Self::Email).map_err(unusable),
            Channel::Pull => Ok(Self::Pull(PullChannel::new(ways.clock.clone()))),
            Channel::Component(plugin) => Ok(Self::Component(ComponentChannel::new(plugin.clone(), ways))),
        }
    }

    /// Sends `notification`, going on where an earlier attempt ended. Ends within about a minute and a half.
    pub async fn send(&self, notification: &Notification, progress: &Progress, now: Timestamp) -> Outcome {
        match self {
            Self::Webhook(channel) => channel.send(notification, now).await,
            Self::Email(channel) => channel.send(notification, now).await,
            Self::Component(channel) => channel.send(notification, progress).await,
            Self::Pull(channel) => channel.send(notification, now).await,
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
            Self::Component(channel) => channel.address(),
            Self::Pull(channel) => channel.address(),
            #[cfg(test)]
            Self::Scripted(_) => "test".to_owned(),
        }
    }

    /// Returns why it cannot be used at present, if that is known without trying.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if let Self::Component(channel) = self { channel.problem() } else { None }
    }

    /// Returns what kind of channel it is: `webhook`, `email`, `component`, `pull`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Email(_) => "email",
            Self::Component(_) => "component",
            Self::Pull(_) => "pull",
            #[cfg(test)]
            Self::Scripted(_) => "test",
        }
    }
}
