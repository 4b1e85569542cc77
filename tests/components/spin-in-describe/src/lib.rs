//! An analyzer that never says what it is: `describe` is given no configuration that could tell it to misbehave.

use watchfire_plugin::{Analysis, Analyzer, Batch, Descriptor, Result};

struct Spinning;

#[derive(serde::Deserialize)]
struct Nothing {}

impl Analyzer for Spinning {
    type Config = Nothing;

    fn descriptor() -> Descriptor {
        loop {
            std::hint::black_box(());
        }
    }

    fn init(_: Nothing) -> Result<Self> {
        Ok(Self)
    }

    fn analyze(&mut self, _: &Batch) -> Result<Analysis> {
        Ok(Analysis::default())
    }
}

watchfire_plugin::export_analyzer!(Spinning);
