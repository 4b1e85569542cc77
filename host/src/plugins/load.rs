//! From the bytes of a file to a component that has said what it is: audited, linked, described.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::guest::Given;
use super::instance::{Exports, Instance, Linked, Machinery};
use super::plugin::SETUP_LIMIT;
use super::types::{Capabilities, Capability, ChannelLimits, Descriptor, Kind, Subscription};

/// Most bytes of a component.
pub(super) const MAX_COMPONENT_BYTES: u64 = 64 << 20;
/// What our own interfaces begin with.
const PACKAGE: &str = "watchfire:plugin/";
/// Version of the interface that this host speaks: anything within it.
const VERSION: (u64, u64) = (0, 1);
/// What no plugin has a use for: it plans requests, and the host sends them.
const FORBIDDEN: [&str; 3] = ["wasi:sockets/", "wasi:filesystem/", "wasi:http/"];

/// A component that has said what it is.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) kind: Kind,
    /// All interfaces it imports, ours and WASI's.
    pub(super) imports: Vec<String>,
    /// Those of ours that are capabilities.
    pub(super) asks: Capabilities,
    pub(super) descriptor: Descriptor,
    pub(super) linked: Linked,
}

/// Refuses what is no component.
///
/// # Errors
/// Says what it is instead.
pub(super) fn refuse_foreign(bytes: &[u8]) -> Result<(), String> {
    if Engine::detect_precompiled(bytes).is_some() {
        return Err(
            "it is native code, which is never loaded from outside: give the component that it was compiled from".to_owned()
        );
    }
    match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', ..] => Err(
            "it is a WebAssembly module, not a component: build it for `wasm32-wasip2`, or wrap it with `wasm-tools component new`"
                .to_owned(),
        ),
        _ => Err("it is no WebAssembly component".to_owned()),
    }
}

/// Looks at `component`: what it is for, what it asks for, what it says of itself. Every capability is refused meanwhile.
///
/// # Errors
/// Says why it cannot run here.
pub(super) fn inspect(machinery: &Machinery, component: &Component, given: Given) -> Result<Loaded, String> {
    let engine = machinery.runtime.engine();
    let shape = component.component_type();
    let imports: Vec<String> = shape.imports(engine).map(|(name, _)| name.to_owned()).collect();
    let exports: Vec<String> = shape.exports(engine).map(|(name, _)| name.to_owned()).collect();
    let kind = kind_of(&exports)?;
    if let Some(import) = imports.iter().find(|import| FORBIDDEN.iter().any(|forbidden| import.starts_with(forbidden))) {
        return Err(format!("it imports `{import}`, which no plugin is given: a channel plans requests, and the host sends them"));
    }
    let asks = asks(&imports)?;
    let linked = match kind {
        Kind::Channel => machinery.linkers.channel(component),
        Kind::Analyzer => machinery.linkers.analyzer(component),
        Kind::Parser => machinery.linkers.parser(component),
    };
    let linked = linked.map_err(|error| format!("it does not fit the interface of a {}: {error:#}", kind.name()))?;
    let descriptor = describe(machinery, &linked, given)?;
    Ok(Loaded { kind, imports, asks, descriptor, linked })
}

/// Returns what the component is for, from what it exports.
fn kind_of(exports: &[String]) -> Result<Kind, String> {
    let kinds = [Kind::Channel, Kind::Analyzer, Kind::Parser].into_iter().filter_map(|kind| {
        let wanted = format!("{PACKAGE}{}", kind.name());
        let version = exports.iter().find_map(|export| export.strip_prefix(wanted.as_str()))?;
        Some((kind, version.trim_start_matches('@').to_owned()))
    });
    let found: Vec<_> = kinds.collect();
    match found.as_slice() {
        [] => Err("it exports neither `channel`, `analyzer` nor `parser` of `watchfire:plugin`".to_owned()),
        [(kind, version)] => {
            let mut parts = version.split('.').map_while(|part| part.parse::<u64>().ok());
            if (parts.next(), parts.next()) == (Some(VERSION.0), Some(VERSION.1)) {
                return Ok(*kind);
            }
            Err(format!("it is made for version {version} of the interface, and this host speaks {}.{}.x", VERSION.0, VERSION.1))
        }
        _ => Err("it exports more than one of `channel`, `analyzer` and `parser`: make one component of each".to_owned()),
    }
}

