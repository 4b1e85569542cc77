//! Which Sentry events the log has from before the start, so that one that is sent again is known: often the answer was lost because the host ended.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use watchfire_types::attributes::keys;
use watchfire_types::{LogBatch, Timestamp, ValueRef};

use crate::logs::block::Columns;
use crate::logs::{Logs, Skim};
use crate::store::StoreError;

/// How old an event may be, by its arrival, that is looked for.
pub(super) const LOOKED_BACK: Duration = Duration::from_secs(3600);
/// How long it is looked for them: events that come meanwhile wait.
const LOOKING: Duration = Duration::from_secs(1);
/// Records that are looked through first, from the end of the log; then four times as many before them, and so on.
const FIRST_RECORDS: u64 = 4_096;
const READ_RECORDS: usize = 16_384;

type Events = Vec<(u64, String)>;

/// Returns project and id of the events that arrived at `since` or later, the oldest first; the latest ones, if there are more than can be
/// found in a second. Blocks on disk.
pub(super) fn stored(logs: &Logs, since: Timestamp) -> Events {
    let began = Instant::now();
    let is_late = || began.elapsed() >= LOOKING;
    let stored = *logs.committed().borrow();
    let outcome = logs.cursor_at_arrival(since).and_then(|oldest| {
        let (mut parts, mut end, mut count) = (Vec::new(), stored, FIRST_RECORDS);
        while end > oldest && !is_late() {
            let begin = end.saturating_sub(count).max(oldest);
            parts.push(between(logs, begin, end, &is_late)?);
            (end, count) = (begin, count * 4);
        }
        Ok(parts)
    });
    match outcome {
        Ok(parts) => parts.into_iter().rev().flatten().collect(),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "it cannot be looked up which events Sentry SDKs have sent: what they send again is counted again"
            );
            Vec::new()
        }
    }
}

/// Returns the events of the records after `begin` up to `end`.
fn between(logs: &Logs, begin: u64, end: u64, is_late: &dyn Fn() -> bool) -> Result<Events, StoreError> {
    let found: RefCell<Events> = RefCell::default();
    let columns = |head: &LogBatch| {
        let has_key = head.dict.find(keys::SENTRY_PROJECT).is_some();
        has_key.then_some(Columns { attributes: true, ..Columns::HEAD })
    };
    // Taken here, so that nothing else of the records is read.
    let rows = |batch: &LogBatch| {
        let event = |row: usize| match (
            batch.find_attribute(row, keys::SENTRY_PROJECT),
            batch.find_attribute(row, keys::SENTRY_EVENT_ID),
        ) {
            (Some(ValueRef::Int(project)), Some(ValueRef::Text(id))) => Some((project as u64, id.to_owned())),
            _ => None,
        };
        found.borrow_mut().extend((0..batch.len()).filter_map(event));
        Vec::new()
    };
    let mut cursor = begin;
    while cursor < end && !is_late() {
        let limit = READ_RECORDS.min((end - cursor) as usize);
        let skimmed = logs.skim_after(cursor, limit, &Skim { columns: &columns, rows: &rows })?;
        let Some(last) = skimmed.last else { break };
        cursor = last;
    }
    Ok(found.into_inner())
}

#[cfg(test)]
mod tests {
    use watchfire_types::log::RecordHead;

    use super::*;
    use crate::clock::Clock;
    use crate::store::DataDirectory;
    use crate::telemetry::SelfMetrics;

    #[tokio::test]
    async fn events_of_the_last_hour_are_found_with_their_projects() {
        let folder = tempfile::tempdir().unwrap();
        let _directory = DataDirectory::open(folder.path()).unwrap();
        let clock = Clock::manual(Timestamp::from_seconds(20_000 * 86_400 + 43_200));
        let logs = Logs::open(folder.path(), Duration::from_secs(30 * 86_400), &clock, &SelfMetrics::default()).unwrap();
        let put = async |project: i64, id: &str| {
            let mut batch = LogBatch::default();
            batch.push(&RecordHead { observed: clock.now(), ..RecordHead::default() }, ValueRef::Text("it failed"));
            batch.attribute(keys::SENTRY_EVENT_ID, ValueRef::Text(id));
            batch.attribute(keys::SENTRY_PROJECT, ValueRef::Int(project));
            batch.push(&RecordHead { observed: clock.now(), ..RecordHead::default() }, ValueRef::Text("a plain line"));
            logs.ingest(batch, Vec::new()).await.unwrap();
        };
        put(1, "old").await;
        clock.advance(2 * LOOKED_BACK);
        put(1, "a").await;
        put(2, "b").await;
        let found = stored(&logs, clock.now().minus(LOOKED_BACK));
        assert_eq!(found, [(1, "a".to_owned()), (2, "b".to_owned())]);
        logs.close();
    }
}
