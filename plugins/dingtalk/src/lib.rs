//! Notifications in DingTalk groups, through a custom robot.
//!
//! Source: DingTalk, "Custom robot access" and "Security settings of custom robots".

mod config;
mod render;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use watchfire_plugin::secrets::{self, Algorithm, Encoding};
use watchfire_plugin::{Channel, Descriptor, Exchange, Limits, Notification, Outcome, Request, Result, Step};

use config::Config;

/// Where DingTalk takes messages, unless the configuration says otherwise.
const HOST: &str = "https://oapi.dingtalk.com";
/// Most messages that a robot may post in a minute: beyond, it is silenced for ten.
const PER_MINUTE: u32 = 20;

/// A custom robot.
pub struct DingTalk {
    config: Config,
}

impl DingTalk {
    /// Returns the URL of this moment: its signature is good for an hour.
    fn url(&self, now: u64) -> Result<String> {
        let token = secrets::placeholder("access_token", Encoding::Url)?;
        let url = &self.config.url;
        let separator = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{separator}access_token={token}");
        let Some(secret) = secrets::optional("sign_secret", Encoding::Raw) else { return Ok(url) };
        let timestamp = now / 1_000_000;
        let signature = secrets::sign(Algorithm::HmacSha256, &secret, format!("{timestamp}\n{secret}"))?;
        let signature = render::percent_encoded(&STANDARD.encode(signature));
        Ok(format!("{url}&timestamp={timestamp}&sign={signature}"))
    }

    /// Posts the part after the first `posted` ones, or says that all are. The state of a batch says how many are once it is answered.
    fn post(&self, notification: &Notification, posted: usize, now: u64) -> Result<Step> {
        let parts = render::parts(notification, &self.config);
        let Some(part) = parts.get(posted) else {
            let message = if parts.len() > 1 { format!("{} parts", parts.len()) } else { String::new() };
            return Ok(Outcome { message, ..Outcome::delivered() }.into());
        };
        Ok(Step::send_one(Request::post(self.url(now)?).json(part), (posted + 1).to_string()))
    }
}

fn count(state: &[u8]) -> usize {
    std::str::from_utf8(state).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

impl Channel for DingTalk {
    type Config = Config;

    fn descriptor() -> Descriptor {
        Descriptor::new("dingtalk", env!("CARGO_PKG_VERSION"), "Notifications in DingTalk groups, through a custom robot")
            .config_schema(config::SCHEMA)
            .outbound(HOST)
            .outbound_from_config("/url")
            .methods(["POST"])
            .secret("access_token", HOST)
            .secret("access_token", "/url")
            .secret("sign_secret", HOST)
            .limits(Limits { max_alerts: 300, per_minute: PER_MINUTE, concurrency: 1, ..Limits::default() })
            .state_version(1)
    }

    fn init(config: Config) -> Result<Self> {
        config.check()?;
        Ok(Self { config })
    }

    fn plan(&self, notification: &Notification, progress: Option<&[u8]>, now: u64) -> Result<Step> {
        self.post(notification, progress.map_or(0, count), now)
    }

    fn next(&self, notification: &Notification, state: &[u8], exchanges: &[Exchange], now: u64) -> Result<Step> {
        let Some(exchange) = exchanges.first() else { return Ok(Outcome::retry("nothing was sent").into()) };
        match render::problem(exchange) {
            Some(outcome) => Ok(outcome.into()),
            None => self.post(notification, count(state), now),
        }
    }

    fn self_test(&self) -> Result<String> {
        let url = self.url(0)?;
        let signed =
            if url.contains("&sign=") { "requests are signed" } else { "requests are not signed, no sign_secret is given" };
        Ok(format!("its configuration is good, and {signed}"))
    }
}

watchfire_plugin::export_channel!(DingTalk);

#[cfg(test)]
mod tests;
