//! `errors`.

use std::io::Write as _;

use serde_json::{Value, json};

use super::args::{ErrorsAction, ErrorsArgs, IssueFilter};
use super::client::Client;
use super::issue_event;
use super::output::{Output, say};
use super::table::{Table, Times, count, json_lines, rows, text};
use super::{Answer, Exit};

const ISSUES: &str = "api/v1/issues";
/// Hours that are shown as bars in a line.
const MOST_BARS: u64 = 120;

pub(super) async fn errors(args: &ErrorsArgs, out: &mut Output<'_>) -> Answer {
    let client = Client::new(&args.host)?;
    if let Some(action) = &args.action {
        return act(action, &client, args.json, out).await;
    }
    if let Some(id) = &args.id {
        return show(&client, id, args.json, out).await;
    }
    let IssueFilter { status, service, since, sort } = &args.filter;
    let mut query: Vec<_> = status.iter().map(|status| ("status", status.to_lowercase())).collect();
    query.extend(service.iter().map(|service| ("service", service.clone())));
    query.extend(since.iter().map(|since| ("since", since.clone())));
    query.extend(sort.iter().map(|sort| ("sort", sort.clone())));
    print_list(&client, &query, args.json, out).await
}

async fn act(action: &ErrorsAction, client: &Client, json: bool, out: &mut Output<'_>) -> Answer {
    let nothing = json!({});
    let (id, verb, body) = match action {
        ErrorsAction::List { query, filter } => {
            let mut asked = vec![("q", query.join(" "))];
            asked.extend(filter.service.iter().map(|service| ("service", service.clone())));
            asked.extend(filter.since.iter().map(|since| ("since", since.clone())));
            asked.extend(filter.sort.iter().map(|sort| ("sort", sort.clone())));
            asked.extend(filter.limit.iter().map(|limit| ("limit", limit.to_string())));
            return print_list(client, &asked, json, out).await;
        }
        ErrorsAction::Show { id } => return show(client, id, json, out).await,
        ErrorsAction::Why { id } => return why(client, id, json, out).await,
        ErrorsAction::Dsn { service, project } => {
            let mut asked: Vec<_> = service.iter().map(|service| ("service", service.clone())).collect();
            asked.extend(project.iter().map(|project| ("project", project.to_string())));
            let answer = client.get("api/v1/errors/dsn", &asked).await?;
            if json {
                writeln!(out, "{answer}")?;
            } else {
                writeln!(out, "{}", text(&answer["dsn"]))?;
            }
            return Ok(Exit::Done);
        }
        ErrorsAction::Statistics { hours, top } => {
            let asked = [("hours", hours.to_string()), ("top", top.to_string())];
            let told = client.get("api/v1/errors/statistics", &asked).await?;
            if json {
                writeln!(out, "{told}")?;
            } else {
                statistics(&told, out)?;
            }
            return Ok(Exit::Done);
        }
        ErrorsAction::SourceMaps { action } => return super::source_maps::act(action, client, json, out).await,
        ErrorsAction::Resolve { id, release, in_next_release } => {
            (id, "resolve", json!({"release": release, "in_next_release": in_next_release}))
        }
        ErrorsAction::Ignore { id, until, count } => (id, "ignore", json!({"until": until, "count": count})),
        ErrorsAction::Unresolve { id } => (id, "unresolve", nothing),
        ErrorsAction::Merge { id, others } => (id, "merge", json!({"issues": others})),
        ErrorsAction::Unmerge { id } => (id, "unmerge", nothing),
        ErrorsAction::Assign { id, to } => (id, "assign", json!({"to": to.as_deref().unwrap_or("")})),
        ErrorsAction::Comment { id, text, author } => {
            (id, "comments", json!({"text": text, "author": author.as_deref().unwrap_or("")}))
        }
    };
    let answer = client.act_with(ISSUES, id, verb, &body).await?;
    if json {
        writeln!(out, "{answer}")?;
        return Ok(Exit::Done);
    }
    let issue = &answer["issue"];
    let title = text(&issue["title"]);
    match verb {
        "unmerge" => match rows(&answer, "issues") {
            [] => say(format_args!("nothing was merged with issue {id}")),
            alone => say(format_args!("these stand alone again: {}", alone.iter().map(text).collect::<Vec<_>>().join(", "))),
        },
        "merge" => {
            say(format_args!("issue {} is {} issues now: {title}", text(&issue["id"]), issue["merged"].as_u64().unwrap_or(0) + 1));
        }
        "assign" if issue["assigned_to"] == "" => say(format_args!("nobody sees to issue {id} now: {title}")),
        "assign" => say(format_args!("{} sees to issue {id}: {title}", text(&issue["assigned_to"]))),
        "comments" => say(format_args!("issue {id} has {} comments: {title}", rows(&answer, "comments").len())),
        _ => say(format_args!("issue {id} is {}: {title}", text(&issue["status"]))),
    }
    Ok(Exit::Done)
}

