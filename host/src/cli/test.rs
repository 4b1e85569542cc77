//! `test`: a notification to every receiver or to one, or what a rule sees now.

use std::io::Write as _;

use serde_json::{Value, json};

use super::alerts::{condition, counted, definition};
use super::args::{TestArgs, TestWhat};
use super::client::{Client, ClientError};
use super::output::{Output, say};
use super::report::AskedWrongly;
use super::table::{Table, json_lines, labels, rows, text};
use super::{Answer, Exit};
use crate::nearest::did_you_mean;

pub(super) async fn test(args: &TestArgs, out: &mut Output<'_>) -> Answer {
    let client = Client::new(&args.host)?;
    match &args.what {
        Some(TestWhat::Rule { name }) => rule(&client, name, args.json, out).await,
        Some(TestWhat::Channel { name }) => channels(&client, vec![name.clone()], args.json, out).await,
        None => {
            let answer = client.get("api/v1/receivers", &[]).await?;
            let names: Vec<String> = rows(&answer, "receivers").iter().map(|receiver| text(&receiver["name"])).collect();
            if names.is_empty() {
                say("no receiver is enabled, so an alert tells nobody");
                say("hint: enable `alerting.notifications.email` or `.webhook` in the configuration");
                return Ok(Exit::Failed);
            }
            channels(&client, names, args.json, out).await
        }
    }
}

async fn channels(client: &Client, names: Vec<String>, json: bool, out: &mut Output<'_>) -> Answer {
    let mut results = Vec::new();
    for name in names {
        say(format_args!("telling `{name}` …"));
        results.push(match client.act("api/v1/receivers", &name, "test").await {
            Ok(result) => result,
            Err(error @ ClientError::Refused { status: 400.., .. }) if results.is_empty() => return Err(error.into()),
            Err(ClientError::Refused { message, .. }) => json!({ "receiver": name, "delivered": false, "detail": message }),
            Err(error) => return Err(error.into()),
        });
    }
    if json {
        json_lines(&results, out)?;
    } else {
        let mut table = Table::new(&["RECEIVER", "DELIVERED", "DETAIL"]);
        for result in &results {
            let delivered = if result["delivered"] == true { "yes" } else { "NO" };
            table.row(vec![text(&result["receiver"]), delivered.to_owned(), text(&result["detail"])]);
        }
        table.write(out)?;
    }
    Ok(if results.iter().all(|result| result["delivered"] == true) { Exit::Done } else { Exit::Failed })
}

/// Shows what the rule looks at. Fails if there is nothing to look at: such a rule never fires.
async fn rule(client: &Client, name: &str, json: bool, out: &mut Output<'_>) -> Answer {
    let answer = client.get("api/v1/rules", &[]).await?;
    let rules: Vec<&Value> = rows(&answer, "rules").iter().map(definition).collect();
    let Some(rule) = rules.iter().find(|rule| rule["name"] == name) else {
        let hint = did_you_mean(name, rules.iter().filter_map(|rule| rule["name"].as_str()));
        return Err(AskedWrongly(format!("there is no rule named `{name}`{hint}")).into());
    };
    say(format_args!("{name}: {}", condition(rule)));
    let window = rule["window"].as_str().unwrap_or("5m").to_owned();
    if rule["metric"].is_string() {
        metric_rule(client, rule, window, json, out).await
    } else if counted(rule).0 == "logs" {
        log_rule(client, rule, window, json, out).await
    } else {
        groups(client, name, json, out).await
    }
}

/// Shows what a rule has counted, group by group.
async fn groups(client: &Client, name: &str, json: bool, out: &mut Output<'_>) -> Answer {
    let answer = client.get_one("api/v1/rule-groups", name).await?;
    let groups = rows(&answer, "groups");
    if json {
        json_lines(groups, out)?;
        return Ok(Exit::Done);
    }
    if let Some(warning) = answer["warning"].as_str() {
        say(format_args!("warning: {warning}"));
    }
    if answer["complete"] == false {
        say("not everything within the window has been read yet");
    }
    if groups.is_empty() {
        say("nothing within the window");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["COUNT", "LABELS", "NEWEST"]);
    for group in groups {
        table.row(vec![text(&group["count"]), labels(&group["labels"]), text(&group["title"])]);
    }
    table.write(out)?;
    Ok(Exit::Done)
}

async fn metric_rule(client: &Client, rule: &Value, window: String, json: bool, out: &mut Output<'_>) -> Answer {
    let mut query = vec![("name", text(&rule["metric"])), ("since", window.clone())];
    query.extend(rule["match"].as_object().into_iter().flatten().map(|(key, value)| ("label", format!("{key}={}", text(value)))));
    let answer = client.get("api/v1/metrics/query", &query).await?;
    let series = rows(&answer, "series");
    let with_samples: Vec<&Value> = series.iter().filter(|series| !rows(series, "samples").is_empty()).collect();
    if with_samples.is_empty() {
        say(format_args!("no sample within the last {window}: this rule has nothing to look at"));
        return Ok(Exit::Failed);
    }
    let mut table = Table::new(&["LABELS", "LAST VALUE", "SAMPLES"]);
    for one in with_samples {
        let samples = rows(one, "samples");
        let last = samples.last().map_or(&Value::Null, |sample| &sample["value"]);
        if json {
            writeln!(out, "{}", json!({ "labels": one["series"]["labels"], "value": last, "samples": samples.len() }))?;
        }
        table.row(vec![labels(&one["series"]["labels"]), text(last), samples.len().to_string()]);
    }
    if !json {
        table.write(out)?;
    }
    Ok(Exit::Done)
}

async fn log_rule(client: &Client, rule: &Value, window: String, json: bool, out: &mut Output<'_>) -> Answer {
    const MOST: usize = 1000;
    let logs = &rule["logs"];
    let mut query = vec![("since", window.clone()), ("limit", MOST.to_string())];
    for (key, parameter) in [("text", "q"), ("level", "level"), ("service", "service")] {
        query.extend(logs[key].as_str().filter(|text| !text.is_empty()).map(|text| (parameter, text.to_owned())));
    }
    query.extend(
        logs["attributes"].as_object().into_iter().flatten().map(|(key, value)| ("attribute", format!("{key}={}", text(value)))),
    );
    let answer = client.get("api/v1/logs", &query).await?;
    let count = rows(&answer, "records").len();
    if json {
        writeln!(out, "{}", json!({ "records": count, "at_least": answer["truncated"] == true }))?;
    } else {
        let at_least = if answer["truncated"] == true { "at least " } else { "" };
        writeln!(out, "{at_least}{count} records within the last {window}")?;
    }
    Ok(Exit::Done)
}
