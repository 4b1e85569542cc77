//! Rows as JSON, NDJSON or CSV. Nothing of a row is lost in any of them.

use std::io::Write;

use serde_json::{Map, Value};

use crate::cli::args::{ExportFormat, Kind};

/// Columns of the CSV. What has no column of its own stands in `rest`, as JSON.
const COLUMNS: [&str; 8] = ["what", "timestamp", "severity", "service", "name", "value", "text", "rest"];

/// Where the column of each name is found in a row, the first that is there.
const SOURCES: [(&str, &[&str]); 6] = [
    ("timestamp", &["timestamp", "at", "since"]),
    ("severity", &["severity_text", "level", "severity"]),
    ("service", &["service"]),
    ("name", &["name", "rule", "type"]),
    ("value", &["value"]),
    ("text", &["body", "message", "reason"]),
];

/// Returns the word for `kind` in paths and files.
pub(super) fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Logs => "logs",
        Kind::Metrics => "metrics",
        Kind::Errors => "errors",
        Kind::Alerts => "alerts",
    }
}

/// An export that is being written.
pub(super) struct Export<'a> {
    shape: Shape<'a>,
    kind: Kind,
    /// Whether there are several kinds, so that lines must say which they are.
    mixed: bool,
    rows: u64,
}

enum Shape<'a> {
    Json { out: &'a mut dyn Write, kinds: usize, rows_of_kind: u64 },
    Ndjson(&'a mut dyn Write),
    Csv(Box<csv::Writer<&'a mut dyn Write>>),
}

impl<'a> Export<'a> {
    pub(super) fn new(out: &'a mut dyn Write, format: ExportFormat, mixed: bool) -> anyhow::Result<Self> {
        let shape = match format {
            ExportFormat::Json => {
                out.write_all(b"{")?;
                Shape::Json { out, kinds: 0, rows_of_kind: 0 }
            }
            // The host itself makes Parquet.
            ExportFormat::Ndjson | ExportFormat::Parquet => Shape::Ndjson(out),
            ExportFormat::Csv => {
                let mut csv = csv::Writer::from_writer(out);
                csv.write_record(COLUMNS)?;
                Shape::Csv(Box::new(csv))
            }
        };
        Ok(Self { shape, kind: Kind::Logs, mixed, rows: 0 })
    }

    /// Returns how many rows have been written.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Begins the rows of `kind`.
    pub(super) fn begin(&mut self, kind: Kind) -> std::io::Result<()> {
        self.kind = kind;
        if let Shape::Json { out, kinds, rows_of_kind } = &mut self.shape {
            write!(out, "{}\n\"{}\": [", if *kinds == 0 { "" } else { "," }, name(kind))?;
            *kinds += 1;
            *rows_of_kind = 0;
        }
        Ok(())
    }

    /// Writes a row, which is a JSON object.
    pub(super) fn row(&mut self, line: &str) -> anyhow::Result<()> {
        self.rows += 1;
        match &mut self.shape {
            Shape::Json { out, rows_of_kind, .. } => {
                serde_json::from_str::<&serde_json::value::RawValue>(line)?;
                write!(out, "{}\n{line}", if *rows_of_kind == 0 { "" } else { "," })?;
                *rows_of_kind += 1;
            }
            Shape::Ndjson(out) if !self.mixed => {
                serde_json::from_str::<&serde_json::value::RawValue>(line)?;
                writeln!(out, "{line}")?;
            }
            Shape::Ndjson(out) => {
                let mut row = Map::from_iter([("what".to_owned(), name(self.kind).into())]);
                row.extend(serde_json::from_str::<Map<String, Value>>(line)?);
                writeln!(out, "{}", Value::Object(row))?;
            }
            Shape::Csv(csv) => csv.write_record(record(self.kind, serde_json::from_str(line)?))?,
        }
        Ok(())
    }

    /// Ends the rows of this kind.
    pub(super) fn end(&mut self) -> std::io::Result<()> {
        if let Shape::Json { out, .. } = &mut self.shape {
            out.write_all(b"\n]")?;
        }
        Ok(())
    }

    /// Ends the export and returns how many rows it has.
    pub(super) fn finish(self) -> anyhow::Result<u64> {
        match self.shape {
            Shape::Json { out, .. } => {
                out.write_all(b"\n}\n")?;
                out.flush()?;
            }
            Shape::Ndjson(out) => out.flush()?,
            Shape::Csv(mut csv) => csv.flush()?,
        }
        Ok(self.rows)
    }
}

/// Returns the cells of a row.
fn record(kind: Kind, mut row: Map<String, Value>) -> Vec<String> {
    // A sample keeps its name and labels together, and an alert may keep its rule so: they are laid open.
    if let Some(Value::Object(series)) = row.get("series").cloned() {
        row.shift_remove("series");
        row.extend(series);
    }
    let service = row.get_mut("resource").and_then(Value::as_object_mut).and_then(|resource| resource.shift_remove("service.name"));
    if let Some(service) = service {
        row.entry("service").or_insert(service);
    }
    let mut cells = vec![name(kind).to_owned()];
    for (_, keys) in SOURCES {
        let key = keys.iter().find(|key| row.get(**key).is_some_and(|value| !value.is_null()));
        let value = key.and_then(|key| row.shift_remove(*key)).unwrap_or_default();
        cells.push(match value {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        });
    }
    cells.push(Value::Object(row).to_string());
    cells
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn export(format: ExportFormat, kinds: &[(Kind, &[Value])]) -> String {
        let mut out = Vec::new();
        let mut export = Export::new(&mut out, format, kinds.len() > 1).unwrap();
        for (kind, rows) in kinds {
            export.begin(*kind).unwrap();
            rows.iter().for_each(|row| export.row(&row.to_string()).unwrap());
            export.end().unwrap();
        }
        export.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    fn some() -> (Value, Value) {
        let log = json!({"seq": "1", "timestamp": "2026-11-22T08:30:00Z", "severity_number": 17, "severity_text": "ERROR", "body": "a, \"b\"\nc",
            "attributes": {"k": 1}, "resource": {"service.name": "api", "host.name": "h"}});
        let sample = json!({"series": {"name": "system.cpu_percent", "labels": [["cpu", "0"]]}, "timestamp": "2026-11-22T08:30:00Z", "value": 1.5});
        (log, sample)
    }

    #[test]
    fn csv_has_one_header_and_keeps_everything() {
        let (log, sample) = some();
        insta::assert_snapshot!(export(ExportFormat::Csv, &[(Kind::Logs, &[log]), (Kind::Metrics, &[sample])]), @r#"
        what,timestamp,severity,service,name,value,text,rest
        logs,2026-11-22T08:30:00Z,ERROR,api,,,"a, ""b""
        c","{""seq"":""1"",""severity_number"":17,""attributes"":{""k"":1},""resource"":{""host.name"":""h""}}"
        metrics,2026-11-22T08:30:00Z,,,system.cpu_percent,1.5,,"{""labels"":[[""cpu"",""0""]]}"
        "#);
    }

    #[test]
    fn json_has_a_list_for_each_kind() {
        let (log, sample) = some();
        let text = export(
            ExportFormat::Json,
            &[(Kind::Logs, &[log.clone(), log.clone()]), (Kind::Errors, &[]), (Kind::Metrics, std::slice::from_ref(&sample))],
        );
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value, json!({"logs": [log, log], "errors": [], "metrics": [sample]}));
    }

    #[test]
    fn ndjson_says_what_a_line_is_only_if_it_must() {
        let (log, sample) = some();
        assert_eq!(export(ExportFormat::Ndjson, &[(Kind::Logs, std::slice::from_ref(&log))]), format!("{log}\n"));
        let mixed = export(ExportFormat::Ndjson, &[(Kind::Logs, &[log]), (Kind::Metrics, &[sample])]);
        assert!(mixed.lines().last().unwrap().starts_with(r#"{"what":"metrics","#), "{mixed}");
    }

    proptest! {
        #[test]
        fn a_csv_row_reads_back(body in ".*", key in "[a-z.]{1,9}", value in any::<i64>()) {
            let row = json!({"body": body, "attributes": {key: value}});
            let text = export(ExportFormat::Csv, &[(Kind::Logs, &[row])]);
            let records: Vec<csv::StringRecord> = csv::Reader::from_reader(text.as_bytes()).records().map(Result::unwrap).collect();
            prop_assert_eq!(records.len(), 1);
            prop_assert_eq!(&records[0][6], &body);
            let rest: Value = serde_json::from_str(&records[0][7]).unwrap();
            prop_assert_eq!(rest["attributes"].as_object().unwrap().values().next().unwrap().as_i64(), Some(value));
        }
    }
}
