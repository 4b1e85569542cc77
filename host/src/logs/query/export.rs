//! Results as files: NDJSON, CSV and Parquet, made while they are sent, of any number of rows.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use watchfire_types::LogRecord;

use super::field::Field;
use super::parquet::ParquetSink;
use super::plan::{Plan, Source};
use super::run::{Part, Question, RunError};
use super::scan::Control;
use super::table::Cell;
use crate::http::stream::{self, Lines};
use crate::http::{ApiError, Params};
use crate::logs::api::{FILTER_PARAMS, LogsApi, broken_off, question};
use crate::logs::{Logs, Skim};
use crate::store::StoreError;

/// Records read at a time.
const PAGE: usize = 20_000;

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(export))]
pub struct ApiDoc;

/// Returns the routes of exports.
pub fn routes() -> Router<LogsApi> {
    Router::new().route("/api/v1/export/logs", get(export))
}

/// What a column of a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
    Float,
    Bool,
    Time,
    Json,
}

/// A column of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// The columns of records as they are.
const RECORD: [(&str, Kind); 14] = [
    ("seq", Kind::Int),
    ("timestamp", Kind::Time),
    ("observed_timestamp", Kind::Time),
    ("level", Kind::Text),
    ("severity_number", Kind::Int),
    ("service", Kind::Text),
    ("body", Kind::Text),
    ("scope", Kind::Text),
    ("event_name", Kind::Text),
    ("trace_id", Kind::Text),
    ("span_id", Kind::Text),
    ("pattern", Kind::Int),
    ("attributes", Kind::Json),
    ("resource", Kind::Json),
];

/// Writes rows in one of the formats.
trait Sink {
    fn row(&mut self, cells: &[Cell]) -> std::io::Result<()>;
    fn record(&mut self, record: &LogRecord) -> std::io::Result<()> {
        self.row(&cells(record))
    }
    fn finish(self: Box<Self>) -> std::io::Result<()>;
}

/// Shapes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Ndjson,
    Csv,
    Parquet,
}

impl Format {
    fn content_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    fn file_name(self) -> &'static str {
        match self {
            Self::Ndjson => "attachment; filename=\"logs.ndjson\"",
            Self::Csv => "attachment; filename=\"logs.csv\"",
            Self::Parquet => "attachment; filename=\"logs.parquet\"",
        }
    }

    fn sink<'a>(self, columns: Vec<Column>, lines: &'a mut Lines) -> std::io::Result<Box<dyn Sink + 'a>> {
        Ok(match self {
            Self::Ndjson => Box::new(NdjsonSink { columns, lines }),
            Self::Csv => {
                let mut csv = csv::Writer::from_writer(lines);
                csv.write_record(columns.iter().map(|column| &column.name))?;
                Box::new(CsvSink(csv))
            }
            Self::Parquet => Box::new(ParquetSink::new(columns, lines)?),
        })
    }
}

/// Streams all records that a query means, oldest first by arrival, without a cap; with pipes, what they make of them.
#[utoipa::path(get, path = "/api/v1/export/logs", tag = "logs",
    params(("since" = Option<String>, Query, description = "event time, as for a search"), ("until" = Option<String>, Query, description = "as `since`, exclusive"),
        ("q" = Option<String>, Query, description = "conditions and pipes"), ("level" = Option<String>, Query), ("service" = Option<Vec<String>>, Query), ("attribute" = Option<Vec<String>>, Query), ("zone" = Option<String>, Query),
        ("format" = Option<String>, Query, description = "`ndjson` (default), `csv` or `parquet`"),
        ("fields" = Option<String>, Query, description = "only these fields, separated by commas: as the pipe `fields`"),
        ("after" = Option<u64>, Query, description = "begin after this `seq`; not together with pipes that sort or count"),
        ("timeout" = Option<String>, Query, description = "breaks off after so long: never if not given")),
    responses((status = 200, content_type = "application/x-ndjson", description = "one LogRecord a line, or a file of another format"), (status = 400, body = crate::http::error::ErrorBody)))]
