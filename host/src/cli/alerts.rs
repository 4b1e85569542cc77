//! `rules`, `alerts` and `outbox`.

use std::io::Write as _;

use serde_json::Value;

use super::args::{AlertsArgs, ListArgs};
use super::client::Client;
use super::output::{Output, say};
use super::table::{Table, Times, json_lines, labels, rows, text};
use super::{Answer, Exit};

pub(super) async fn rules(args: &ListArgs, out: &mut Output<'_>) -> Answer {
    let answer = Client::new(&args.host)?.get("api/v1/rules", &[]).await?;
    let rules = rows(&answer, "rules");
    if args.json {
        json_lines(rules, out)?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["NAME", "STATE", "LEVEL", "CONDITION", "FOR", "RECEIVER", "ORIGIN"]);
    for view in rules {
        let rule = definition(view);
        let receiver = rule["receiver"].as_str().unwrap_or("all");
        table.row(vec![
            text(&rule["name"]),
            text(&view["state"]).to_uppercase(),
            text(&rule["level"]),
            condition(rule),
            text(&rule["for"]),
            receiver.to_owned(),
            text(&view["origin"]),
        ]);
    }
    table.write(out)?;
    for view in rules {
        if let Some(warning) = view["warning"].as_str() {
            say(format_args!("warning: {}: {warning}", text(&definition(view)["name"])));
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
    let (kind, counted) = counted(rule);
    let keys = ["text", "analyzer", "rule", "type", "level", "service"];
    let mut what: Vec<String> =
        keys.iter().filter_map(|key| Some(format!("{key}={}", counted[*key].as_str().filter(|text| !text.is_empty())?))).collect();
    what.extend([&counted["attributes"], &counted["labels"]].map(labels).into_iter().filter(|labels| labels != "-"));
    if counted["regressions"] == false {
        what.push("regressions=false".to_owned());
    }
    let by: Vec<String> = rows(rule, "group_by").iter().map(text).collect();
    let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
    format!("count({kind}{{{}}}[{window}]){by} {comparison}", what.join(" "))
}

/// Returns what a rule without a metric counts, and which of it.
pub(super) fn counted(rule: &Value) -> (&'static str, &Value) {
    let kinds = ["errors", "finding", "new_issue"];
    let kind = kinds.into_iter().find(|kind| rule[*kind].is_object()).unwrap_or("logs");
    (kind, &rule[kind])
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
                times.short(&alert["since"]),
                text(&alert["value"]),
                labels(&alert["labels"]),
                text(&alert["fingerprint"]),
            ]);
        }
        table.write(out)?;
    }
    Ok(Exit::Done)
}

/// Tells one alert: its fields, what happened to it, what was decided about telling, and who was told.
fn story(detail: &Value, out: &mut Output<'_>) -> std::io::Result<()> {
    let times = Times::here();
    for (key, value) in detail["alert"].as_object().into_iter().flatten() {
        let shown = match value {
            Value::Object(_) => labels(value),
            Value::String(_) if key == "since" || key.ends_with("_at") => times.short(value),
            _ => text(value),
        };
        writeln!(out, "{key:<13}{shown}")?;
    }
    let notifications = rows(detail, "notifications");
    let sections = [
        ("what happened", happened(rows(detail, "history"), &times)),
        ("what was decided", decided(rows(detail, "decisions"), &times)),
        ("notifications", notified(notifications, &times)),
        ("tries", tried(notifications, &times)),
    ];
    for (title, table) in sections.iter().filter(|(_, table)| !table.is_empty()) {
        writeln!(out, "\n{title}")?;
        table.write(out)?;
    }
    Ok(())
}

fn happened(history: &[Value], times: &Times) -> Table {
    let mut table = Table::new(&["AT", "STATE", "VALUE", "REASON"]);
    for row in history {
        table.row(vec![times.short(&row["at"]), text(&row["state"]).to_uppercase(), text(&row["value"]), text(&row["reason"])]);
    }
    table
}

fn decided(decisions: &[Value], times: &Times) -> Table {
    let mut table = Table::new(&["AT", "DECISION", "REASON", "UNTIL", "NOTIFICATION"]);
    for row in decisions {
        let (at, until) = (times.short(&row["at"]), times.short(&row["until"]));
        table.row(vec![at, text(&row["decision"]), text(&row["reason"]), until, text(&row["outbox_id"])]);
    }
    table
}

fn notified(notifications: &[Value], times: &Times) -> Table {
    let mut table = Table::new(&["ID", "STATE", "RECEIVER", "ALERTS", "TRIES", "CREATED", "NEXT TRY", "LAST ERROR"]);
    for row in notifications {
        table.row(vec![
            text(&row["id"]),
            text(&row["state"]).to_uppercase(),
            text(&row["receiver"]),
            rows(&row["notification"], "alerts").len().to_string(),
            text(&row["attempts"]),
            times.short(&row["notification"]["created_at"]),
            times.short(&row["next_attempt_at"]),
            text(&row["last_error"]),
        ]);
    }
    table
}

fn tried(notifications: &[Value], times: &Times) -> Table {
    let mut table = Table::new(&["NOTIFICATION", "TRY", "AT", "OUTCOME", "DETAIL"]);
    for (row, receipt) in notifications.iter().flat_map(|row| rows(row, "receipts").iter().map(move |receipt| (row, receipt))) {
        let at = times.short(&receipt["at"]);
        table.row(vec![text(&row["id"]), text(&receipt["attempt"]), at, text(&receipt["outcome"]), text(&receipt["detail"])]);
    }
    table
}

pub(super) async fn outbox(args: &ListArgs, out: &mut Output<'_>) -> Answer {
    let answer = Client::new(&args.host)?.get("api/v1/outbox", &[]).await?;
    let notifications = rows(&answer, "notifications");
    if args.json {
        json_lines(notifications, out)?;
    } else if notifications.is_empty() {
        say("no notifications");
    } else {
        notified(notifications, &Times::here()).write(out)?;
    }
    Ok(Exit::Done)
}
