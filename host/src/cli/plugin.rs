//! `plugin`.

use std::io::Write as _;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::args::{EnableArgs, PluginAction, PluginArgs};
use super::client::Client;
use super::output::{Output, say};
use super::report::AskedWrongly;
use super::table::{Table, Times, json_lines, rows, text};
use super::{Answer, Exit};

const PATH: &str = "api/v1/plugins";

pub(super) async fn plugin(args: &PluginArgs, out: &mut Output<'_>) -> Answer {
    let client = Client::new(&args.host)?;
    match args.action.as_ref().unwrap_or(&PluginAction::List) {
        PluginAction::List => list(&client, args.json, out).await,
        PluginAction::Show { name } => {
            let plugin = client.get_one(PATH, name).await?;
            if args.json {
                writeln!(out, "{plugin}")?;
                return Ok(Exit::Done);
            }
            let log = client.get_under(PATH, name, "log").await?;
            show(&plugin, rows(&log, "lines"), out)?;
            Ok(Exit::Done)
        }
        PluginAction::Enable(enable) => {
            let grant = grant(&client, enable).await?;
            let plugin = client.act_with(PATH, &enable.name, "enable", &json!({"grant": grant})).await?;
            tell(&plugin, args.json, out)
        }
        PluginAction::Disable { name } => tell(&client.act(PATH, name, "disable").await?, args.json, out),
        PluginAction::Remove { name } => {
            client.delete(PATH, name).await?;
            say(format_args!("plugin `{name}` is removed"));
            Ok(Exit::Done)
        }
        PluginAction::Test { name } => {
            let test = client.act(PATH, name, "test").await?;
            let passed = test["passed"] == true;
            if args.json {
                writeln!(out, "{test}")?;
            } else {
                writeln!(out, "{}  {}", if passed { "ok    " } else { "FAILED" }, text(&test["detail"]))?;
            }
            Ok(if passed { Exit::Done } else { Exit::Failed })
        }
    }
}

async fn list(client: &Client, as_json: bool, out: &mut Output<'_>) -> Answer {
    let answer = client.get(PATH, &[]).await?;
    let plugins = rows(&answer, "plugins");
    if as_json {
        json_lines(plugins, out)?;
    } else if plugins.is_empty() {
        say("no plugins; put components (*.wasm) into `plugins` in the data directory, or name folders in plugins.directories");
    } else {
        let mut table = Table::new(&["NAME", "KIND", "STATE", "VERSION", "ASKS FOR", "GRANTED", "CALLS", "FAILURES"]);
        for plugin in plugins {
            table.row(vec![
                text(&plugin["name"]),
                text(&plugin["kind"]),
                text(&plugin["state"]).to_uppercase().replace('_', " "),
                text(&plugin["version"]),
                wishes(&plugin["asks"]),
                wishes(&plugin["grants"]),
                text(&plugin["calls"]),
                text(&plugin["failures"]),
            ]);
        }
        table.write(out)?;
        for plugin in plugins {
            if let Some(reason) = plugin["reason"].as_str().filter(|reason| !reason.is_empty()) {
                say(format_args!("{}: {reason}", text(&plugin["name"])));
            }
        }
    }
    Ok(Exit::Done)
}

/// Returns capabilities and hosts in one line.
fn wishes(grant: &Value) -> String {
    let all: Vec<String> = rows(grant, "capabilities").iter().chain(rows(grant, "outbound")).map(text).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(" ") }
}

fn show(plugin: &Value, lines: &[Value], out: &mut Output<'_>) -> std::io::Result<()> {
    let times = Times::here();
    for (key, value) in plugin.as_object().into_iter().flatten() {
        let shown = match value {
            Value::Array(items) if items.is_empty() => "-".to_owned(),
            Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
            Value::Object(_) => wishes(value),
            Value::String(_) if key.ends_with("_at") => times.short(value),
            _ => text(value),
        };
        writeln!(out, "{key:<17}{shown}")?;
    }
    if !lines.is_empty() {
        writeln!(out, "\nwhat it said last")?;
    }
    for line in lines {
        writeln!(out, "{}  {}", times.short(&line["timestamp"]), super::output::visible(&text(&line["text"])))?;
    }
    Ok(())
}

/// Returns what is to be granted: nothing new, all that is asked for, or what is named.
async fn grant(client: &Client, args: &EnableArgs) -> anyhow::Result<Value> {
    let config = match &args.config {
        None => Value::Null,
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_str::<Value>(&text)
                .ok()
                .filter(Value::is_object)
                .ok_or_else(|| AskedWrongly(format!("{}: expected one JSON object", path.display())))?
        }
    };
    if args.grant_all {
        let plugin = client.get_one(PATH, &args.name).await?;
        let asks = &plugin["asks"];
        let all = match wishes(asks) {
            nothing if nothing == "-" => "nothing but its own log, its configuration and what it is shown".to_owned(),
            all => all,
        };
        say(format_args!("granting `{}`: {all}", args.name));
        return Ok(json!({"capabilities": asks["capabilities"], "outbound": asks["outbound"], "config": config}));
    }
    if args.capability.is_empty() && args.outbound.is_empty() && config.is_null() {
        return Ok(Value::Null);
    }
    Ok(json!({"capabilities": args.capability, "outbound": args.outbound, "config": config}))
}

fn tell(plugin: &Value, as_json: bool, out: &mut Output<'_>) -> Answer {
    let (name, state, reason) = (text(&plugin["name"]), text(&plugin["state"]), plugin["reason"].as_str().unwrap_or_default());
    if as_json {
        writeln!(out, "{plugin}")?;
    } else {
        say(format_args!("plugin `{name}` is {}{}{reason}", state.replace('_', " "), if reason.is_empty() { "" } else { ": " }));
    }
    Ok(if matches!(state.as_str(), "failed" | "not_granted") { Exit::Failed } else { Exit::Done })
}
