//! What the operator decided at run time: which plugins are switched on or off, and what they were granted.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use watchfire_types::Timestamp;

use super::types::Capability;
use crate::store::columns::{json, nanos, to_json};

/// What was decided about one plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Decision {
    /// Whether it runs; `None` if the configuration decides.
    pub(super) enabled: Option<bool>,
    /// What it was granted, if that was decided at run time.
    pub(super) grant: Option<Grant>,
}

/// What a plugin was granted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Grant {
    /// Capabilities, by name, beside those that do no harm.
    pub capabilities: Vec<Capability>,
    /// `scheme://host[:port]` patterns it may reach.
    pub outbound: Vec<String>,
    /// Its section of the configuration.
    #[schema(value_type = Object)]
    pub config: Value,
}

/// Returns all decisions, by plugin. One that this version cannot read counts as none.
pub(super) fn decisions(connection: &Connection) -> rusqlite::Result<BTreeMap<String, Decision>> {
    connection
        .prepare("SELECT name, decision FROM plugins")?
        .query_map([], |row| Ok((row.get(0)?, json(row, "decision").unwrap_or_default())))?
        .collect()
}

/// Stores what was decided about `name`.
pub(super) fn decide(connection: &Connection, name: &str, decision: &Decision, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO plugins (name, decision, decided_at) VALUES (?1, ?2, ?3)")?
        .execute(params![name, to_json(decision)?, nanos(now)])?;
    Ok(())
}

/// Forgets what was decided about `name`.
pub(super) fn forget(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM plugins WHERE name = ?1", [name])?;
    Ok(())
}
