//! Reads access logs in a `log_format` of one's own, as nginx's configuration has it.
//!
//! `template` reads the format and takes lines apart, `time` reads times; here the pieces become records.

pub mod template;
pub mod time;

use serde::Deserialize;
use template::Template;
use watchfire_plugin::{Descriptor, Error, Origin, ParsedRecord, Parser, Records, Result, severity};

/// The parser.
pub struct AccessLog {
    template: Template,
    drop_paths: Vec<String>,
}

/// Its section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// nginx's `log_format`.
    pub format: String,
    /// Requests for paths that begin so are left out.
    pub drop_paths: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        let combined =
            r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;
        Self { format: combined.to_owned(), drop_paths: Vec::new() }
    }
}

const SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "format": {"type": "string", "minLength": 1, "maxLength": 4096,
      "description": "nginx's log_format; by default the combined one."},
    "drop_paths": {"type": "array", "items": {"type": "string", "minLength": 1}, "default": [],
      "description": "Requests for paths that begin with one of these are left out."}
  }
}"#;

/// What of a request is told in other words than the line's.
#[derive(Default)]
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    protocol: &'a str,
    status: &'a str,
    whole: &'a str,
    time: u64,
}

impl Parser for AccessLog {
    type Config = Config;

    fn descriptor() -> Descriptor {
        Descriptor::new("access-log", env!("CARGO_PKG_VERSION"), "Reads access logs in a log_format of one's own")
            .config_schema(SCHEMA)
    }

    fn init(config: Config) -> Result<Self> {
        let template =
            Template::new(&config.format).map_err(|problem| Error::configuration(format!("config.format: {problem}")))?;
        Ok(Self { template, drop_paths: config.drop_paths })
    }

    fn line(&mut self, line: &str, _of: &Origin<'_>, out: &mut Records) -> Result<()> {
        let Some(values) = self.template.read(line) else {
            out.not_understood();
            return Ok(());
        };
        let request = request(&values);
        if self.drop_paths.iter().any(|path| request.path.starts_with(path.as_str())) {
            out.drop_line();
            return Ok(());
        }
        let body = match (request.whole, request.method) {
            ("", "") => line.to_owned(),
            ("", method) => format!("{method} {} {}", request.path, request.status),
            (whole, _) => format!("{whole} {}", request.status),
        };
        let level = match request.status.as_bytes().first() {
            Some(b'5') => severity::ERROR,
            Some(b'4') => severity::WARN,
            _ => severity::INFO,
        };
        let mut record = out.record(body.trim_end()).time(request.time).severity(level);
        for (name, value) in [
            ("http.request.method", request.method),
            ("url.path", request.path),
            ("url.query", request.query),
            ("network.protocol.version", request.protocol.strip_prefix("HTTP/").unwrap_or(request.protocol)),
        ] {
            record = text(record, name, value);
        }
        for (name, value) in values {
            record = attribute(record, name, value);
        }
        Ok(())
    }

    fn self_test(&mut self) -> Result<String> {
        Ok(format!("it reads {} values of each line", self.template.variables()))
    }
}

fn request<'a>(values: &[(&'a str, &'a str)]) -> Request<'a> {
    let mut request = Request::default();
    for (name, value) in values {
        match *name {
            "request" => {
                request.whole = value;
                let mut words = value.splitn(3, ' ');
                let method = words.next().unwrap_or("");
                if let Some(target) = words.next()
                    && method.bytes().all(|byte| byte.is_ascii_uppercase())
                {
                    request.method = method;
                    (request.path, request.query) = target.split_once('?').unwrap_or((target, ""));
                    request.protocol = words.next().unwrap_or("");
                }
            }
            "request_method" => request.method = value,
            "uri" => request.path = value,
            "request_uri" => (request.path, request.query) = value.split_once('?').unwrap_or((value, "")),
            "args" | "query_string" => request.query = value,
            "server_protocol" => request.protocol = value,
            "status" => request.status = value,
            "time_local" => request.time = time::local(value).unwrap_or(0),
            "time_iso8601" => request.time = time::iso8601(value).unwrap_or(0),
            "msec" => request.time = time::msec(value).unwrap_or(0),
            _ => {}
        }
    }
    request
}