fn asks(imports: &[String]) -> Result<Capabilities, String> {
    let mut asks = BTreeSet::new();
    for import in imports {
        let Some(name) = import.strip_prefix(PACKAGE) else { continue };
        let name = name.split('@').next().unwrap_or(name);
        if matches!(name, "common" | "logs" | "alerting") {
            continue;
        }
        let known = Capability::ALL.into_iter().find(|capability| capability.name() == name);
        asks.insert(known.ok_or_else(|| format!("it imports `{import}`, which this host does not have: use a newer host"))?);
    }
    Ok(asks)
}

/// Makes the two worlds' descriptors one.
macro_rules! descriptor {
    ($theirs:expr) => {{
        let theirs = $theirs;
        Descriptor {
            name: cut(theirs.name, 200),
            version: cut(theirs.version, 100),
            summary: cut(theirs.summary, 1000),
            config_schema: serde_json::from_str(&theirs.config_schema).unwrap_or(Value::Null),
            outbound: few(theirs.outbound),
            outbound_from_config: few(theirs.outbound_from_config),
            methods: few(theirs.methods),
            secret_bindings: theirs.secret_bindings.into_iter().take(64).collect(),
            limits: theirs.limits.map(|limits| ChannelLimits {
                max_alerts: limits.max_alerts,
                max_body_bytes: limits.max_body_bytes,
                per_minute: limits.per_minute,
                concurrency: limits.concurrency,
            }),
            state_version: theirs.state_version,
            subscription: theirs.subscription.map(|wanted| Subscription {
                min_severity: wanted.min_severity,
                sources: wanted.sources,
                any_substring: wanted.any_substring,
                any_regex: wanted.any_regex,
                columns: wanted.columns,
                max_batch: wanted.max_batch,
                max_delay_ms: wanted.max_delay_ms,
                tick_interval_ms: wanted.tick_interval_ms,
            }),
        }
    }};
}

fn cut(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}

fn few(mut texts: Vec<String>) -> Vec<String> {
    texts.truncate(64);
    texts
}

fn describe(machinery: &Machinery, linked: &Linked, given: Given) -> Result<Descriptor, String> {
    let given = Given { capabilities: Arc::default(), secrets: None, ..given };
    let mut instance = Instance::new(&machinery.runtime, &machinery.handle, linked, given, None, SETUP_LIMIT)
        .map_err(|error| error.to_string())?;
    let described = instance.call("describe", SETUP_LIMIT, async |store, exports| {
        Ok(match exports {
            Exports::Channel(world) => descriptor!(world.watchfire_plugin_plugin().call_describe(store).await?),
            Exports::Analyzer(world) => descriptor!(world.watchfire_plugin_plugin().call_describe(store).await?),
            Exports::Parser(world) => descriptor!(world.watchfire_plugin_plugin().call_describe(store).await?),
        })
    });
    described.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_of_ours_is_refused_with_a_reason() {
        let reasons = [&b"\x7fELF"[..], b"\0asm\x01\0\0\0", b""].map(|bytes| refuse_foreign(bytes).unwrap_err());
        insta::assert_snapshot!(reasons.join("\n"), @r"
        it is no WebAssembly component
        it is a WebAssembly module, not a component: build it for `wasm32-wasip2`, or wrap it with `wasm-tools component new`
        it is no WebAssembly component
        ");
        assert_eq!(refuse_foreign(b"\0asm\x0d\0\x01\0"), Ok(()));
    }

    #[test]
    fn the_version_of_the_interface_is_read_from_the_exports() {
        let kind = |export: &str| kind_of(&[export.to_owned(), "watchfire:plugin/plugin@0.1.0".to_owned()]);
        assert_eq!(kind("watchfire:plugin/channel@0.1.7"), Ok(Kind::Channel));
        assert_eq!(kind("watchfire:plugin/analyzer@0.1.0"), Ok(Kind::Analyzer));
        insta::assert_snapshot!(kind("watchfire:plugin/channel@0.2.0").unwrap_err(), @"it is made for version 0.2.0 of the interface, and this host speaks 0.1.x");
        insta::assert_snapshot!(kind("other").unwrap_err(), @"it exports neither `channel`, `analyzer` nor `parser` of `watchfire:plugin`");
    }

    #[test]
    fn an_interface_that_this_host_does_not_have_is_named() {
        let asks = |import: &str| asks(&[import.to_owned()]);
        assert_eq!(asks("watchfire:plugin/kv@0.1.0"), Ok(BTreeSet::from([Capability::Kv])));
        assert_eq!(asks("wasi:io/streams@0.2.6"), Ok(BTreeSet::new()));
        insta::assert_snapshot!(asks("watchfire:plugin/http@0.1.3").unwrap_err(), @"it imports `watchfire:plugin/http@0.1.3`, which this host does not have: use a newer host");
    }
}
