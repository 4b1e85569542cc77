//! What the fields of a document mean: the Elastic Common Schema's names, nested or with points, and those that rsyslog, syslog-ng
//! and the logging libraries use by themselves.

use crate::inputs::object_record::Meaning;

/// Says what a field stands for.
pub(super) fn meaning(key: &str) -> Option<(Meaning, u8)> {
    Some(match key {
        "@timestamp" => (Meaning::Time, 0),
        "timestamp" => (Meaning::Time, 1),
        // rsyslog's
        "timereported" => (Meaning::Time, 2),
        "time" => (Meaning::Time, 3),
        "ts" => (Meaning::Time, 4),
        "ISODATE" => (Meaning::Time, 5),
        "event.ingested" | "observed_timestamp" => (Meaning::Observed, 0),
        "log.level" => (Meaning::Level, 0),
        "level" => (Meaning::Level, 1),
        "severity" => (Meaning::Level, 2),
        "severity_text" => (Meaning::Level, 3),
        "loglevel" | "levelname" => (Meaning::Level, 4),
        // rsyslog's `priority` and syslog-ng's are words.
        "priority" => (Meaning::Level, 5),
        "PRIORITY" => (Meaning::Level, 6),
        "severity_number" => (Meaning::SeverityNumber, 0),
        "message" => (Meaning::Body, 0),
        "msg" => (Meaning::Body, 1),
        "log" => (Meaning::Body, 2),
        "MESSAGE" => (Meaning::Body, 3),
        "body" => (Meaning::Body, 4),
        "body.text" => (Meaning::Body, 5),
        "service.name" => (Meaning::Service, 0),
        "service" => (Meaning::Service, 1),
        "program" | "programname" | "app" => (Meaning::Service, 2),
        "PROGRAM" => (Meaning::Service, 3),
        "container.name" | "kubernetes.container.name" => (Meaning::Service, 4),
        "host.name" => (Meaning::Host, 0),
        "host.hostname" => (Meaning::Host, 1),
        "host" => (Meaning::Host, 2),
        "hostname" => (Meaning::Host, 3),
        "fromhost" => (Meaning::Host, 4),
        "HOST" => (Meaning::Host, 5),
        "trace.id" => (Meaning::TraceId, 0),
        "trace_id" => (Meaning::TraceId, 1),
        "span.id" => (Meaning::SpanId, 0),
        "span_id" => (Meaning::SpanId, 1),
        "process.pid" => (Meaning::ProcessId, 0),
        "PID" => (Meaning::ProcessId, 1),
        "log.logger" => (Meaning::Scope, 0),
        _ => return None,
    })
}

/// Returns an index without the date or the number at its end: what the indices of one program have in common.
pub(super) fn stem(index: &str) -> &str {
    let is_end = |part: &str| {
        let (first, digits) =
            (part.bytes().take_while(u8::is_ascii_digit).count(), part.bytes().filter(u8::is_ascii_digit).count());
        // 2026.11.24, 2026.11, 2026-11-24, 000001, 2026.11.24-000001
        part.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_')) && first >= 4 && digits <= 14
    };
    let cuts = index.char_indices().filter(|(_, char)| matches!(char, '-' | '_' | '.')).map(|(at, _)| at);
    let cut = cuts.filter(|at| *at > 0).find(|at| is_end(&index[at + 1..]));
    cut.map_or(index, |at| &index[..at])
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_index_is_cut_before_its_date() {
        for (index, stem) in [
            ("logstash-2026.11.24", "logstash"),
            ("app-2026-11-24", "app"),
            ("app_2026.11", "app"),
            ("filebeat-8.19.0-2026.11.24-000001", "filebeat-8.19.0"),
            ("logs-nginx-default", "logs-nginx-default"),
            ("shop-000001", "shop"),
            ("shop", "shop"),
            ("shop-2", "shop-2"),
            ("2026.11.24", "2026.11.24"),
            ("-", "-"),
            ("", ""),
        ] {
            assert_eq!(super::stem(index), stem, "{index}");
        }
    }
}