fn attribute<'r>(record: ParsedRecord<'r>, name: &str, value: &str) -> ParsedRecord<'r> {
    match name {
        "request" | "request_method" | "uri" | "request_uri" | "args" | "query_string" | "server_protocol" | "time_local"
        | "time_iso8601" | "msec" => record,
        "status" => number(record, "http.response.status_code", value),
        "remote_addr" => text(record, "client.address", value),
        "remote_user" => text(record, "user.name", value),
        "host" | "server_name" => text(record, "server.address", value),
        "body_bytes_sent" => number(record, "http.response.body.size", value),
        "bytes_sent" => number(record, "http.response.size", value),
        "request_length" => number(record, "http.request.size", value),
        "request_time" => match value.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() => record.float("http.server.request.duration", seconds),
            _ => text(record, "nginx.request_time", value),
        },
        "http_user_agent" => text(record, "user_agent.original", value),
        _ => match name.strip_prefix("http_") {
            Some(header) => text(record, &format!("http.request.header.{}", header.replace('_', "-")), value),
            None => text(record, &format!("nginx.{name}"), value),
        },
    }
}

/// Adds a text, unless it is the dash that stands for "none".
fn text<'r>(record: ParsedRecord<'r>, name: &str, value: &str) -> ParsedRecord<'r> {
    if value.is_empty() || value == "-" { record } else { record.text(name, value) }
}

fn number<'r>(record: ParsedRecord<'r>, name: &str, value: &str) -> ParsedRecord<'r> {
    match value.parse() {
        Ok(number) => record.integer(name, number),
        Err(_) => text(record, name, value),
    }
}

watchfire_plugin::export_parser!(AccessLog);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use watchfire_plugin::testing::{ParsedLine, ParserTester};

    use super::*;

    #[test]
    fn a_format_of_ones_own_is_read() {
        let format = r#"$remote_addr [$time_iso8601] "$request" $status $body_bytes_sent rt=$request_time "$http_user_agent" $upstream_addr"#;
        let mut tester = ParserTester::<AccessLog>::new(json!({"format": format, "drop_paths": ["/healthz"]})).unwrap();
        let lines = [
            r#"10.0.0.1 [2026-11-24T05:37:20+01:00] "GET /pay?a=1 HTTP/2.0" 503 12 rt=0.123 "curl/8 (x)" 10.0.0.9:80"#,
            r#"10.0.0.1 [2026-11-24T05:37:20+01:00] "GET /healthz HTTP/1.1" 200 2 rt=0.000 "probe" -"#,
            "another line",
        ];
        let parsed = tester.parse(&lines).unwrap();
        let ParsedLine::Record { time, severity, body, attributes } = &parsed[0] else { panic!("{parsed:?}") };
        assert_eq!((*time, *severity, body.as_str()), (1_795_495_040_000_000_000, 17, "GET /pay?a=1 HTTP/2.0 503"));
        let shown: Vec<String> = attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let wanted = [
            "client.address=10.0.0.1",
            "http.request.method=GET",
            "http.response.body.size=12",
            "http.response.status_code=503",
            "http.server.request.duration=0.123",
            "network.protocol.version=2.0",
            "nginx.upstream_addr=10.0.0.9:80",
            "url.path=/pay",
            "url.query=a=1",
            "user_agent.original=curl/8 (x)",
        ];
        assert_eq!(shown, wanted);
        assert_eq!(parsed[1..], [ParsedLine::Dropped, ParsedLine::NotUnderstood]);
    }

    #[test]
    fn a_format_that_cannot_be_read_is_refused() {
        let problem = |format: &str| ParserTester::<AccessLog>::new(json!({ "format": format })).err().unwrap().message;
        assert_eq!(problem("$a$b"), "config.format: nothing stands between `$a` and `$b`: where one ends cannot be told");
        assert_eq!(problem("no variable"), "config.format: it has no variable such as `$status`");
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "\\PC{0,80}|([0-9.]{1,9} - - \\[[0-9A-Za-z/: +]{0,28}\\] \"\\PC{0,20}\" [0-9]{0,4} [0-9]{0,3} \"\" \"\")") {
            let mut tester = ParserTester::<AccessLog>::new(json!({})).unwrap();
            prop_assert_eq!(tester.parse(&[&line, &line]).unwrap().len(), 2);
        }
    }
}
