//! A parser that misbehaves as its configuration says: `{"mode": "spin"}`. Without, it shouts.

use serde::Deserialize;
use watchfire_plugin::{Descriptor, Origin, Parser, Records, Result};

#[path = "../../misbehaviour.rs"]
mod misbehaviour;

use misbehaviour::misbehave;

struct Hostile {
    config: Config,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// What it does.
    mode: String,
    /// Only if the line holds this.
    line: String,
}

const SCHEMA: &str =
    r#"{"type": "object", "additionalProperties": false, "properties": {"mode": {"type": "string"}, "line": {"type": "string"}}}"#;

impl Parser for Hostile {
    type Config = Config;

    fn descriptor() -> Descriptor {
        Descriptor::new("hostile-parser", "0.1.0", "Misbehaves as it is told").config_schema(SCHEMA)
    }

    fn init(config: Config) -> Result<Self> {
        Ok(Self { config })
    }

    fn line(&mut self, line: &str, _of: &Origin<'_>, out: &mut Records) -> Result<()> {
        if self.config.line.is_empty() || line.contains(&self.config.line) {
            match self.config.mode.as_str() {
                "huge" => {
                    let _ = out.record(&"x".repeat(40 << 20));
                    return Ok(());
                }
                "many-attributes" => {
                    let mut record = out.record(line);
                    for number in 0..10_000 {
                        record = record.integer(&format!("a{number}"), number);
                    }
                    return Ok(());
                }
                "severity" => {
                    let _ = out.record(line).severity(99);
                    return Ok(());
                }
                "drop" => {
                    out.drop_line();
                    return Ok(());
                }
                mode => misbehave(mode)?,
            }
        }
        let _ = out.record(&line.to_uppercase()).severity(9).text("parsed", "yes");
        Ok(())
    }
}

watchfire_plugin::export_parser!(Hostile);
