//! Configurations, rules and receivers that many cases begin with.

use std::path::Path;

use serde_json::{Map, Value, json};
use watchfire::config::Secret;
use watchfire::delivery::types::{Channel, Receiver, Webhook, WebhookBody};

/// Returns a configuration file for a host that does nothing by itself, with its data in `data`.
pub fn minimal_configuration(data: &Path) -> Value {
    json!({
        "server": {"listen": "127.0.0.1:0", "otlp_listen": "", "otlp_grpc_listen": ""},
        // Everything is stored, however full the disk is on which the tests run.
        "storage": {
            "data_dir": data, "ballast_bytes": 0,
            "shed_debug_below_bytes": 0, "shed_info_below_bytes": 0, "refuse_below_bytes": 0,
        },
        "inputs": {"own_log": false, "files": []},
        "performance": {"auto_start": false},
        "alerting": {"starter_rules": false},
    })
}

/// Puts `changes` into `base`: objects are merged key by key, anything else is replaced.
pub fn merge(base: &mut Value, changes: Value) {
    match (base, changes) {
        (Value::Object(base), Value::Object(changes)) => merge_objects(base, changes),
        (base, changes) => *base = changes,
    }
}

fn merge_objects(base: &mut Map<String, Value>, changes: Map<String, Value>) {
    for (key, value) in changes {
        merge(base.entry(key).or_insert(Value::Null), value);
    }
}

/// Returns receiver `name`, which posts JSON to `url`.
pub fn webhook_receiver(name: &str, url: &str) -> Receiver {
    let webhook = Webhook { url: Secret::new(url), headers: Vec::new(), body: WebhookBody::Json };
    Receiver { name: name.to_owned(), channel: Channel::Webhook(webhook), send_resolved: true }
}

/// Returns rule `error burst`: `threshold` records of level ERROR within a minute, per service.
pub fn error_burst_rule(threshold: u32) -> Value {
    json!({
        "name": "error burst", "logs": {"level": "ERROR"}, "group_by": ["service.name"],
        "window": "1m", "comparison": ">=", "threshold": threshold, "level": "ERROR",
        "annotations": {"summary": "{{value}} errors from {{labels['service.name']}}"},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_keeps_what_is_not_named() {
        let mut base = json!({"server": {"listen": "a", "token": "t"}, "list": [1]});
        merge(&mut base, json!({"server": {"listen": "b"}, "list": [2, 3]}));
        assert_eq!(base, json!({"server": {"listen": "b", "token": "t"}, "list": [2, 3]}));
    }
}
