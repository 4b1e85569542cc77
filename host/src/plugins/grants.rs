//! What a component asks for, what it was granted, and what follows from both.

use super::plugin::EgressPolicy;
use super::secrets::BoundSecret;
use super::types::{Capabilities, Capability, Descriptor, PluginConfig};
use crate::config::shape::Shape;
use crate::nearest::did_you_mean;

/// Returns what a component asks for beyond what does no harm and what it was granted.
pub(super) fn missing(asks: &Capabilities, granted: &Capabilities) -> Vec<Capability> {
    asks.iter().filter(|capability| !capability.is_harmless() && !granted.contains(capability)).copied().collect()
}

/// Checks the plugin's section against the schema that it gives.
pub(super) fn check_config(descriptor: &Descriptor, settings: &PluginConfig) -> Result<(), String> {
    if !descriptor.config_schema.is_object() {
        return Ok(());
    }
    let mut schema = descriptor.config_schema.clone();
    // Secrets are given apart, and are not missing here.
    let is_secret = |schema: &serde_json::Value, name: &str| schema["properties"][name]["x-secret"] == true;
    let required: Vec<String> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str())
        .filter(|name| !is_secret(&schema, name))
        .map(ToOwned::to_owned)
        .collect();
    if let Some(object) = settings.config.as_object() {
        if let Some(name) = object.keys().find(|name| is_secret(&schema, name)) {
            return Err(format!("`{name}` is a secret: give it under `secrets`, not under `config`"));
        }
        if let Some(name) = required.iter().find(|name| !object.contains_key(*name)) {
            return Err(format!("config.{name}: it is required"));
        }
    }
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("required");
    }
    let mut problems = Vec::new();
    Shape::from_schema(schema).clean(&mut settings.config.clone(), "config", &mut problems);
    let texts: Vec<String> = problems.into_iter().map(|(path, reason)| format!("{path}: {reason}")).collect();
    if texts.is_empty() { Ok(()) } else { Err(texts.join("; ")) }
}

/// Returns the scheme, host and port of the URLs in the plugin's section that it asks to reach.
fn from_config(descriptor: &Descriptor, settings: &PluginConfig) -> Vec<String> {
    let urls = descriptor.outbound_from_config.iter().filter_map(|pointer| origin(settings.config.pointer(pointer)?.as_str()?));
    urls.collect()
}

/// Returns `scheme://host:port` of a URL.
fn origin(url: &str) -> Option<String> {
    url::Url::parse(url).ok().filter(url::Url::has_host).map(|url| super::origin::of(&url))
}

/// Returns everywhere that a component asks to send to.
pub(super) fn asked(descriptor: &Descriptor, settings: &PluginConfig) -> Vec<String> {
    descriptor.outbound.iter().cloned().chain(from_config(descriptor, settings)).collect()
}

/// Returns where the plugin may send, and its secrets with where each may go. A URL that the operator wrote into the plugin's own
/// section is granted by that.
pub(super) fn policy(descriptor: &Descriptor, settings: &PluginConfig) -> Result<(EgressPolicy, Vec<BoundSecret>), String> {
    let mut outbound = settings.outbound.clone();
    outbound.extend(from_config(descriptor, settings));
    let policy = EgressPolicy { outbound, private_addresses: settings.private_addresses, methods: descriptor.methods.clone() };
    let mut secrets = Vec::new();
    for (name, value) in &settings.secrets {
        let bound: Vec<&String> =
            descriptor.secret_bindings.iter().filter(|(secret, _)| secret == name).map(|(_, target)| target).collect();
        if bound.is_empty() {
            let known = descriptor.secret_bindings.iter().map(|(secret, _)| secret.as_str());
            return Err(format!("it has no secret called `{name}`{}", did_you_mean(name, known)));
        }
        let hosts = bound.iter().filter_map(|target| {
            if target.starts_with('/') { origin(settings.config.pointer(target)?.as_str()?) } else { Some((*target).clone()) }
        });
        secrets.push(BoundSecret { name: name.clone(), value: value.clone(), hosts: hosts.collect() });
    }
    Ok((policy, secrets))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Secret;

    fn descriptor() -> Descriptor {
        Descriptor {
            config_schema: json!({
                "type": "object", "required": ["url", "token"],
                "properties": {"url": {"type": "string"}, "level": {"enum": ["INFO", "ERROR"]}, "token": {"type": "string", "x-secret": true}},
            }),
            outbound: vec!["https://api.example.com".to_owned()],
            outbound_from_config: vec!["/url".to_owned()],
            secret_bindings: vec![
                ("token".to_owned(), "/url".to_owned()),
                ("key".to_owned(), "https://api.example.com".to_owned()),
            ],
            ..Descriptor::default()
        }
    }

    fn settings(config: serde_json::Value) -> PluginConfig {
        PluginConfig { config, ..PluginConfig::new("x") }
    }

    #[test]
    fn a_section_is_checked_against_the_schema_of_its_component() {
        let check = |config| check_config(&descriptor(), &settings(config)).err().unwrap_or_default();
        let all = [
            json!({"url": "https://a"}),
            json!({}),
            json!({"url": 5, "lvel": "x"}),
            json!({"url": "https://a", "level": "loud"}),
            json!({"url": "https://a", "token": "hush"}),
        ];
        insta::assert_snapshot!(all.map(check).join("\n"), @r"

        config.url: it is required
        config.url: expected text, found a number; config.lvel: unknown key; did you mean `level`?
        config.level: expected one of `INFO`, `ERROR`, found `loud`
        `token` is a secret: give it under `secrets`, not under `config`
        ");
    }

    #[test]
    fn a_secret_goes_where_its_component_says_and_nowhere_else() {
        let mut settings = settings(json!({"url": "https://own.example.org:8443/robot?x=1"}));
        settings.secrets = vec![("token".to_owned(), Secret::new("hush")), ("key".to_owned(), Secret::new("hush"))];
        let (policy, secrets) = policy(&descriptor(), &settings).unwrap();
        assert_eq!(policy.outbound, ["https://own.example.org:8443"], "what stands in its own section is granted, and no more");
        let hosts: Vec<_> = secrets.iter().map(|secret| (secret.name.as_str(), secret.hosts.join(" "))).collect();
        assert_eq!(hosts, [("token", "https://own.example.org:8443".to_owned()), ("key", "https://api.example.com".to_owned())]);
        settings.secrets.push(("tokn".to_owned(), Secret::new("hush")));
        insta::assert_snapshot!(super::policy(&descriptor(), &settings).unwrap_err(), @"it has no secret called `tokn`; did you mean `token`?");
    }

    #[test]
    fn what_does_no_harm_need_not_be_granted() {
        let asks = Capability::ALL.into_iter().collect();
        let granted = [Capability::Kv].into();
        assert_eq!(missing(&asks, &granted), [Capability::Metrics, Capability::Secrets]);
    }
}
