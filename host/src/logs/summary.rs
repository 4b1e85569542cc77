//! What a block holds, counted: how many records of each minute, severity, service and pattern.
//!
//! Layout: format version (1 byte), CRC-32 of the rest (u32, little-endian), then LEB128 varints: the services, each with its length;
//! then, for each service, severity and pattern that occur together: service, severity, pattern (less the one before it), how many
//! minutes there are, and each minute (less the one before it) with its count. All are sorted, so that differences are small.

use rustc_hash::{FxBuildHasher, FxHashMap};
use watchfire_types::LogBatch;
use watchfire_types::log::service_of;

use super::varint::{Cut, Reader, put, put_bytes, put_signed};

/// Version of the layout above.
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 5;
const MINUTE_NANOS: u64 = 60_000_000_000;
/// A summary that takes more than this, and half a byte for each record, is left out: reading the block is as good.
const MOST_BYTES: usize = 1024;

/// How many records a block has of one minute, severity, service and pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SummaryRow<'a> {
    /// Minute of event time, counted from 1970.
    pub minute: u64,
    /// OpenTelemetry severity number.
    pub severity: u8,
    /// `service.name`; empty for none.
    pub service: &'a str,
    /// Id of the pattern; 0 for none.
    pub pattern: u64,
    /// Records; at least one.
    pub count: u64,
}

/// Why a summary cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SummaryError {
    #[error("the summary is cut short or a length is wrong")]
    Length,
    #[error("the summary has format {0}, this program knows format {FORMAT}")]
    Format(u8),
    #[error("the checksum of the summary does not match")]
    Checksum,
}

impl From<Cut> for SummaryError {
    fn from(_: Cut) -> Self {
        Self::Length
    }
}

/// Service (as its place among the sorted services), severity, pattern, minute: the order in which cells are stored.
type Cell = (u32, u8, u64, u64);

/// What a batch holds, counted.
struct Counted<'a> {
    services: Vec<&'a str>,
    cells: Vec<(Cell, u64)>,
}

impl<'a> Counted<'a> {
    /// Counts the rows of `batch`, of which times, severities, resources and patterns are looked at.
    fn new(batch: &'a LogBatch) -> Self {
        let names: Vec<&str> = batch.resources.iter().map(|resource| service_of(resource).unwrap_or("")).collect();
        let mut services = names.clone();
        // A batch whose records have no resource at all still says index 0.
        services.push("");
        services.sort_unstable();
        services.dedup();
        let place = |name: &&str| services.binary_search(name).unwrap_or(0) as u32;
        let places: Vec<u32> = names.iter().map(place).collect();
        let nameless = place(&"");
        let mut counts: FxHashMap<Cell, u64> = FxHashMap::with_hasher(FxBuildHasher);
        for row in 0..batch.len() {
            let service = places.get(batch.resource[row] as usize).copied().unwrap_or(nameless);
            let pattern = batch.pattern.get(row).copied().unwrap_or(0);
            *counts.entry((service, batch.severity[row], pattern, batch.time[row] / MINUTE_NANOS)).or_default() += 1;
        }
        let mut cells: Vec<(Cell, u64)> = counts.into_iter().collect();
        cells.sort_unstable();
        Self { services, cells }
    }
}

