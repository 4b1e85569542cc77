//! One occurrence of an issue, as `errors show` tells it: what was said, the stack trace, and what was around it.

use std::io::Write as _;

use serde_json::Value;

use super::output::Output;
use super::table::{Table, Times, rows, text};

/// Longest value of what was around it, in characters: `--json` has all of it.
const MAX_VALUE_CHARS: usize = 160;
/// Breadcrumbs that are shown, the last ones.
const MAX_CRUMBS: usize = 20;

/// Tells one occurrence.
pub(super) fn event(event: &Value, times: &Times, out: &mut Output<'_>) -> std::io::Result<()> {
    let heading = format!("{} seq {}: {}", times.short(&event["timestamp"]), text(&event["seq"]), text(&event["message"]));
    writeln!(out, "\n{}", heading.replace(char::is_control, " "))?;
    super::source_maps::note(event, out)?;
    let shown = |key: &str| event[key].as_str().filter(|text| !text.is_empty());
    for line in shown("stacktrace").or_else(|| shown("body")).unwrap_or_default().lines() {
        writeln!(out, "  {}", line.replace('\t', "    ").replace(char::is_control, " "))?;
    }
    Ok(())
}

/// Tells what was around an occurrence: what the program said before, and what it said with it.
pub(super) fn around(event: &Value, times: &Times, out: &mut Output<'_>) -> std::io::Result<()> {
    let details = &event["details"];
    let crumbs = rows(&details["breadcrumbs"], "values");
    let mut table = Table::new(&["AT", "LEVEL", "BY", "BEFORE IT"]);
    for crumb in &crumbs[crumbs.len().saturating_sub(MAX_CRUMBS)..] {
        let said = match (text(&crumb["message"]).as_str(), &crumb["data"]) {
            ("-", data) => shortened(data),
            (message, Value::Object(data)) if !data.is_empty() => format!("{message}  {}", shortened(&crumb["data"])),
            (message, _) => message.to_owned(),
        };
        table.row(vec![at(&crumb["timestamp"], times), text(&crumb["level"]), text(&crumb["category"]), said]);
    }
    if !table.is_empty() {
        writeln!(out)?;
        table.write(out)?;
    }
    let mut table = Table::new(&["WITH IT", "VALUE"]);
    let request = &details["request"];
    if request.is_object() {
        table.row(vec!["request".into(), format!("{} {}", text(&request["method"]), text(&request["url"]))]);
    }
    for (group, prefix) in [("user", "user."), ("contexts", ""), ("extra", "")] {
        for (key, value) in details[group].as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
            table.row(vec![format!("{prefix}{key}"), shortened(value)]);
        }
    }
    if !table.is_empty() {
        writeln!(out)?;
        table.write(out)?;
    }
    if let Some(logs) = event["links"]["logs"].as_str() {
        writeln!(out, "\nlog lines of the same {}: {logs}", text(&event["links"]["logs_by"]))?;
    }
    Ok(())
}

/// Returns a time as SDKs write it: RFC 3339, or seconds since 1970.
fn at(time: &Value, times: &Times) -> String {
    match time.as_f64().map(std::time::Duration::try_from_secs_f64) {
        Some(Ok(since)) => {
            let nanos = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
            times.short(&watchfire_types::Timestamp::from_nanos(nanos).to_string().into())
        }
        _ => times.short(time),
    }
}

fn shortened(value: &Value) -> String {
    let whole = text(value);
    match whole.char_indices().nth(MAX_VALUE_CHARS) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use serde_json::json;
    use watchfire_types::Timestamp;

    use super::*;

    #[test]
    fn what_was_around_an_error_is_told_in_columns() {
        let event = json!({
            "details": {
                "breadcrumbs": {"values": [
                    {"timestamp": 1_795_392_600.5, "level": "info", "category": "shop::cart", "message": "put into the\ncart"},
                    {"timestamp": "2026-11-23T00:10:01Z", "category": "httplib", "data": {"status_code": 200}},
                    {"message": "odd times are none", "timestamp": {"a": 1}},
                ]},
                "extra": {"product.id": 7, "long": "x".repeat(500), "nothing": null},
                "request": {"method": "POST", "url": "https://shop.example/pay"},
            },
            "links": {"logs": "/api/v1/logs?q=trace_id%3A1", "logs_by": "trace"},
        });
        let times = Times { now: Timestamp::from_seconds(1_795_392_700), zone: TimeZone::UTC };
        let mut text = Vec::new();
        around(&event, &times, &mut Output::new(&mut text)).unwrap();
        let text = String::from_utf8(text).unwrap().replace(&"x".repeat(160), "x…160…x");
        insta::assert_snapshot!(text, @r#"
        AT        LEVEL  BY          BEFORE IT
        00:10:00  info   shop::cart  put into the cart
        00:10:01  -      httplib     {"status_code":200}
        -         -      -           odd times are none

        WITH IT     VALUE
        request     POST https://shop.example/pay
        product.id  7
        long        x…160…x…

        log lines of the same trace: /api/v1/logs?q=trace_id%3A1
        "#);
        let mut nothing = Vec::new();
        around(&json!({}), &times, &mut Output::new(&mut nothing)).unwrap();
        assert!(nothing.is_empty());
    }
}
