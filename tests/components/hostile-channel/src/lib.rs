//! A channel that misbehaves as its configuration says: `{"where": "plan", "mode": "spin"}`. Without, it posts to `url`.

use serde::Deserialize;
use watchfire_plugin::secrets::{self, Encoding};
use watchfire_plugin::{Channel, Descriptor, Exchange, Notification, Outcome, Request, Result, Step};

#[path = "../../misbehaviour.rs"]
mod misbehaviour;

use misbehaviour::misbehave;

struct Hostile {
    config: Config,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// In which call: `init`, `self-test`, `plan`, `next`.
    #[serde(rename = "where")]
    place: String,
    /// What it does there.
    mode: String,
    /// Where it posts to.
    url: String,
    /// Where it posts to instead, whatever was granted.
    forbidden_url: String,
}

const SCHEMA: &str = r#"{"type": "object", "additionalProperties": false, "properties": {"where": {"type": "string"},
    "mode": {"type": "string"}, "url": {"type": "string"}, "forbidden_url": {"type": "string"}}}"#;

impl Hostile {
    fn at(&self, place: &str) -> Result<()> {
        if self.config.place == place { misbehave(&self.config.mode) } else { Ok(()) }
    }

    fn post(&self) -> Request {
        let url = if self.config.forbidden_url.is_empty() { &self.config.url } else { &self.config.forbidden_url };
        Request::post(url).body("text/plain", "hello")
    }
}

impl Channel for Hostile {
    type Config = Config;

    fn descriptor() -> Descriptor {
        Descriptor::new("hostile-channel", "0.1.0", "Misbehaves as it is told")
            .config_schema(SCHEMA)
            .outbound_from_config("/url")
            .secret("token", "/url")
    }

    fn init(config: Config) -> Result<Self> {
        let hostile = Self { config };
        hostile.at("init")?;
        Ok(hostile)
    }

    fn plan(&self, _notification: &Notification, progress: Option<&[u8]>, _now: u64) -> Result<Step> {
        self.at("plan")?;
        let mode = if self.config.place == "plan" { self.config.mode.as_str() } else { "" };
        let body = |size: usize| self.post().body("text/plain", vec![b'x'; size]);
        Ok(match mode {
            "huge-body" => Step::send_one(body(20 << 20), "huge"),
            "huge-state" => Step::send_one(self.post(), vec![0; 8 << 20]),
            "many-requests" => Step::send_all(vec![self.post(); 10_000], "many"),
            "no-requests" => Step::send_all(Vec::new(), "none"),
            "empty-url" => Step::send_one(Request::post(""), "empty"),
            "odd-method" => Step::send_one(Request::new("GET / HTTP/1.1\r\nHost: x\r\n\r\n", &self.config.url), "odd"),
            "odd-header" => Step::send_one(self.post().header("a\r\nb", "c\r\nd: e").header("Host", "elsewhere"), "odd"),
            "forged-placeholder" => {
                let forged = format!("wfsecret{}", "0".repeat(64));
                Step::send_one(self.post().header("Authorization", forged.clone()).body("text/plain", forged), "forged")
            }
            "secret-elsewhere" => {
                let token = secrets::placeholder("token", Encoding::Raw)?;
                Step::send_one(self.post().body("text/plain", token), "token")
            }
            "wild-outcome" => Step::Done(
                Outcome::new(65_535, "m".repeat(8 << 20))
                    .failed_alerts((0..100_000).map(|number| u32::MAX - number))
                    .receipt("r".repeat(1 << 20))
                    .retry_after(std::time::Duration::MAX),
            ),
            "wait-for-ever" => {
                let mut outcome = Outcome::retry("come back in 500 million years");
                outcome.retry_after_ms = Some(u64::MAX);
                Step::Done(outcome)
            }
            _ if progress.is_some() => Outcome::delivered().receipt("resumed").into(),
            _ => Step::send_one(self.post(), "posted"),
        })
    }

    fn next(&self, _notification: &Notification, state: &[u8], exchanges: &[Exchange], _now: u64) -> Result<Step> {
        self.at("next")?;
        if self.config.place == "next" && self.config.mode == "never-done" {
            return Ok(Step::send_one(self.post(), state));
        }
        let Some(exchange) = exchanges.first() else { return Ok(Outcome::never("there was nothing to send").into()) };
        Ok(Outcome::from_http(exchange).into())
    }

    fn self_test(&self) -> Result<String> {
        self.at("self-test")?;
        Ok("it would do what it is told".to_owned())
    }
}

watchfire_plugin::export_channel!(Hostile);