/// Calls `each` with what `batch` holds.
pub(super) fn count(batch: &LogBatch, each: &mut dyn FnMut(&SummaryRow<'_>)) {
    let Counted { services, cells } = Counted::new(batch);
    for ((service, severity, pattern, minute), count) in cells {
        each(&SummaryRow { minute, severity, service: services[service as usize], pattern, count });
    }
}

/// Returns the summary of `batch`, or nothing if it would be large beside the block.
pub(super) fn encode(batch: &LogBatch) -> Option<Vec<u8>> {
    let most = MOST_BYTES + batch.len() / 2;
    let Counted { services, cells } = Counted::new(batch);
    if services.iter().map(|name| name.len() + 1).sum::<usize>() + cells.len() * 2 > most {
        return None;
    }
    let mut summary = vec![0; HEADER_BYTES];
    put(&mut summary, services.len() as u64);
    for name in &services {
        put_bytes(&mut summary, name.as_bytes());
    }
    let series: Vec<_> = cells.chunk_by(|(left, _), (right, _)| (left.0, left.1, left.2) == (right.0, right.1, right.2)).collect();
    put(&mut summary, series.len() as u64);
    let mut last_pattern = 0;
    for minutes in series {
        let ((service, severity, pattern, _), _) = minutes[0];
        put(&mut summary, u64::from(service));
        summary.push(severity);
        put_signed(&mut summary, pattern.wrapping_sub(last_pattern) as i64);
        last_pattern = pattern;
        put(&mut summary, minutes.len() as u64);
        let mut last_minute = 0;
        for ((_, _, _, minute), count) in minutes {
            put(&mut summary, minute - last_minute);
            put(&mut summary, *count);
            last_minute = *minute;
        }
    }
    summary[0] = FORMAT;
    let checksum = crc32fast::hash(&summary[HEADER_BYTES..]);
    summary[1..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    (summary.len() <= most).then_some(summary)
}

/// A stored summary, checked.
#[derive(Debug)]
pub(super) struct Summary<'a>(&'a [u8]);

impl<'a> Summary<'a> {
    /// Reads `stored` once, so that nothing is given out of one that ends in the middle. Never panics, whatever the bytes.
    pub(super) fn new(stored: &'a [u8]) -> Result<Self, SummaryError> {
        let (header, rest) = stored.split_first_chunk::<HEADER_BYTES>().ok_or(SummaryError::Length)?;
        if header[0] != FORMAT {
            return Err(SummaryError::Format(header[0]));
        }
        if crc32fast::hash(rest).to_le_bytes() != header[1..] {
            return Err(SummaryError::Checksum);
        }
        read(rest, &mut |_| ())?;
        Ok(Self(rest))
    }

    /// Calls `each` with every row.
    pub(super) fn for_each(&self, each: &mut dyn FnMut(&SummaryRow<'_>)) {
        let whole = read(self.0, each);
        debug_assert!(whole.is_ok(), "it was read when it was made");
    }
}

fn read(rest: &[u8], each: &mut dyn FnMut(&SummaryRow<'_>)) -> Result<(), SummaryError> {
    let mut reader = Reader(rest);
    let services: Vec<&str> = (0..reader.count()?).map(|_| reader.text()).collect::<Result<_, _>>()?;
    let mut pattern = 0_u64;
    for _ in 0..reader.count()? {
        let service = *services.get(reader.number()? as usize).ok_or(SummaryError::Length)?;
        let severity = reader.byte()?;
        pattern = pattern.wrapping_add(reader.signed()? as u64);
        let mut minute = 0_u64;
        for _ in 0..reader.count()? {
            minute = minute.wrapping_add(reader.number()?);
            each(&SummaryRow { minute, severity, service, pattern, count: reader.number()? });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::block::tests::batches;
    use super::*;

    type Owned = (u64, u8, String, u64, u64);

    fn owned(row: &SummaryRow<'_>) -> Owned {
        (row.minute, row.severity, row.service.to_owned(), row.pattern, row.count)
    }

    fn read_all(stored: &[u8]) -> Result<Vec<Owned>, SummaryError> {
        let mut rows = Vec::new();
        Summary::new(stored)?.for_each(&mut |row| rows.push(owned(row)));
        Ok(rows)
    }

    proptest! {
        #[test]
        fn a_summary_says_what_is_counted(batch in batches()) {
            let mut counted = Vec::new();
            count(&batch, &mut |row| counted.push(owned(row)));
            prop_assert_eq!(counted.iter().map(|row| row.4).sum::<u64>(), batch.len() as u64);
            prop_assert_eq!(read_all(&encode(&batch).unwrap()).unwrap(), counted);
        }

        #[test]
        fn damage_is_noticed(batch in batches(), position in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut stored = encode(&batch).unwrap();
            let position = position.index(stored.len());
            stored[position] ^= 1 << bit;
            prop_assert!(read_all(&stored).is_err());
            prop_assert!(read_all(&stored[..position]).is_err());
        }

        #[test]
        fn any_bytes_are_refused_calmly(rest in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut stored = vec![FORMAT];
            stored.extend(crc32fast::hash(&rest).to_le_bytes());
            stored.extend(rest);
            let _ = read_all(&stored);
        }
    }

    #[test]
    fn a_summary_as_large_as_its_block_is_left_out() {
        let mut batch = LogBatch::default();
        for row in 0..10_000 {
            batch.push(&watchfire_types::log::RecordHead::default(), watchfire_types::ValueRef::Null);
            batch.pattern.push(row * 1_000_003);
        }
        assert_eq!(encode(&batch), None);
    }
}
