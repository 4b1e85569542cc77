//! Runs parser components: lines go in, records come out, and whatever a component does, no line is lost.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use watchfire_types::{Timestamp, Value};

use super::instance::{Exports, Instance};
pub use super::parsed::ParsedBatch;
use super::parsed::{self, Source};
use super::plugin::{Plugin, host_panicked, wrong_kind};
use super::room::Plugins;
use super::types::{CallError, Kind};
use super::wire;
use crate::telemetry::SelfMetrics;

/// Most lines of one call, and most bytes.
const MAX_LINES: usize = 4_096;
const MAX_BYTES: usize = 1 << 20;
/// A store is made anew after so many calls, so that what leaks in it does not grow for ever.
const MAX_CALLS: u32 = 10_000;
/// Stores kept of one parser: as many as are called at a time.
const MAX_KEPT: usize = 4;

/// A line on its way to a parser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParserLine {
    /// Its text.
    pub text: String,
    /// When it was written, if that is known from outside the line.
    pub time: Option<Timestamp>,
    /// `stdout` or `stderr`, if that is known.
    pub stream: &'static str,
}

/// Where lines come from.
#[derive(Clone, Debug, Default)]
pub struct ParserSource {
    /// The file's path, or the input's name: the component is told.
    pub name: String,
    /// `service.name` of records that name none.
    pub service: String,
    /// What else is known of what produced them.
    pub resource: Vec<(String, Value)>,
}

/// A store of a parser, to be used again.
struct Kept {
    plugin: Arc<Plugin>,
    instance: Instance,
    calls: u32,
}

/// The parsers of a host. Cheap to clone.
#[derive(Clone)]
pub struct Parsers {
    plugins: Plugins,
    metrics: SelfMetrics,
    kept: Arc<Mutex<HashMap<String, Vec<Kept>>>>,
}

impl Parsers {
    /// Returns the parsers among `plugins`.
    #[must_use]
    pub fn new(plugins: Plugins, metrics: SelfMetrics) -> Self {
        Self { plugins, metrics, kept: Arc::default() }
    }

    /// Returns what parser `name` makes of `lines`. If it cannot be called, fails, or returns what cannot be used, the lines come back as they
    /// are, each with the reason.
    pub async fn parse(&self, name: &str, source: ParserSource, lines: Vec<ParserLine>, now: Timestamp) -> ParsedBatch {
        let mut result = ParsedBatch::default();
        let mut rest = lines;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |line: &&ParserLine| {
                bytes += line.text.len();
                bytes <= MAX_BYTES
            };
            let count = rest.iter().take(MAX_LINES).take_while(fits).count().max(1);
            let after = rest.split_off(count);
            result = self.parse_some(name, source.clone(), rest, result, now).await;
            rest = after;
        }
        let labels = [("plugin", name)];
        self.metrics.counter("watchfire_parser_records_total", &labels).add(result.batch.len() as u64 - result.raw);
        self.metrics.counter("watchfire_parser_raw_lines_total", &labels).add(result.raw);
        self.metrics.counter("watchfire_parser_dropped_lines_total", &labels).add(result.dropped);
        result
    }

    async fn parse_some(
        &self,
        name: &str,
        source: ParserSource,
        lines: Vec<ParserLine>,
        target: ParsedBatch,
        now: Timestamp,
    ) -> ParsedBatch {
        let plugin = match self.plugins.get(name) {
            Ok(plugin) if plugin.kind() == Kind::Parser => plugin,
            Ok(plugin) => {
                return raw(target, &lines, &format!("plugin `{name}` is no parser but a {}", plugin.kind().name()), &source, now);
            }
            Err(problem) => return raw(target, &lines, &problem, &source, now),
        };
        let kept = Arc::clone(&self.kept);
        let (owned, name) = (Arc::clone(&plugin), name.to_owned());
        // If the host itself fails in there, the lines are lost to it: they are kept aside for that.
        let spare = (target.clone(), lines.clone(), source.clone());
        let work = move || {
            let mut target = target;
            match call(&owned, &kept, &name, &source, &lines, now) {
                Ok(parsed) => {
                    let told = Source { service: &source.service, resource: &source.resource, now };
                    match parsed::append(&mut target, &parsed, &lines, &told) {
                        Ok(()) => target,
                        Err(problem) => {
                            let error = CallError::Malformed { function: "parse", problem };
                            owned.supervisor().failed(&error, now);
                            kept.lock().remove(&name);
                            raw(target, &lines, &error.to_string(), &source, now)
                        }
                    }
                }
                Err(error) => raw(target, &lines, &error.to_string(), &source, now),
            }
        };
        match plugin.threads.run(work).await {
            Some(target) => target,
            None => raw(spare.0, &spare.1, &host_panicked("parse").to_string(), &spare.2, now),
        }
    }
}

/// Calls a parser, in a store that is kept for it if there is one.
fn call(
    plugin: &Arc<Plugin>,
    kept: &Mutex<HashMap<String, Vec<Kept>>>,
    name: &str,
    source: &ParserSource,
    lines: &[ParserLine],
    now: Timestamp,
) -> Result<wire::Parsed, CallError> {
    plugin.supervisor().admit(now)?;
    let found = kept.lock().get_mut(name).and_then(|stores| {
        // What was made of a component that has been replaced since is of no more use.
        stores.retain(|store| Arc::ptr_eq(&store.plugin, plugin));
        stores.pop()
    });
    let mut store = match found {
        Some(store) => store,
        None => Kept { plugin: Arc::clone(plugin), instance: plugin.start_instance(now)?, calls: 0 },
    };
    let mut column = wire::BytesColumn { offsets: Vec::with_capacity(lines.len() + 1), bytes: Vec::new() };
    column.offsets.push(0);
    for line in lines {
        column.bytes.extend_from_slice(line.text.as_bytes());
        column.offsets.push(column.bytes.len() as u32);
    }
    let parsed = plugin.call(&mut store.instance, "parse", now, async |store, exports| match exports {
        Exports::Parser(world) => {
            world.watchfire_plugin_parser().call_parse(store, &source.name, &source.service, &column, now.as_nanos()).await
        }
        Exports::Channel(_) | Exports::Analyzer(_) => Err(wasmtime::format_err!("{}", wrong_kind("parse"))),
    });
    store.calls += 1;
    let is_good = parsed.as_ref().err().is_none_or(|error| !error.poisons());
    let memory = plugin.settings().memory_bytes;
    if is_good && store.calls < MAX_CALLS && store.instance.memory_bytes() < memory / 4 * 3 {
        let mut kept = kept.lock();
        let stores = kept.entry(name.to_owned()).or_default();
        if stores.len() < MAX_KEPT {
            stores.push(store);
        }
    }
    parsed
}

fn raw(mut target: ParsedBatch, lines: &[ParserLine], reason: &str, source: &ParserSource, now: Timestamp) -> ParsedBatch {
    let told = Source { service: &source.service, resource: &source.resource, now };
    for line in lines {
        parsed::push_raw(&mut target, line, Some(reason), &told);
    }
    target
}
