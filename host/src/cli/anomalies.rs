//! `anomalies`.

use std::io::Write as _;

use serde_json::Value;
use watchfire_types::Severity;

use super::args::{AnomaliesArgs, AnomaliesDecide};
use super::client::Client;
use super::output::{Output, say};
use super::table::{Table, Times, json_lines, rows, text};
use super::{Answer, Exit};

pub(super) async fn anomalies(args: &AnomaliesArgs, out: &mut Output<'_>) -> Answer {
    let client = Client::new(&args.host)?;
    if let Some(decide) = &args.decide {
        let (id, verb) = match decide {
            AnomaliesDecide::Ignore { id } => (id, "ignore"),
            AnomaliesDecide::Unignore { id } => (id, "unignore"),
        };
        let view = client.act("api/v1/anomalies", id, verb).await?;
        if args.json {
            writeln!(out, "{view}")?;
        } else {
            let what = if view["pattern"].is_string() { "this pattern" } else { "this source" };
            let now = if verb == "ignore" { "is not told of any more" } else { "is told of again" };
            say(format_args!("{} of {what} {now}: {}", text(&view["detector"]), text(&view["title"])));
        }
        return Ok(Exit::Done);
    }
    if let Some(id) = &args.id {
        let view = client.get_one("api/v1/anomalies", id).await?;
        if args.json {
            writeln!(out, "{view}")?;
        } else {
            story(&view, out)?;
        }
        return Ok(Exit::Done);
    }
    let query = [("hours", args.hours.to_string()), ("ignored", args.all.to_string())];
    let answer = client.get("api/v1/anomalies", &query).await?;
    if args.sources {
        return sources(&answer, args.json, out);
    }
    let found = rows(&answer, "anomalies");
    if args.json {
        json_lines(found, out)?;
    } else if found.is_empty() {
        say(format_args!("nothing unusual in {} hours", args.hours));
    } else {
        let times = Times::here();
        let mut table = Table::new(&["ID", "SINCE", "UNTIL", "LEVEL", "SURE", "DETECTOR", "WHAT"]);
        for view in found {
            let severity = Severity(view["severity_number"].as_u64().unwrap_or(0) as u8);
            let until = if view["until"].is_null() { "going on".to_owned() } else { times.short(&view["until"]) };
            table.row(vec![
                text(&view["id"]),
                times.short(&view["since"]),
                until,
                severity.to_string(),
                format!("{:.0} %", view["score"].as_f64().unwrap_or(0.0) * 100.0),
                text(&view["detector"]),
                text(&view["title"]),
            ]);
        }
        table.write(out)?;
    }
    if !args.json && answer["running"] == false {
        say("the detectors do not run: log_analysis.auto_start is false");
    }
    Ok(Exit::Done)
}

fn story(view: &Value, out: &mut Output<'_>) -> std::io::Result<()> {
    let times = Times::here();
    for (key, value) in view.as_object().into_iter().flatten() {
        let shown = match key.as_str() {
            "since" | "until" if value.is_null() => "going on".to_owned(),
            "since" | "until" => times.short(value),
            _ => text(value),
        };
        if key != "evidence" && key != "search" {
            writeln!(out, "{key:<16}{}", shown.replace(char::is_control, " "))?;
        }
    }
    writeln!(out, "\nhow sure it is")?;
    for (key, value) in view["evidence"].as_object().into_iter().flatten() {
        writeln!(out, "{key:<16}{}", text(value).replace(char::is_control, " "))?;
    }
    let search = &view["search"];
    let (q, since, until) = (text(&search["q"]), text(&search["since"]), text(&search["until"]));
    writeln!(out, "\nwatchfire search '{}' --since {since} --until {until}", q.replace('\'', " "))
}

/// Lists sources, and what is judged of each.
fn sources(answer: &Value, json: bool, out: &mut Output<'_>) -> Answer {
    let list = rows(answer, "sources");
    if json {
        json_lines(list, out)?;
        return Ok(Exit::Done);
    }
    let times = Times::here();
    let mut table = Table::new(&["SOURCE", "SINCE", "LAST", "PATTERNS", "JUDGED", "NOT JUDGED"]);
    for source in list {
        let of = |ready: bool| rows(source, "detectors").iter().filter(move |one| (one["state"] == "ready") == ready);
        let ready: Vec<String> = of(true).map(|one| text(&one["detector"])).collect();
        let not: Vec<String> = of(false).map(|one| format!("{} ({})", text(&one["detector"]), text(&one["why"]))).collect();
        table.row(vec![
            text(&source["source"]),
            times.short(&source["first_seen"]),
            times.short(&source["last_seen"]),
            text(&source["patterns"]),
            if ready.is_empty() { "-".to_owned() } else { ready.join(" ") },
            if not.is_empty() { "-".to_owned() } else { not.join(", ") },
        ]);
    }
    table.write(out)?;
    Ok(Exit::Done)
}
