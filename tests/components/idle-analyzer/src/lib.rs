//! An analyzer that takes every column and does nothing with it: what is left is what crossing the boundary costs.

use watchfire_plugin::{Analysis, Analyzer, Batch, Columns, Descriptor, Result, Subscription};

struct Idle;

impl Analyzer for Idle {
    type Config = serde::de::IgnoredAny;

    fn descriptor() -> Descriptor {
        let all = Columns::BODY | Columns::ATTRIBUTES | Columns::RESOURCES | Columns::TRACE | Columns::OBSERVED;
        Descriptor::new("idle-analyzer", "0.1.0", "Takes everything and does nothing").subscription(Subscription::to(all))
    }

    fn init(_: serde::de::IgnoredAny) -> Result<Self> {
        Ok(Self)
    }

    fn analyze(&mut self, batch: &Batch) -> Result<Analysis> {
        std::hint::black_box(batch);
        Ok(Analysis::default())
    }
}

watchfire_plugin::export_analyzer!(Idle);
