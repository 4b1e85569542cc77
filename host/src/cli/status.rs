//! `status`: how the host and the machine are.

use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::Value;

use super::args::StatusArgs;
use super::client::Client;
use super::output::Output;
use super::table::{Table, bytes, count, rows, seconds, short_number, text};
use super::{Answer, Exit};

pub(super) async fn status(args: &StatusArgs, out: &mut Output<'_>) -> Answer {
    let client = Client::new(&args.host)?;
    let mut status = client.get("api/v1/status", &[]).await?;
    let health = client.get("api/v1/health", &[]).await.unwrap_or_default();
    if args.json {
        status["health"] = health;
        writeln!(out, "{status}")?;
    } else {
        show(&client, &status, &health, out)?;
    }
    Ok(if status["state"] == "ok" { Exit::Done } else { Exit::Failed })
}

fn show(client: &Client, status: &Value, health: &Value, out: &mut Output<'_>) -> std::io::Result<()> {
    let number = |section: &str, key: &str| status[section][key].as_u64().unwrap_or_default();
    let up = seconds(status["uptime_seconds"].as_f64().unwrap_or_default() as u64);
    writeln!(out, "watchfire {} is {}: {}", text(&status["version"]), text(&status["state"]), client.url())?;
    let memory = bytes(status["memory_bytes"].as_u64().unwrap_or_default());
    writeln!(out, "  process  pid {}, up {up}, {memory} of memory", text(&status["pid"]))?;
    writeln!(out, "  data     {}", text(&status["data_dir"]))?;
    writeln!(out, "  logs     {} records, {}", count(number("logs", "records")), bytes(number("logs", "bytes")))?;
    writeln!(out, "  metrics  {} series, {}", count(number("metrics", "series")), bytes(number("metrics", "bytes")))?;
    if !health.is_null() {
        writeln!(out, "  machine  {}", machine(health))?;
    }
    let parts = rows(status, "parts");
    if !parts.is_empty() {
        let mut table = Table::new(&["PART", "STATE", "DETAIL"]);
        for part in parts {
            table.row(vec![text(&part["name"]), text(&part["state"]), text(&part["detail"])]);
        }
        writeln!(out)?;
        table.write(out)?;
    }
    for part in
        parts.iter().filter(|part| part["state"] == "degraded" && part["hint"].as_str().is_some_and(|hint| !hint.is_empty()))
    {
        writeln!(out, "hint: {}: {}", text(&part["name"]), text(&part["hint"]))?;
    }
    for warning in rows(status, "warnings") {
        writeln!(out, "warning: {}", text(warning))?;
    }
    Ok(())
}

fn machine(health: &Value) -> String {
    let percent = |key: &str| {
        health[key].as_f64().map_or_else(|| "-".to_owned(), |value| format!("{} %", short_number((value * 10.0).round() / 10.0)))
    };
    let (cpu, memory, disk) = (percent("cpu_percent"), percent("memory_percent"), percent("disk_usage_percent"));
    let mut line = format!("{}: processors {cpu}, memory {memory}, disk {disk}", text(&health["status"]));
    let _ = write!(line, ", {} processes, {} alerts firing", text(&health["process_count"]), text(&health["alerts_firing"]));
    let reasons: Vec<String> = rows(health, "reasons").iter().map(text).collect();
    if reasons.is_empty() { line } else { format!("{line} ({})", reasons.join("; ")) }
}
