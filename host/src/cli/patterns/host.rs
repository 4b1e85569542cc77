//! `patterns` of what a host has stored, and one of them.

use std::io::{IsTerminal as _, Write as _};

use serde_json::Value;
use watchfire_types::Severity;

use crate::cli::args::{PatternsArgs, TimeArgs};
use crate::cli::client::Client;
use crate::cli::output::{Output, say, visible};
use crate::cli::table::{Table, Times, count, json_lines, rows, short_number, text};
use crate::cli::{Answer, Exit};

/// Heights of a sparkline.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const HOLE: &str = "<*>";

/// Lists patterns.
pub(super) async fn list(args: &PatternsArgs, out: &mut Output<'_>) -> Answer {
    let mut query = args.time.query();
    query.extend(args.service.iter().map(|service| ("service", service.clone())));
    for (name, value) in [("level", &args.level), ("q", &args.text), ("sort", &args.sort)] {
        query.extend(value.iter().map(|value| (name, value.clone())));
    }
    query.push(("limit", args.limit.to_string()));
    let answer = Client::new(&args.host)?.get("api/v1/patterns", &query).await?;
    let patterns = rows(&answer, "patterns");
    if args.json {
        json_lines(patterns, out)?;
        return Ok(Exit::Done);
    }
    if patterns.is_empty() {
        say("no patterns in this time range");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["ID", "COUNT", "SHARE", "OVER TIME", "LEVEL", "SERVICE", "PATTERN"]);
    for pattern in patterns {
        let new = if pattern["new"] == true { "new: " } else { "" };
        table.row(vec![
            text(&pattern["id"]),
            count(pattern["count"].as_u64().unwrap_or(0)),
            percent(&pattern["share"]),
            sparkline(&pattern["counts"]),
            level(&pattern["severity_number"]),
            pattern["service"].as_str().map_or_else(|| "(several)".to_owned(), |service| text(&service.into())),
            format!("{new}{}", text(&pattern["template"])),
        ]);
    }
    write(&table, out)?;
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let (total, other, without) = (number(&answer["total"]), number(&answer["other"]["count"]), number(&answer["without_pattern"]));
    out.flush()?;
    let mut rest = String::new();
    if other > 0 {
        rest = format!(", {} of {} more patterns (--limit)", count(other), count(number(&answer["other"]["patterns"])));
    }
    if without > 0 {
        rest = format!("{rest}, {} without a pattern", count(without));
    }
    say(format_args!("{} records{rest}", count(total)));
    Ok(Exit::Done)
}

/// Shows one pattern.
pub(super) async fn show(args: &PatternsArgs, id: &str, time: &TimeArgs, out: &mut Output<'_>) -> Answer {
    let answer = Client::new(&args.host)?.get(&format!("api/v1/patterns/{id}"), &time.query()).await?;
    if args.json {
        writeln!(out, "{answer}")?;
        return Ok(Exit::Done);
    }
    let times = Times::here();
    let pattern = &answer["pattern"];
    writeln!(out, "{}", holes(&visible(&text(&pattern["template"])), is_coloured()))?;
    writeln!(
        out,
        "pattern {}, {}",
        text(&pattern["id"]),
        pattern["service"].as_str().filter(|name| !name.is_empty()).unwrap_or("no service")
    )?;
    let merged: Vec<String> = rows(&answer, "merged").iter().map(text).collect();
    if !merged.is_empty() {
        writeln!(out, "also stored as {}", merged.join(", "))?;
    }
    let records = count(pattern["count"].as_u64().unwrap_or(0));
    let before = count(pattern["previous_count"].as_u64().unwrap_or(0));
    let share = percent(&pattern["share"]);
    writeln!(out, "{records} records ({share}), {before} in the equally long time before")?;
    let (since, until) = (times.short(&answer["since"]), times.short(&answer["until"]));
    writeln!(out, "{since} {} {until}", sparkline(&pattern["counts"]))?;
    writeln!(out, "first seen {}, last {}", times.short(&pattern["first_seen"]), times.short(&pattern["last_seen"]))?;
    if let Some(severities) = answer["severities"].as_object() {
        let of_level = |(number, records): (&String, &Value)| {
            let number = number.parse().map_or(Value::Null, |number: u64| number.into());
            format!("{} {}", level(&number), count(records.as_u64().unwrap_or(0)))
        };
        writeln!(out, "{}", severities.iter().map(of_level).collect::<Vec<_>>().join(", "))?;
    }
    let variables = rows(&answer, "variables");
    if !variables.is_empty() {
        writeln!(out, "\nwhat varies, in the newest {} records:", count(answer["examined"].as_u64().unwrap_or(0)))?;
        variables_table(variables).write(out)?;
    }
    writeln!(out, "\nnewest records:")?;
    for record in rows(&answer, "records") {
        let body = text(&record["body"]);
        writeln!(out, "{} {}", times.line(&record["timestamp"]), visible(body.lines().next().unwrap_or("")))?;
    }
    Ok(Exit::Done)
}

fn variables_table(variables: &[Value]) -> Table {
    let mut table = Table::new(&["HOLE", "AFTER", "DISTINCT", "RANGE", "MOST FREQUENT"]);
    for variable in variables {
        let numbers = &variable["numbers"];
        let number = |name: &str| short_number(numbers[name].as_f64().unwrap_or_default());
        let range = if numbers.is_object() {
            format!("{} to {}, half up to {}, 99 % up to {}", number("min"), number("max"), number("p50"), number("p99"))
        } else {
            "-".to_owned()
        };
        let value = |value: &Value| format!("{} ({})", text(&value["value"]), count(value["count"].as_u64().unwrap_or(0)));
        let top: Vec<String> = rows(variable, "top").iter().take(4).map(value).collect();
        table.row(vec![text(&variable["position"]), text(&variable["after"]), text(&variable["distinct"]), range, top.join("  ")]);
    }
    table
}

/// Writes the table, with its holes in colour if a person looks.
fn write(table: &Table, out: &mut Output<'_>) -> std::io::Result<()> {
    let mut plain = Vec::new();
    table.write(&mut plain)?;
    out.write_all(holes(&String::from_utf8_lossy(&plain), is_coloured()).as_bytes())
}

fn is_coloured() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn holes(text: &str, coloured: bool) -> String {
    if coloured { text.replace(HOLE, "\x1b[36m<*>\x1b[0m") } else { text.to_owned() }
}

fn percent(share: &Value) -> String {
    format!("{:.1} %", share.as_f64().unwrap_or_default() * 100.0)
}

fn level(number: &Value) -> String {
    let name = Severity(number.as_u64().unwrap_or(0) as u8).name();
    if name.is_empty() { "-".to_owned() } else { name.to_owned() }
}

/// Returns counts as bars; a step without records is empty.
fn sparkline(counts: &Value) -> String {
    let counts: Vec<u64> = counts.as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: &u64| if *count == 0 { ' ' } else { BARS[((count * 8).div_ceil(most) as usize - 1).min(7)] };
    counts.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sparkline_shows_the_least_of_something_and_nothing_of_nothing() {
        assert_eq!(sparkline(&json!([0, 1, 50, 100, 99])), " ▁▄██");
        assert_eq!(sparkline(&json!([0, 0])), "  ");
        assert_eq!(sparkline(&json!([3])), "█");
        assert_eq!(sparkline(&json!(null)), "");
    }

    #[test]
    fn holes_are_coloured_for_people_only() {
        assert_eq!(holes("a <*> b", false), "a <*> b");
        assert_eq!(holes("a <*>", true), "a \u{1b}[36m<*>\u{1b}[0m");
    }
}