async fn show(client: &Client, id: &str, json: bool, out: &mut Output<'_>) -> Answer {
    let detail = client.get_one(ISSUES, id).await?;
    if json {
        writeln!(out, "{detail}")?;
    } else {
        story(&detail, out)?;
    }
    Ok(Exit::Done)
}

/// Tells how many errors there were.
fn statistics(told: &Value, out: &mut Output<'_>) -> std::io::Result<()> {
    let [total, issues, new, hours] = ["total", "issues", "new_issues", "hours"].map(|key| number(&told[key]));
    writeln!(out, "errors: {total}; issues: {issues}, of them new: {new}; hours: {hours}")?;
    if told["hours"].as_u64().is_some_and(|hours| hours <= MOST_BARS) {
        writeln!(out, "{}", sparkline(rows(told, "hourly")))?;
    }
    for (title, list) in [("CLASS", "by_type"), ("SERVICE", "by_service"), ("LEVEL", "by_level")] {
        let mut table = Table::new(&["COUNT", title]);
        for share in rows(told, list) {
            table.row(vec![number(&share["count"]), text(&share["name"])]);
        }
        if !table.is_empty() {
            writeln!(out)?;
            table.write(out)?;
        }
    }
    let mut table = Table::new(&["COUNT", "ISSUE", "STATUS", "SERVICE", "TITLE"]);
    for issue in rows(told, "top_issues") {
        let status = text(&issue["status"]).to_uppercase();
        table.row(vec![number(&issue["count"]), text(&issue["id"]), status, text(&issue["service"]), text(&issue["title"])]);
    }
    if !table.is_empty() {
        writeln!(out)?;
        table.write(out)?;
    }
    Ok(())
}

async fn why(client: &Client, id: &str, json: bool, out: &mut Output<'_>) -> Answer {
    let answer = client.get_under(ISSUES, id, "why").await?;
    if json {
        writeln!(out, "{answer}")?;
        return Ok(Exit::Done);
    }
    let grouping = &answer["grouping"];
    writeln!(
        out,
        "issue {} is grouped by its {} ({})",
        text(&answer["issue"]),
        text(&grouping["basis"]).replace('_', " "),
        text(&grouping["version"])
    )?;
    let mut table = Table::new(&["COUNTS", "WHAT", "VALUE", "WHY"]);
    for part in rows(&answer, "components") {
        let counts = if part["contributes"] == true { "yes" } else { "no" };
        table.row(vec![counts.into(), text(&part["kind"]), text(&part["value"]), text(&part["reason"])]);
    }
    table.write(out)?;
    let times = Times::here();
    let mut table = Table::new(&["HASH", "KIND", "FOUND BY", "LAST SEEN"]);
    for hash in rows(&answer, "hashes") {
        let digits: String = text(&hash["hash"]).chars().take(16).collect();
        table.row(vec![digits, text(&hash["kind"]), text(&hash["found"]), times.short(&hash["seen_at"])]);
    }
    if !table.is_empty() {
        writeln!(out, "\nwhat leads to it")?;
        table.write(out)?;
    }
    for merged in rows(&answer, "merged") {
        writeln!(
            out,
            "\nissue {} was merged into it by hand: {}",
            text(&merged["id"]),
            text(&merged["title"]).replace(char::is_control, " ")
        )?;
    }
    Ok(Exit::Done)
}

