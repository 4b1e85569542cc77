//! A channel that uses its secret in every way there is, and then searches the whole of its memory for texts. They are given to it
//! disguised, byte by byte, so that looking for one does not put it there.

use serde::Deserialize;
use watchfire_plugin::secrets::{self, Algorithm, Encoding};
use watchfire_plugin::{Channel, Descriptor, Exchange, Notification, Outcome, Request, Result, Step};

/// What each byte of a text is combined with.
const DISGUISE: u8 = 0x5a;

struct Searcher {
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    /// Where it posts to.
    url: String,
    /// What it looks for, disguised.
    hidden: Vec<Vec<u8>>,
}

const SCHEMA: &str = r#"{"type": "object", "properties": {"url": {"type": "string"}, "token": {"type": "string", "x-secret": true},
    "hidden": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}}}"#;

impl Channel for Searcher {
    type Config = Config;

    fn descriptor() -> Descriptor {
        Descriptor::new("memory-searcher", "0.1.0", "Uses its secret and looks for it in its memory")
            .config_schema(SCHEMA)
            .outbound_from_config("/url")
            .secret("token", "/url")
    }

    fn init(config: Config) -> Result<Self> {
        Ok(Self { config })
    }

    fn plan(&self, _notification: &Notification, _progress: Option<&[u8]>, _now: u64) -> Result<Step> {
        let token = secrets::placeholder("token", Encoding::Raw)?;
        let signature = secrets::sign(Algorithm::HmacSha256, &token, format!("a\n{token}"))?;
        let request = Request::post(format!("{}?token={}", self.config.url, secrets::placeholder("token", Encoding::Url)?))
            .header("Authorization", secrets::basic("me", "token")?)
            .header("X-Signature", format!("{signature:?}"))
            .header("X-Token", token)
            .body("application/json", format!(r#"{{"token": "{}"}}"#, secrets::placeholder("token", Encoding::Json)?))
            .max_reply_bytes(1 << 20);
        Ok(Step::send_one(request, "sent"))
    }

    fn next(&self, _notification: &Notification, _state: &[u8], exchanges: &[Exchange], _now: u64) -> Result<Step> {
        let Some(Ok(reply)) = exchanges.first() else { return Ok(Outcome::from_http(&exchanges[0]).into()) };
        let found: Vec<String> = self.config.hidden.iter().map(|hidden| occurs(hidden).to_string()).collect();
        Ok(Outcome::new(0, format!("{} bytes of reply; found: {}", reply.body.len(), found.join(" "))).into())
    }
}

/// Returns whether the memory holds what `hidden` disguises.
#[cfg(target_arch = "wasm32")]
fn occurs(hidden: &[u8]) -> bool {
    let size = core::arch::wasm32::memory_size(0) << 16;
    let read = |address: usize| {
        #[expect(unsafe_code, reason = "all of the memory is searched, whoever owns it")]
        // SAFETY: the address lies within the linear memory, and only its byte is looked at.
        unsafe {
            core::ptr::read_volatile(core::ptr::with_exposed_provenance::<u8>(address))
        }
    };
    (1..size - hidden.len()).any(|start| hidden.iter().enumerate().all(|(offset, byte)| read(start + offset) ^ DISGUISE == *byte))
}

#[cfg(not(target_arch = "wasm32"))]
fn occurs(hidden: &[u8]) -> bool {
    unreachable!("only a component has a memory of its own: {} ^ {DISGUISE}", hidden.len())
}

watchfire_plugin::export_channel!(Searcher);