async fn export(State(api): State<LogsApi>, params: Params) -> Result<Response, ApiError> {
    let known: Vec<&str> = FILTER_PARAMS.iter().copied().chain(["format", "fields", "after", "timeout"]).collect();
    params.only(&known)?;
    let mut question = question(&params, api.clock.now(), usize::MAX)?;
    if let Some(fields) = params.one("fields") {
        let pipe = super::Query::parse(&format!("| fields {fields}"))
            .map_err(|error| ApiError::bad_request(format!("`fields`: {error}")))?;
        question.query.pipes.extend(pipe.pipes);
    }
    let plan = Plan::new(&question.query).map_err(ApiError::bad_request)?;
    let format = match params.word("format", &["ndjson", "csv", "parquet"])? {
        Some("csv") => Format::Csv,
        Some("parquet") => Format::Parquet,
        _ => Format::Ndjson,
    };
    let after = params.number("after", 0, u64::MAX)?;
    let in_order = plan.source == Source::Newest { limit: None };
    if after > 0 && !in_order {
        return Err(ApiError::bad_request("`after`: pipes that sort or count look at all records"));
    }
    let timeout = super::api::timeout(&params)?;
    let ticket = api.queries.enter(params.one("q").unwrap_or("*"), api.clock.now(), timeout)?;
    let logs = api.logs;
    let mut response = stream::of_type(format.content_type(), move |lines| {
        let result = if in_order {
            in_order_of_arrival(&logs, &question, plan.fields.as_deref(), after, &ticket.control, format, lines)
        } else {
            answered(&logs, &question, &ticket, format, lines)
        };
        match result {
            Err(Failure::Store(error)) => Err(error),
            Err(Failure::Asked(message)) => Err(broken_off(&message)),
            // Nobody may take a part for the whole.
            Ok(()) if ticket.control.stopped().is_some() => Err(broken_off("the export was stopped before its end")),
            Ok(()) | Err(Failure::Gone) => Ok(()),
        }
    });
    if response.status().is_success() && format != Format::Ndjson {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(format.file_name()));
    }
    Ok(response.into_response())
}

/// Why an export ended early.
enum Failure {
    /// Nobody reads it any more.
    Gone,
    Store(StoreError),
    Asked(String),
}

impl From<std::io::Error> for Failure {
    fn from(_: std::io::Error) -> Self {
        Self::Gone
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Store(error) => Self::Store(error),
            RunError::Asked(message) => Self::Asked(message),
        }
    }
}

fn in_order_of_arrival(
    logs: &Logs,
    question: &Question,
    fields: Option<&[Field]>,
    mut cursor: u64,
    control: &Control,
    format: Format,
    lines: &mut Lines,
) -> Result<(), Failure> {
    let matcher = question.matcher(logs);
    // What arrives while the export runs is not part of it.
    let end = *logs.committed().borrow();
    let skim = Skim { columns: &|_| Some(matcher.wants().columns), rows: &|batch| matcher.matching_rows(batch) };
    let mut sink = format.sink(columns_of(fields), lines)?;
    while cursor < end && !control.is_over() {
        let page = logs.skim_after(cursor, PAGE, &skim)?;
        let Some(last) = page.last else { break };
        cursor = last;
        for row in (0..page.batch.len()).filter(|row| page.batch.seq[*row] <= end) {
            match fields {
                Some(fields) => sink.row(&fields.iter().map(|field| Cell::of(field, &page.batch, row)).collect::<Vec<_>>())?,
                None => sink.record(&page.batch.record(row))?,
            }
        }
    }
    Ok(sink.finish()?)
}

/// Writes what the pipes make of the records: a bounded number of rows, so that the kinds of their columns can be seen first.
fn answered(
    logs: &Logs,
    question: &Question,
    ticket: &super::api::Ticket,
    format: Format,
    lines: &mut Lines,
) -> Result<(), Failure> {
    let mut names = Vec::new();
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let mut records: Vec<LogRecord> = Vec::new();
    logs.run(question, &ticket.control, &mut |part| {
        match part {
            Part::Columns(columns) => names = columns,
            Part::Row(row) => rows.push(row),
            Part::Record(record) => records.push(*record),
        }
        true
    })?;
    let columns = if names.is_empty() {
        columns_of(None)
    } else {
        let kind = |index: usize| kind_of(rows.iter().map(|row| &row[index]));
        names.into_iter().enumerate().map(|(index, name)| Column { name, kind: kind(index) }).collect()
    };
    let mut sink = format.sink(columns, lines)?;
    rows.iter().try_for_each(|row| sink.row(row))?;
    records.iter().try_for_each(|record| sink.record(record))?;
    Ok(sink.finish()?)
}