async fn print_list(client: &Client, query: &[(&'static str, String)], json: bool, out: &mut Output<'_>) -> Answer {
    let answer = client.get(ISSUES, query).await?;
    let issues = rows(&answer, "issues");
    if json {
        json_lines(issues, out)?;
    } else if issues.is_empty() {
        say("no issues");
    } else {
        list(issues, out)?;
        if answer["truncated"] == true {
            say(format_args!(
                "only the first {} issues are shown; `errors list` with words, --service and --since show fewer",
                issues.len()
            ));
        }
    }
    Ok(Exit::Done)
}

fn list(issues: &[Value], out: &mut Output<'_>) -> std::io::Result<()> {
    let times = Times::here();
    let mut table = Table::new(&["ID", "STATUS", "LEVEL", "COUNT", "USERS", "LAST SEEN", "24 HOURS", "SERVICE", "TITLE"]);
    for issue in issues {
        table.row(vec![
            text(&issue["id"]),
            text(&issue["status"]).to_uppercase(),
            text(&issue["level"]),
            number(&issue["count"]),
            number(&issue["users"]),
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

/// Tells one issue: its fields, why events are taken for it, what happened to it, and its last occurrences, the newest with what was around it.
fn story(detail: &Value, out: &mut Output<'_>) -> std::io::Result<()> {
    let times = Times::here();
    let fields: Vec<_> = detail["issue"].as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()).collect();
    let width = fields.iter().map(|(key, _)| key.len()).max().unwrap_or(0) + 2;
    for (key, value) in fields {
        let shown = match value {
            Value::Array(counts) => sparkline(counts),
            Value::String(_) if key.ends_with("_seen") || key.ends_with("_at") => times.short(value),
            Value::Number(_) => number(value),
            _ => text(value),
        };
        writeln!(out, "{key:<width$}{}", shown.replace(char::is_control, " "))?;
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
    if text(&grouping["asked_by"]) != "-" {
        for part in rows(grouping, "fingerprint") {
            writeln!(out, "asked for by {}: {}", text(&grouping["asked_by"]), text(part).replace(char::is_control, " "))?;
        }
    }
    let mut table = Table::new(&["TAG", "COUNT", "MOST FREQUENT VALUES"]);
    for tag in rows(detail, "tags") {
        let value = |value: &Value| format!("{} ({})", text(&value["value"]), number(&value["count"]));
        let values: Vec<String> = rows(tag, "values").iter().take(5).map(value).collect();
        table.row(vec![text(&tag["key"]), number(&tag["count"]), values.join(", ")]);
    }
    if !table.is_empty() {
        writeln!(out, "\nwhat its events have")?;
        table.write(out)?;
    }
    for merged in rows(detail, "merged") {
        writeln!(
            out,
            "\nwith issue {}, {} times: {}",
            text(&merged["id"]),
            number(&merged["count"]),
            text(&merged["title"]).replace(char::is_control, " ")
        )?;
    }
    for comment in rows(detail, "comments") {
        let said = format!("{} {}: {}", times.short(&comment["at"]), text(&comment["author"]), text(&comment["text"]));
        writeln!(out, "\n{}", said.replace(|c: char| c.is_control() && c != '\n', " "))?;
    }
    let mut table = Table::new(&["AT", "WHAT", "COUNT"]);
    for row in rows(detail, "history") {
        table.row(vec![times.short(&row["at"]), text(&row["kind"]), number(&row["count"])]);
    }
    if !table.is_empty() {
        writeln!(out, "\nwhat happened")?;
        table.write(out)?;
    }
    for (index, event) in rows(detail, "events").iter().enumerate() {
        issue_event::event(event, &times, out)?;
        if index == 0 {
            issue_event::around(event, &times, out)?;
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
