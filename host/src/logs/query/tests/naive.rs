//! The language once more, over one record at a time and without any cleverness.

use watchfire_types::{LogBatch, LogRecord, Severity};

use crate::logs::query::ast::{Expr, Place, Test};
use crate::logs::query::field::Field;
use crate::logs::query::node::Meaning;
use crate::logs::query::term::Term;

/// Returns whether row `row` of `batch` meets `expr`.
pub(super) fn matches(expr: &Expr, batch: &LogBatch, row: usize, meaning: &Meaning<'_>) -> bool {
    let record = batch.record(row);
    let texts = |place: Place| -> Vec<Vec<u8>> {
        let body = batch.body.data.get(row).to_vec();
        let attributes = batch.attribute_range(row).map(|index| batch.attribute_value.data.get(index).to_vec());
        let attributes: Vec<_> = if place == Place::Anywhere { attributes.collect() } else { Vec::new() };
        std::iter::once(body).chain(attributes).collect()
    };
    match expr {
        Expr::All => true,
        Expr::And(parts) => parts.iter().all(|part| matches(part, batch, row, meaning)),
        Expr::Or(parts) => parts.iter().any(|part| matches(part, batch, row, meaning)),
        Expr::Not(inner) => !matches(inner, batch, row, meaning),
        // What a whole word is has tests of its own.
        Expr::Text { place, text, prefix } => texts(*place).iter().any(|found| Term::new(text, *prefix).is_in(found)),
        Expr::Pattern { place, regex } => {
            let regex = regex::bytes::Regex::new(regex).unwrap();
            texts(*place).iter().any(|text| regex.is_match(text))
        }
        Expr::Level { least, most } => record.severity_number >= *least && record.severity_number <= *most,
        Expr::Since(moment) => record.timestamp >= moment.resolve(meaning.now, meaning.zone),
        Expr::Until(moment) => record.timestamp < moment.resolve(meaning.now, meaning.zone),
        Expr::Field { field: Field::Pattern, test: Test::Is(id) } => {
            let ids = (meaning.patterns)(id.parse().unwrap());
            ids.iter().any(|id| *id != 0 && record.pattern == id.to_string())
        }
        Expr::Field { field, test } => holds(test, value(field, &record), matches!(field, Field::Seq | Field::Pattern)),
    }
}

fn holds(test: &Test, value: Option<String>, by_number: bool) -> bool {
    match (test, value) {
        (Test::Is(wanted), value) => value.unwrap_or_default() == *wanted,
        (_, None) => false,
        (Test::Begins(beginning), Some(value)) => value.starts_with(beginning),
        (Test::Present, Some(value)) => !value.is_empty(),
        (Test::Compare(order, bound), Some(value)) if by_number => {
            order.holds(value.parse::<u64>().unwrap().cmp(&bound.parse::<u64>().unwrap()))
        }
        (Test::Compare(order, bound), Some(value)) => match bound.parse::<f64>() {
            Ok(bound) => {
                let number = value.parse::<f64>().ok().filter(|_| !value.to_lowercase().contains(['n', 'i']));
                number.and_then(|number| number.partial_cmp(&bound)).is_some_and(|ordering| order.holds(ordering))
            }
            Err(_) => order.holds(value.as_bytes().cmp(bound.as_bytes())),
        },
        (Test::Matches(regex), Some(value)) => regex::Regex::new(regex).unwrap().is_match(&value),
    }
}

fn value(field: &Field, record: &LogRecord) -> Option<String> {
    let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let find = |name: &str| {
        let mut all = record.attributes.iter().chain(&record.resource);
        all.find(|(key, _)| key == name).map(|(_, value)| value.as_ref().display())
    };
    match field {
        Field::Body => (record.body != watchfire_types::Value::Null).then(|| record.body.as_ref().display()),
        Field::Level => filled(Severity(record.severity_number).name()),
        Field::SeverityText => filled(&record.severity_text),
        Field::Service => {
            let service = record.resource.iter().find(|(key, _)| key == "service.name");
            service.and_then(|(_, value)| value.as_text().and_then(filled))
        }
        Field::Pattern => filled(&record.pattern),
        Field::TraceId => filled(&record.trace_id),
        Field::SpanId => filled(&record.span_id),
        Field::Scope => filled(&record.scope),
        Field::EventName => filled(&record.event_name),
        Field::Seq => filled(&record.seq),
        Field::Timestamp => Some(record.timestamp.to_string()),
        Field::Attribute(name) => find(name),
    }
}
