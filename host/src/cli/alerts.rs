//! `rules`, `alerts` and `outbox`.

use std::io::Write as _;

use serde_json::Value;

use super::args::{AlertsArgs, ListArgs};
use super::client::Client;
use super::output::{Output, say};
use super::table::{Table, Times, json_lines, labels, pick, rows, text};
use super::{Answer, Exit};

pub(super) async fn rules(args: &ListArgs, out: &mut Output<'_>) -> Answer {
    let answer = Client::new(&args.host)?.get("api/v1/rules", &[]).await?;
    let rules = rows(&answer, "rules");
    if args.json {
        json_lines(rules, out)?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["NAME", "LEVEL", "CONDITION", "FOR", "RECEIVER", "ORIGIN"]);
    for view in rules {
        let rule = definition(view);
        let receiver = rule["receiver"].as_str().unwrap_or("all");
        table.row(vec![
            text(&rule["name"]),
            text(&rule["level"]),
            condition(rule),
            text(&rule["for"]),
            receiver.to_owned(),
            text(pick(view, &["origin", "rule.origin"])),
        ]);
    }
    table.write(out)?;
    for view in rules {
        if let Some(problem) = pick(view, &["problem", "error", "last_error"]).as_str().filter(|problem| !problem.is_empty()) {
            say(format_args!("warning: {}: {problem}", text(&definition(view)["name"])));
        }
    }
    Ok(Exit::Done)
}

/// Returns the rule as a file would write it, wherever the view keeps it.
pub(super) fn definition(view: &Value) -> &Value {
    view.get("rule").filter(|rule| rule.is_object()).unwrap_or(view)
}

/// Returns a rule's condition in one line: `avg(system.cpu_percent{device=sda}[5m]) > 80`.
pub(super) fn condition(rule: &Value) -> String {
    let comparison = format!("{} {}", rule["comparison"].as_str().unwrap_or(">"), text(&rule["threshold"]));
    let window = text(&rule["window"]);
    let within = |value: &Value| if labels(value) == "-" { String::new() } else { format!("{{{}}}", labels(value)) };
    if let Some(metric) = rule["metric"].as_str() {
        let series = format!("{metric}{}", within(&rule["match"]));
        return match rule["aggregate"].as_str().unwrap_or("last") {
            "last" => format!("{series} {comparison}"),
            aggregate => format!("{aggregate}({series}[{window}]) {comparison}"),
        };
    }
    let logs = &rule["logs"];
    let mut what: Vec<String> = ["text", "level", "service"]
        .iter()
        .filter_map(|key| Some(format!("{key}={}", logs[*key].as_str().filter(|text| !text.is_empty())?)))
        .collect();
    what.extend(Some(labels(&logs["attributes"])).filter(|labels| labels != "-"));
    let by: Vec<String> = rows(rule, "group_by").iter().map(text).collect();
    let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
    format!("count(logs{{{}}}[{window}]){by} {comparison}", what.join(" "))
}

pub(super) async fn alerts(args: &AlertsArgs, out: &mut Output<'_>) -> Answer {
    let client = Client::new(&args.host)?;
    if let Some(fingerprint) = &args.fingerprint {
        let alert = client.get_one("api/v1/alerts", fingerprint).await?;
        if args.json {
            writeln!(out, "{alert}")?;
        } else {
            story(&alert, out)?;
        }
        return Ok(Exit::Done);
    }
    let query: Vec<_> = args.state.iter().map(|state| ("state", state.to_lowercase())).collect();
    let answer = client.get("api/v1/alerts", &query).await?;
    let alerts = rows(&answer, "alerts");
    if args.json {
        json_lines(alerts, out)?;
    } else if alerts.is_empty() {
        say("no alerts");
    } else {
        let times = Times::here();
        let mut table = Table::new(&["STATE", "LEVEL", "RULE", "SINCE", "VALUE", "LABELS", "FINGERPRINT"]);
        for alert in alerts {
            table.row(vec![
                text(&alert["state"]).to_uppercase(),
                text(&alert["level"]),
                text(&alert["rule"]),
                times.short(pick(alert, SINCE)),
                text(&alert["value"]),
                labels(&alert["labels"]),
                text(&alert["fingerprint"]),
            ]);
        }
        table.write(out)?;
    }
    Ok(Exit::Done)
}

const SINCE: &[&str] = &["since", "started_at", "starts_at", "active_at", "updated_at"];

/// Tells one alert: its fields, then what happened to it and who was told, as tables of whatever the host keeps.
fn story(alert: &Value, out: &mut Output<'_>) -> std::io::Result<()> {
    // An answer may hold the alert beside its lists or around them.
    let mut fields = alert.as_object().cloned().unwrap_or_default();
    if let Some(Value::Object(inner)) = fields.shift_remove("alert") {
        fields = inner.into_iter().chain(fields).collect();
    }
    let times = Times::here();
    let is_list = |value: &Value| value.as_array().is_some_and(|rows| rows.iter().any(Value::is_object));
    for (key, value) in fields.iter().filter(|(_, value)| !is_list(value)) {
        let shown = if key == "labels" || key == "annotations" { labels(value) } else { cell(key, value, &times) };
        writeln!(out, "{key:<18} {shown}")?;
    }
    for (key, value) in fields.iter().filter(|(_, value)| is_list(value)) {
        writeln!(out, "\n{key}")?;
        generic(rows(&serde_json::json!({ "rows": value }), "rows"), &times).write(out)?;
    }
    Ok(())
}

/// Returns a table with a column for each key of the first rows.
fn generic(rows: &[Value], times: &Times) -> Table {
    let mut keys: Vec<&str> = Vec::new();
    for key in rows.iter().filter_map(Value::as_object).flat_map(serde_json::Map::keys) {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    let mut table =
        Table::new(&keys.iter().map(|key| key.to_uppercase()).collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>());
    for row in rows {
        table.row(keys.iter().map(|key| cell(key, &row[*key], times)).collect());
    }
    table
}

fn cell(key: &str, value: &Value, times: &Times) -> String {
    let is_time = key == "since" || key == "timestamp" || key == "at" || key == "time" || key.ends_with("_at");
    match value {
        Value::String(_) if is_time => times.short(value),
        Value::Object(_) => labels(value),
        _ => text(value),
    }
}

pub(super) async fn outbox(args: &ListArgs, out: &mut Output<'_>) -> Answer {
    let answer = Client::new(&args.host)?.get("api/v1/outbox", &[]).await?;
    let notifications = rows(&answer, "notifications");
    if args.json {
        json_lines(notifications, out)?;
    } else if notifications.is_empty() {
        say("no notifications");
    } else {
        let times = Times::here();
        let mut table = Table::new(&["ID", "STATE", "RECEIVER", "TRIES", "CREATED", "NEXT TRY", "LAST ANSWER"]);
        for row in notifications {
            table.row(vec![
                text(&row["id"]),
                text(pick(row, &["state", "status"])).to_uppercase(),
                text(&row["receiver"]),
                text(pick(row, &["attempts", "tries"])),
                times.short(pick(row, &["created_at", "created", "queued_at"])),
                times.short(pick(row, &["next_attempt_at", "next_attempt", "next_try_at", "due_at"])),
                text(pick(row, &["last_error", "last_answer", "error", "detail"])),
            ]);
        }
        table.write(out)?;
    }
    Ok(Exit::Done)
}
