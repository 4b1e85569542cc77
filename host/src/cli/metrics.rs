//! `metrics`: the names, or the series of one.

use serde_json::Value;

use super::args::MetricsArgs;
use super::client::Client;
use super::output::{Output, say};
use super::table::{Table, Times, json_lines, labels, rows, short_number, text};
use super::{Answer, Exit};

pub(super) async fn metrics(args: &MetricsArgs, out: &mut Output<'_>) -> Answer {
    let client = Client::new(&args.host)?;
    let Some(name) = &args.name else {
        let answer = client.get("api/v1/metrics", &[]).await?;
        let metrics = rows(&answer, "metrics");
        if args.json {
            json_lines(metrics, out)?;
        } else {
            names(metrics).write(out)?;
        }
        return Ok(Exit::Done);
    };
    let mut query = vec![("name", name.clone())];
    query.extend(args.label.iter().map(|label| ("label", label.clone())));
    query.extend(args.time.query());
    let answer = client.get("api/v1/metrics/query", &query).await?;
    let series = rows(&answer, "series");
    if args.json {
        json_lines(series, out)?;
    } else if series.is_empty() {
        say("no series: nothing has these labels at that time");
    } else {
        series_table(series, &Times::here()).write(out)?;
    }
    Ok(Exit::Done)
}

fn names(metrics: &[Value]) -> Table {
    let mut table = Table::new(&["NAME", "KIND", "UNIT", "SERIES"]);
    for metric in metrics {
        table.row(["name", "kind", "unit", "series"].map(|key| text(&metric[key])).to_vec());
    }
    table
}

fn series_table(series: &[Value], times: &Times) -> Table {
    let mut table = Table::new(&["LABELS", "LAST", "AT", "LEAST", "GREATEST", "SAMPLES"]);
    for one in series {
        let samples = rows(one, "samples");
        let values = || samples.iter().filter_map(|sample| sample["value"].as_f64());
        let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short_number);
        let last = samples.last().unwrap_or(&Value::Null);
        table.row(vec![
            labels(&one["series"]["labels"]),
            text(&last["value"]),
            times.short(&last["timestamp"]),
            shown(values().reduce(f64::min)),
            shown(values().reduce(f64::max)),
            samples.len().to_string(),
        ]);
    }
    table
}
