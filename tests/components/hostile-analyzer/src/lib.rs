//! An analyzer that misbehaves as its configuration says: `{"where": "analyze", "mode": "spin"}`. Without, it finds every record.

use serde::Deserialize;
use watchfire_plugin::{Analysis, Analyzer, Batch, Columns, Descriptor, Finding, MetricSample, Result, Subscription, kv};

#[path = "../../misbehaviour.rs"]
mod misbehaviour;

use misbehaviour::misbehave;

struct Hostile {
    config: Config,
    /// Records seen: what is saved.
    seen: u64,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// In which call: `init`, `self-test`, `analyze`, `tick`, `save`, `restore`.
    #[serde(rename = "where")]
    place: String,
    /// What it does there.
    mode: String,
    /// Only if a record of the batch holds this.
    body: String,
}

const SCHEMA: &str = r#"{"type": "object", "additionalProperties": false, "properties": {
    "where": {"type": "string"}, "mode": {"type": "string"}, "body": {"type": "string"}}}"#;

impl Hostile {
    fn at(&self, place: &str) -> Result<()> {
        if self.config.place == place { misbehave(&self.config.mode) } else { Ok(()) }
    }
}

impl Analyzer for Hostile {
    type Config = Config;

    fn descriptor() -> Descriptor {
        let wanted = Subscription::to(Columns::BODY).tick_every(std::time::Duration::from_secs(1));
        Descriptor::new("hostile-analyzer", "0.1.0", "Misbehaves as it is told").config_schema(SCHEMA).subscription(wanted)
    }

    fn init(config: Config) -> Result<Self> {
        let hostile = Self { config, seen: 0 };
        hostile.at("init")?;
        Ok(hostile)
    }

    fn analyze(&mut self, batch: &Batch) -> Result<Analysis> {
        self.seen += batch.len() as u64;
        let wanted = self.config.body.is_empty() || batch.rows().any(|row| row.body().contains(&self.config.body));
        if wanted {
            self.at("analyze")?;
        }
        if self.config.place == "analyze" && wanted {
            match self.config.mode.as_str() {
                "a-million-findings" => return Ok((0..1_000_000).map(|_| Finding::new("many", 9, "one of a million")).collect()),
                "a-huge-finding" => return Ok([Finding::new("huge", 9, "x").message("m".repeat(40 << 20))].into_iter().collect()),
                "a-million-metrics" => {
                    let metrics = (0..1_000_000).map(|number| MetricSample::gauge(format!("m{number}"), 1.0));
                    return Ok(Analysis { metrics: metrics.collect(), ..Analysis::default() });
                }
                "wild" => return Ok(wild(batch)),
                "kv" => fill_kv()?,
                _ => {}
            }
        }
        let found = batch.rows().map(|row| Finding::new("seen", row.severity(), row.body()).about(&row).key(row.seq().to_string()));
        Ok(found.collect())
    }

    fn tick(&mut self, _now: u64, _watermark: u64) -> Result<Analysis> {
        self.at("tick")?;
        Ok(Analysis::default())
    }

    fn save(&mut self) -> Result<Vec<u8>> {
        self.at("save")?;
        if self.config.place == "save" && self.config.mode == "huge" {
            return Ok(vec![0; 40 << 20]);
        }
        Ok(self.seen.to_le_bytes().to_vec())
    }

    fn restore(&mut self, _from_version: u32, data: &[u8]) -> Result<()> {
        self.at("restore")?;
        self.seen = data.try_into().map(u64::from_le_bytes).unwrap_or_default();
        Ok(())
    }

    fn self_test(&mut self) -> Result<String> {
        self.at("self-test")?;
        Ok(format!("it has seen {} records", self.seen))
    }
}

/// Says what cannot be: numbers that are none, positions that were never given, texts that are no names.
fn wild(batch: &Batch) -> Analysis {
    let mut finding = Finding::new("", 255, "\u{0}\u{1b}[31mred").key("k".repeat(1 << 20));
    finding.score = f64::NAN;
    finding.count = u64::MAX;
    (finding.first_seq, finding.last_seq) = (u64::MAX, 1);
    (finding.first_time, finding.last_time) = (u64::MAX, 0);
    finding.sample_seqs = (0..100_000).map(|number| u64::MAX - number).collect();
    finding.labels = (0..10_000).map(|number| (String::new(), format!("{number}"))).collect();
    let mut metrics = Vec::new();
    for value in [f64::NAN, f64::INFINITY, -1.0] {
        for kind in [0, 1, 2, 255] {
            let mut sample = MetricSample::gauge("not a name\n", value).label("", "\u{0}").at(u64::MAX);
            sample.kind = kind;
            metrics.push(sample);
        }
    }
    let mut analysis = Analysis { findings: vec![finding], metrics, ..Analysis::default() };
    analysis.findings.extend(batch.rows().map(|row| Finding::new("after", 9, "a good one").about(&row)));
    analysis
}

/// Writes until the host says that it is enough.
fn fill_kv() -> Result<()> {
    let value = vec![7; 1 << 20];
    for number in 0.. {
        kv::set(&format!("key {number}"), &value, None)?;
    }
    Ok(())
}

watchfire_plugin::export_analyzer!(Hostile);