fn columns_of(fields: Option<&[Field]>) -> Vec<Column> {
    let Some(fields) = fields else {
        return RECORD.iter().map(|(name, kind)| Column { name: (*name).to_owned(), kind: *kind }).collect();
    };
    let kind = |field: &Field| match field {
        Field::Timestamp => Kind::Time,
        Field::Seq | Field::Pattern => Kind::Int,
        _ => Kind::Text,
    };
    fields.iter().map(|field| Column { name: field.name().to_owned(), kind: kind(field) }).collect()
}

/// Returns the kind that fits all of `cells`.
fn kind_of<'a>(cells: impl Iterator<Item = &'a Cell>) -> Kind {
    let mut all: Option<Kind> = None;
    for cell in cells {
        let kind = match cell {
            Cell::None => continue,
            Cell::Int(_) | Cell::Id(_) => Kind::Int,
            Cell::Float(_) => Kind::Float,
            Cell::Bool(_) => Kind::Bool,
            Cell::Time(_) => Kind::Time,
            Cell::Json(_) => Kind::Json,
            Cell::Text(_) | Cell::Level(_) => Kind::Text,
        };
        all = Some(match all {
            None => kind,
            Some(all) if all == kind => kind,
            Some(Kind::Int | Kind::Float) if matches!(kind, Kind::Int | Kind::Float) => Kind::Float,
            Some(_) => return Kind::Text,
        });
    }
    all.unwrap_or(Kind::Text)
}

/// Returns a record as cells of [`RECORD`].
fn cells(record: &LogRecord) -> Vec<Cell> {
    let json = |attributes: &[(String, watchfire_types::Value)]| {
        let map: serde_json::Map<String, serde_json::Value> =
            attributes.iter().map(|(key, value)| (key.clone(), value.as_ref().to_json())).collect();
        if map.is_empty() { Cell::None } else { Cell::Json(serde_json::Value::Object(map).to_string()) }
    };
    RECORD
        .iter()
        .map(|(name, _)| match *name {
            "observed_timestamp" => Cell::Time(record.observed_timestamp),
            "severity_number" => Cell::Int(i64::from(record.severity_number)),
            "attributes" => json(&record.attributes),
            "resource" => json(&record.resource),
            name => Cell::of_record(&Field::from_name(name), record),
        })
        .collect()
}

struct NdjsonSink<'a> {
    columns: Vec<Column>,
    lines: &'a mut Lines,
}

impl NdjsonSink<'_> {
    fn push(&mut self, row: &impl serde::Serialize) -> std::io::Result<()> {
        if self.lines.push(row) { Ok(()) } else { Err(std::io::ErrorKind::BrokenPipe.into()) }
    }
}

impl Sink for NdjsonSink<'_> {
    fn row(&mut self, cells: &[Cell]) -> std::io::Result<()> {
        let values = cells.iter().map(|cell| serde_json::to_value(cell).unwrap_or_default());
        let object: serde_json::Map<_, _> = self.columns.iter().map(|column| column.name.clone()).zip(values).collect();
        self.push(&object)
    }

    fn record(&mut self, record: &LogRecord) -> std::io::Result<()> {
        self.push(record)
    }

    fn finish(self: Box<Self>) -> std::io::Result<()> {
        Ok(())
    }
}

struct CsvSink<'a>(csv::Writer<&'a mut Lines>);

impl Sink for CsvSink<'_> {
    fn row(&mut self, cells: &[Cell]) -> std::io::Result<()> {
        Ok(self.0.write_record(cells.iter().map(Cell::display))?)
    }

    fn finish(mut self: Box<Self>) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Sink for ParquetSink<'_> {
    fn row(&mut self, cells: &[Cell]) -> std::io::Result<()> {
        self.add(cells)
    }

    fn finish(self: Box<Self>) -> std::io::Result<()> {
        self.close()
    }
}
