//! `errors`.

use std::io::Write as _;

use serde_json::Value;

use super::args::{ErrorsArgs, ErrorsDecide};
use super::client::Client;
use super::output::{Output, say};
use super::table::{Table, Times, count, json_lines, rows, text};
use super::{Answer, Exit};

pub(super) async fn errors(args: &ErrorsArgs, out: &mut Output<'_>) -> Answer {
    let client = Client::new(&args.host)?;
    if let Some(decide) = &args.decide {
        let (id, verb) = match decide {
            ErrorsDecide::Resolve { id } => (id, "resolve"),
            ErrorsDecide::Ignore { id } => (id, "ignore"),
            ErrorsDecide::Unresolve { id } => (id, "unresolve"),
        };
        let detail = client.act("api/v1/issues", id, verb).await?;
        if args.json {
            writeln!(out, "{detail}")?;
        } else {
            say(format_args!("issue {id} is {}: {}", text(&detail["issue"]["status"]), text(&detail["issue"]["title"])));
        }
        return Ok(Exit::Done);
    }
    if let Some(id) = &args.id {
        let detail = client.get_one("api/v1/issues", id).await?;
        if args.json {
            writeln!(out, "{detail}")?;
        } else {
            story(&detail, out)?;
        }
        return Ok(Exit::Done);
    }
    let mut query: Vec<_> = args.status.iter().map(|status| ("status", status.to_lowercase())).collect();
    query.extend(args.service.iter().map(|service| ("service", service.clone())));
    query.extend(args.since.iter().map(|since| ("since", since.clone())));
    let answer = client.get("api/v1/issues", &query).await?;
    let issues = rows(&answer, "issues");
    if args.json {
        json_lines(issues, out)?;
    } else if issues.is_empty() {
        say("no issues");
    } else {
        list(issues, out)?;
        if answer["truncated"] == true {
            say(format_args!("only the last {} issues are shown; --service, --status and --since show fewer", issues.len()));
        }
    }
    Ok(Exit::Done)
}

fn list(issues: &[Value], out: &mut Output<'_>) -> std::io::Result<()> {
    let times = Times::here();
    let mut table = Table::new(&["ID", "STATUS", "LEVEL", "COUNT", "LAST SEEN", "24 HOURS", "SERVICE", "TITLE"]);
    for issue in issues {
        table.row(vec![
            text(&issue["id"]),
            text(&issue["status"]).to_uppercase(),
            text(&issue["level"]),
            number(&issue["count"]),
            times.short(&issue["last_seen"]),
            sparkline(rows(issue, "hourly")),
            text(&issue["service"]),
            text(&issue["title"]),
        ]);
    }
    table.write(out)
}

fn number(value: &Value) -> String {
    value.as_u64().map_or_else(|| text(value), count)
}

/// Returns counts as bars, one character each; a point for none.
fn sparkline(counts: &[Value]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let counts: Vec<u64> = counts.iter().map(|count| count.as_u64().unwrap_or(0)).collect();
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: u64| if count == 0 { '.' } else { BARS[((count - 1) * 8 / most) as usize % 8] };
    counts.into_iter().map(bar).collect()
}

/// Tells one issue: its fields, why events are taken for it, what happened to it, and its last occurrences.
fn story(detail: &Value, out: &mut Output<'_>) -> std::io::Result<()> {
    let times = Times::here();
    for (key, value) in detail["issue"].as_object().into_iter().flatten() {
        let shown = match value {
            Value::Array(counts) => sparkline(counts),
            Value::String(_) if key.ends_with("_seen") || key.ends_with("_at") => times.short(value),
            Value::Number(_) => number(value),
            _ => text(value),
        };
        writeln!(out, "{key:<13}{}", shown.replace(char::is_control, " "))?;
    }
    let grouping = &detail["grouping"];
    writeln!(out, "\nwhy these are one issue ({})", text(&grouping["version"]))?;
    let mut table = Table::new(&["WHAT", "VALUE"]);
    table.row(vec!["service".into(), text(&grouping["service"])]);
    for (what, list) in [("type", "types"), ("call", "frames")] {
        for value in rows(grouping, list) {
            table.row(vec![what.into(), text(value)]);
        }
    }
    if text(&grouping["template"]) != "-" {
        table.row(vec!["message".into(), text(&grouping["template"])]);
    }
    table.write(out)?;
    let mut table = Table::new(&["AT", "WHAT", "COUNT"]);
    for row in rows(detail, "history") {
        table.row(vec![times.short(&row["at"]), text(&row["kind"]), number(&row["count"])]);
    }
    if !table.is_empty() {
        writeln!(out, "\nwhat happened")?;
        table.write(out)?;
    }
    for event in rows(detail, "events") {
        let heading = format!("{} seq {}: {}", times.short(&event["timestamp"]), text(&event["seq"]), text(&event["message"]));
        writeln!(out, "\n{}", heading.replace(char::is_control, " "))?;
        let shown = |key: &str| event[key].as_str().filter(|text| !text.is_empty());
        for line in shown("stacktrace").or_else(|| shown("body")).unwrap_or_default().lines() {
            writeln!(out, "  {}", line.replace('\t', "    ").replace(char::is_control, " "))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hours_are_bars() {
        let counts = [0, 1, 4, 8].map(|count| json!(count));
        assert_eq!(sparkline(&counts), ".▁▄█");
        assert_eq!(sparkline(&[json!(0), json!(0)]), "..");
    }
}
