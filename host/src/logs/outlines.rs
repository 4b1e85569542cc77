//! What is known of the blocks of one file without reading it: kept in memory, so that planning a search costs no disk.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rusqlite::Connection;
use watchfire_types::Day;

use super::matcher::BlockOutline;

/// A block with more services than this counts as one that may hold any: its list stays on disk.
const MAX_SERVICES: usize = 256;

/// One block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outline {
    pub(super) last_seq: u64,
    pub(super) day: Day,
    pub(super) rows: u64,
    pub(super) min_time: u64,
    pub(super) max_time: u64,
    pub(super) max_observed: u64,
    pub(super) severities: u32,
    /// All `service.name`s, sorted; `None` if there are too many to remember.
    pub(super) services: Option<Arc<[String]>>,
}

/// All blocks of a file by `first_seq`. Whoever changes the file tells of it after each commit.
#[derive(Debug, Default)]
pub(super) struct Outlines {
    blocks: BTreeMap<u64, Outline>,
    /// Lists of services in use: most blocks have the same.
    lists: HashSet<Arc<[String]>>,
}

impl Outline {
    /// Returns what decides whether the block may match.
    pub(super) fn to_match(&self, first_seq: u64) -> BlockOutline<'_> {
        BlockOutline {
            first_seq,
            last_seq: self.last_seq,
            min_time: self.min_time,
            max_time: self.max_time,
            severities: self.severities,
            services: self.services.as_deref(),
        }
    }
}

impl Outlines {
    /// Reads the outlines of a whole file.
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut outlines = Self::default();
        let mut statement = connection.prepare_cached(
            "SELECT first_seq, last_seq, day, rows, min_time, max_time, max_observed, severities, services FROM blocks",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let outline = Outline {
                last_seq: row.get::<_, i64>(1)? as u64,
                day: Day(row.get(2)?),
                rows: row.get::<_, i64>(3)? as u64,
                min_time: row.get::<_, i64>(4)? as u64,
                max_time: row.get::<_, i64>(5)? as u64,
                max_observed: row.get::<_, i64>(6)? as u64,
                severities: row.get(7)?,
                services: None,
            };
            outlines.insert(row.get::<_, i64>(0)? as u64, outline, row.get_ref(8)?.as_str()?);
        }
        Ok(outlines)
    }

    /// Adds a block whose `services` are a JSON list. The same block once more changes nothing.
    pub(super) fn insert(&mut self, first_seq: u64, mut outline: Outline, services: &str) {
        let services: Vec<String> = serde_json::from_str(services).unwrap_or_default();
        outline.services = (services.len() <= MAX_SERVICES).then(|| self.shared(services));
        self.blocks.insert(first_seq, outline);
    }

    pub(super) fn remove(&mut self, first_seq: u64) {
        self.blocks.remove(&first_seq);
    }

    pub(super) fn blocks(&self) -> impl Iterator<Item = (u64, &Outline)> {
        self.blocks.iter().map(|(first_seq, outline)| (*first_seq, outline))
    }

    fn shared(&mut self, services: Vec<String>) -> Arc<[String]> {
        if let Some(list) = self.lists.get(services.as_slice()) {
            return Arc::clone(list);
        }
        // Lists that no block has any more are forgotten before the next one is added to many.
        if self.lists.len() > self.blocks.len() {
            self.lists.retain(|list| Arc::strong_count(list) > 1);
        }
        let list: Arc<[String]> = services.into();
        self.lists.insert(Arc::clone(&list));
        list
    }
}
