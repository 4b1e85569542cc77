//! Parser components: what they make of lines, and that no line is lost whatever they do.

use std::fs;

use serde_json::json;
use watchfire::config::FileInput;
use watchfire::inputs::formats::Format;
use watchfire::plugins::parsers::ParserSource;
use watchfire::plugins::{ParsedBatch, ParserLine, Parsers, PluginState};
use watchfire::telemetry::SelfMetrics;
use watchfire_tests::{PluginRoom, TestHost, eventually, plugin};
use watchfire_types::Value;

fn lines(texts: &[&str]) -> Vec<ParserLine> {
    texts.iter().map(|text| ParserLine { text: (*text).to_owned(), time: None, stream: "" }).collect()
}

async fn parse(room: &PluginRoom, parsers: &Parsers, name: &str, texts: &[&str]) -> ParsedBatch {
    let source = ParserSource { name: "/var/log/a.log".to_owned(), service: "a".to_owned(), resource: Vec::new() };
    parsers.parse(name, source, lines(texts), room.clock().now()).await
}

fn bodies(parsed: &ParsedBatch) -> Vec<String> {
    (0..parsed.batch.len()).map(|row| parsed.batch.record(row).body.as_ref().display()).collect()
}

fn reason(parsed: &ParsedBatch) -> String {
    parsed.batch.find_attribute(0, "parser.error").map(watchfire_types::ValueRef::display).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parser_that_misbehaves_costs_its_own_call_and_no_line() {
    let modes = [
        ("spin", "ran longer"),
        ("panic", "the plugin has a bug at row 17"),
        ("allocate", "memory"),
        ("overflow", "trapped"),
        ("exit", "ended itself"),
        ("huge", ""),
        ("many-attributes", "a record has more than 256 attributes"),
        ("severity", "`severity` holds 99"),
        ("refuse", "nnn"),
    ];
    let room =
        PluginRoom::start(modes.map(|(mode, _)| (mode, plugin("hostile-parser", json!({"mode": mode, "line": "bad"}))))).await;
    let parsers = Parsers::new(room.plugins().clone(), SelfMetrics::default());
    for (mode, why) in modes {
        assert_eq!(bodies(&parse(&room, &parsers, mode, &["good", "fine"]).await), ["GOOD", "FINE"], "{mode}");
        let parsed = parse(&room, &parsers, mode, &["good", "bad"]).await;
        assert_eq!((bodies(&parsed), parsed.raw), (vec!["good".to_owned(), "bad".to_owned()], 2), "{mode}");
        assert!(reason(&parsed).contains(why), "{mode}: {}", reason(&parsed));
        // It waits, and lines do not; then it is called again.
        let waiting = parse(&room, &parsers, mode, &["good"]).await;
        if mode != "refuse" {
            assert_eq!(bodies(&waiting), ["good"], "{mode}");
            assert!(reason(&waiting).contains("called again at"), "{mode}: {}", reason(&waiting));
        }
        room.let_waits_pass();
        assert_eq!(bodies(&parse(&room, &parsers, mode, &["good"]).await), ["GOOD"], "{mode}");
    }
    assert!(room.view("panic").failures > 0 && room.view("panic").state == PluginState::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_called_loses_no_line_either() {
    let room = PluginRoom::start([
        ("finder", plugin("hostile-analyzer", json!({}))),
        ("dropper", plugin("hostile-parser", json!({"mode": "drop", "line": "bad"}))),
    ])
    .await;
    let parsers = Parsers::new(room.plugins().clone(), SelfMetrics::default());
    let parsed = parse(&room, &parsers, "nobody", &["a"]).await;
    assert!(bodies(&parsed) == ["a"] && reason(&parsed).contains("no plugin is called `nobody`"), "{}", reason(&parsed));
    let parsed = parse(&room, &parsers, "finder", &["a"]).await;
    assert!(
        reason(&parsed).contains("is no parser but a analyzer") || reason(&parsed).contains("is no parser"),
        "{}",
        reason(&parsed)
    );
    let many: Vec<String> =
        (0..10_000).map(|number| if number % 2 == 0 { format!("bad {number}") } else { format!("line {number}") }).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let parsed = parse(&room, &parsers, "dropper", &many).await;
    assert_eq!((parsed.batch.len(), parsed.dropped, parsed.raw), (5_000, 5_000, 0));
    assert_eq!(parsed.batch.record(4_999).body, Value::from("LINE 9999"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_a_format_of_ones_own_is_read_by_a_component() {
    let format = "$remote_addr [$time_iso8601] \"$request\" $status $request_time";
    let host = TestHost::start_with(|config, folder| {
        let config_of_parser = json!({"format": format, "drop_paths": ["/healthz"]});
        config.plugins.components.insert("access".to_owned(), plugin("access-log", config_of_parser));
        let path = folder.join("shop.log");
        fs::write(&path, "").expect("a temporary folder can be written");
        config.inputs.files.push(FileInput {
            from_beginning: true,
            format: Format::Parser("access".to_owned()),
            ..FileInput::at(path)
        });
    });
    // Until it has been compiled, lines are stored as they are: no line waits for it.
    eventually("the parser runs", async || {
        let view = host.client().get_json("/api/v1/plugins/access").await;
        (view["state"] == "ready").then_some(())
    })
    .await;
    let now = host.clock().now().to_string();
    let time = format!("{}+00:00", &now[..19]);
    let text = format!(
        "10.0.0.1 [{time}] \"GET /pay?a=1 HTTP/2.0\" 503 0.123\n10.0.0.1 [{time}] \"GET /healthz HTTP/1.1\" 200 0.001\nno such line\n"
    );
    fs::write(host.path("shop.log"), text).expect("a temporary folder can be written");
    let records = host.client().records_until(2, &[]).await;
    let find = |body: &str| records.iter().find(|record| record.body.as_text() == Some(body)).expect("it is stored");
    let paid = serde_json::to_value(find("GET /pay?a=1 HTTP/2.0 503")).expect("records can be written");
    assert_eq!((&paid["severity_number"], &paid["attributes"]["http.response.status_code"]), (&json!(17), &json!(503)));
    assert_eq!(paid["resource"]["service.name"], "shop");
    assert_eq!(find("no such line").severity_number, 0);
}
