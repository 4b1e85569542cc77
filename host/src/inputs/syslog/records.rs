//! From messages to records, in the names of OpenTelemetry.
//!
//! Source of the mapping: OpenTelemetry's logs data model, appendix "Example Mappings", RFC 5424 Syslog.

use std::borrow::Cow;
use std::hash::Hasher as _;
use std::net::IpAddr;

use jiff::tz::TimeZone;
use rustc_hash::{FxHashMap, FxHasher};
use watchfire_types::attributes::keys;
use watchfire_types::log::RecordHead;
use watchfire_types::{Attributes, LogBatch, Severity, Timestamp, ValueRef};

use super::super::builder::BatchBuilder;
use super::super::syslog_prefix::find_level;
use super::message::{self, Message};
use super::times::Times;

/// Facility, by its keyword.
const FACILITY: &str = "syslog.facility";
/// PROCID where it is no number.
const PROCESS_ID: &str = "syslog.procid";
/// MSGID.
const MESSAGE_ID: &str = "syslog.msgid";
/// APP-NAME where the configuration gives the service another name.
const PROGRAM: &str = "syslog.appname";
/// Number that the sender counts its messages with.
const SEQUENCE: &str = "syslog.sequence";
/// What kept the message from being understood.
const ERROR: &str = "syslog.error";
/// Set where the message was longer than allowed, or ended early.
const TRUNCATED: &str = "syslog.truncated";
/// The bytes of a message that is not UTF-8.
const ORIGINAL: &str = "log.record.original";
/// Where it came from, other than this machine.
const PEER: &str = "network.peer.address";

/// Keywords of the facilities, by number. Source: RFC 5424, table 1, in the words of `syslog.conf`.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert",
    "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// Keywords of the severities, by number.
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// Parameters up to which a repeated name is looked for one by one.
const FEW_PARAMETERS: usize = 16;

/// Hosts and programs remembered from batch to batch are none; within a batch as many as it has. Builds one batch after the other.
pub struct Records {
    times: Times,
    service: Option<String>,
    /// `host.name` of messages that name none and come from this machine.
    own_host: Option<String>,
    now: Timestamp,
    builder: BatchBuilder,
    resources: Resources,
    key: String,
    unparsed: u64,
    truncated: u64,
}

/// What one batch is made of.
pub struct Built {
    /// The records.
    pub batch: LogBatch,
    /// Messages that were not understood.
    pub unparsed: u64,
    /// Messages that were cut.
    pub truncated: u64,
}

impl Records {
    /// Returns one for messages whose times are meant in `zone` where they name none. `service` overrides what messages say.
    #[must_use]
    pub fn new(zone: TimeZone, service: Option<String>, own_host: Option<String>) -> Self {
        Self {
            times: Times::new(zone, Timestamp::ZERO),
            service,
            own_host,
            now: Timestamp::ZERO,
            builder: BatchBuilder::new(usize::MAX),
            resources: Resources::default(),
            key: String::new(),
            unparsed: 0,
            truncated: 0,
        }
    }

    /// Begins a batch of messages that arrive at `now`.
    pub fn begin(&mut self, now: Timestamp) {
        self.times.set_now(now);
        self.now = now;
        self.builder = BatchBuilder::new(usize::MAX);
        self.resources.clear();
        (self.unparsed, self.truncated) = (0, 0);
    }

    /// Appends a message.
    pub fn push(&mut self, bytes: &[u8], peer: IpAddr, is_cut: bool) {
        let text = String::from_utf8_lossy(bytes);
        let message = message::parse(&text, &mut self.times);
        let severity = message.priority.map(|priority| (Severity::from_syslog(priority), SEVERITIES[usize::from(priority & 7)]));
        let (severity, severity_text) = severity.or_else(|| find_level(message.text)).unwrap_or_default();
        let head = RecordHead {
            timestamp: message.timestamp.unwrap_or(self.now),
            observed: self.now,
            severity,
            severity_text,
            resource: self.resource(&message, peer),
            ..RecordHead::default()
        };
        // There is no budget: what is read at a time is bounded already.
        if self.builder.push(&head, ValueRef::Text(message.text)).is_ok() {
            self.attributes(&message, peer);
            self.oddities(&message, matches!(text, Cow::Borrowed(_)), bytes, is_cut);
        }
    }

    fn resource(&mut self, message: &Message<'_>, peer: IpAddr) -> u32 {
        let service = self.service.as_deref().or(message.program).unwrap_or("");
        let by_peer = || {
            if peer.is_loopback() { self.own_host.as_deref().map(Cow::Borrowed) } else { Some(Cow::Owned(peer.to_string())) }
        };
        let host = message.host.map(Cow::Borrowed).or_else(by_peer).unwrap_or_default();
        self.resources.find(&mut self.builder, service, &host)
    }

    fn attributes(&mut self, message: &Message<'_>, peer: IpAddr) {
        if let Some(priority) = message.priority {
            self.builder.attribute(FACILITY, ValueRef::Text(FACILITIES[usize::from(priority >> 3)]));
        }
        match message.process_id.map(|id| (id, id.parse())) {
            Some((_, Ok(number))) => self.builder.attribute(keys::PROCESS_PID, ValueRef::Int(number)),
            Some((id, Err(_))) => self.builder.attribute(PROCESS_ID, ValueRef::Text(id)),
            None => {}
        }
        if let Some(id) = message.message_id {
            self.builder.attribute(MESSAGE_ID, ValueRef::Text(id));
        }
        if let Some(program) = message.program.filter(|_| self.service.is_some()) {
            self.builder.attribute(PROGRAM, ValueRef::Text(program));
        }
        if let Some(number) = message.sequence {
            self.builder.attribute(SEQUENCE, ValueRef::Int(number));
        }
        if !peer.is_loopback() {
            self.builder.attribute(PEER, ValueRef::Text(&peer.to_string()));
        }
        if !message.structured.is_empty() {
            self.structured(message.structured);
        }
    }

    /// Stores each parameter as `SD-ID.NAME`, an element without any as `SD-ID`, and several of one name as a list.
    fn structured(&mut self, structured: &str) {
        let mut parameters: Vec<(&str, &str, Cow<'_, str>)> = Vec::new();
        let builder = &mut self.builder;
        message::parameters(structured, &mut |id, parameter| match parameter {
            Some((name, value)) => parameters.push((id, name, value)),
            None => builder.attribute(id, ValueRef::Bool(true)),
        });
        let same = same_names(&parameters);
        for (index, (id, name, value)) in parameters.iter().enumerate() {
            if same[index] != index {
                continue;
            }
            self.key.clear();
            self.key.extend([id, ".", name]);
            if same.iter().filter(|first| **first == index).take(2).count() == 1 {
                builder.attribute(&self.key, ValueRef::Text(value));
                continue;
            }
            let values: Vec<&str> =
                same.iter().zip(&parameters).filter(|(first, _)| **first == index).map(|(_, (.., value))| value.as_ref()).collect();
            let list = serde_json::to_string(&values).unwrap_or_default();
            builder.attribute(&self.key, ValueRef::Json(&list));
        }
    }

    /// Takes note of what was not as it should be.
    fn oddities(&mut self, message: &Message<'_>, is_utf8: bool, bytes: &[u8], is_cut: bool) {
        if let Some(fault) = message.fault.or((!is_utf8).then_some("it is not UTF-8")) {
            self.builder.attribute(ERROR, ValueRef::Text(fault));
            self.unparsed += 1;
        }
        if !is_utf8 {
            self.builder.attribute(ORIGINAL, ValueRef::Bytes(bytes));
        }
        if is_cut {
            self.builder.attribute(TRUNCATED, ValueRef::Bool(true));
            self.truncated += 1;
        }
    }

    /// Returns the number of records in the batch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.builder.len()
    }

    /// Returns whether the batch has no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    /// Returns the batch.
    pub fn finish(&mut self) -> Built {
        let builder = std::mem::replace(&mut self.builder, BatchBuilder::new(usize::MAX));
        Built { batch: builder.finish(), unparsed: self.unparsed, truncated: self.truncated }
    }
}

/// Returns for each parameter the first one of the same name.
fn same_names(parameters: &[(&str, &str, Cow<'_, str>)]) -> Vec<usize> {
    let is_same =
        |left: usize, right: usize| (parameters[left].0, parameters[left].1) == (parameters[right].0, parameters[right].1);
    if parameters.len() <= FEW_PARAMETERS {
        return (0..parameters.len()).map(|index| (0..index).find(|first| is_same(*first, index)).unwrap_or(index)).collect();
    }
    let mut seen = FxHashMap::default();
    parameters.iter().enumerate().map(|(index, (id, name, _))| *seen.entry((id, name)).or_insert(index)).collect()
}

/// The resources of a batch by host and service, without making one anew for each message to compare it.
#[derive(Default)]
struct Resources {
    by_hash: FxHashMap<u64, usize>,
    known: Vec<(String, String, u32)>,
    last: usize,
}

impl Resources {
    fn clear(&mut self) {
        self.by_hash.clear();
        self.known.clear();
        self.last = 0;
    }

    fn find(&mut self, builder: &mut BatchBuilder, service: &str, host: &str) -> u32 {
        let is_it = |(known_service, known_host, _): &&(String, String, u32)| known_service == service && known_host == host;
        if let Some((.., index)) = self.known.get(self.last).filter(is_it) {
            return *index;
        }
        let mut hasher = FxHasher::default();
        hasher.write(service.as_bytes());
        hasher.write_u8(0xff);
        hasher.write(host.as_bytes());
        let hash = hasher.finish();
        if let Some(position) = self.by_hash.get(&hash)
            && let Some((.., index)) = self.known.get(*position).filter(is_it)
        {
            self.last = *position;
            return *index;
        }
        let named = [(keys::SERVICE_NAME, service), (keys::HOST_NAME, host)];
        let attributes: Attributes =
            named.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key.to_owned(), value.into())).collect();
        let index = builder.resource(attributes);
        self.last = self.known.len();
        self.by_hash.insert(hash, self.last);
        self.known.push((service.to_owned(), host.to_owned(), index));
        index
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use watchfire_types::LogRecord;

    use super::*;

    fn read(messages: &[&[u8]], service: Option<&str>, peer: [u8; 4]) -> Vec<LogRecord> {
        let mut records = Records::new(TimeZone::UTC, service.map(str::to_owned), Some("this-machine".to_owned()));
        records.begin("2026-11-23T00:10:00Z".parse().unwrap());
        for message in messages {
            records.push(message, IpAddr::from(peer), false);
        }
        let batch = records.finish().batch;
        (0..batch.len()).map(|row| batch.record(row)).collect()
    }

    fn show(record: &LogRecord) -> String {
        let mut json = serde_json::to_value(record).unwrap();
        json.as_object_mut().unwrap().shift_remove("observed_timestamp");
        json.to_string()
    }

    #[test]
    fn every_field_has_its_place() {
        let records = read(
            &[
                b"<165>1 2026-11-22T22:44:07.5Z web1 shop 8710 ID47 [origin ip=\"10.0.0.1\" ip=\"10.0.0.2\" software=\"x\"][only] paid",
                b"<11>Nov 22 22:44:07 web1 app[a7]: it broke",
                b"<14>nothing but text",
                b"[error] no priority",
            ],
            None,
            [192, 0, 2, 7],
        );
        insta::assert_snapshot!(records.iter().map(show).collect::<Vec<_>>().join("\n"), @r#"
        {"timestamp":"2026-11-22T22:44:07.5Z","severity_number":10,"severity_text":"notice","body":"paid","attributes":{"syslog.facility":"local4","process.pid":8710,"syslog.msgid":"ID47","network.peer.address":"192.0.2.7","only":true,"origin.ip":["10.0.0.1","10.0.0.2"],"origin.software":"x"},"resource":{"service.name":"shop","host.name":"web1"}}
        {"timestamp":"2026-11-22T22:44:07Z","severity_number":17,"severity_text":"err","body":"it broke","attributes":{"syslog.facility":"user","syslog.procid":"a7","network.peer.address":"192.0.2.7"},"resource":{"service.name":"app","host.name":"web1"}}
        {"timestamp":"2026-11-23T00:10:00Z","severity_number":9,"severity_text":"info","body":"nothing but text","attributes":{"syslog.facility":"user","network.peer.address":"192.0.2.7"},"resource":{"host.name":"192.0.2.7"}}
        {"timestamp":"2026-11-23T00:10:00Z","severity_number":17,"severity_text":"error","body":"[error] no priority","attributes":{"network.peer.address":"192.0.2.7","syslog.error":"it begins with neither a priority nor a time"},"resource":{"host.name":"192.0.2.7"}}
        "#);
    }

    #[test]
    fn a_configured_service_keeps_the_program_beside_it() {
        let record = &read(&[b"<14>Nov 22 22:44:07 app: text"], Some("firewall"), [127, 0, 0, 1])[0];
        assert_eq!(
            show(record),
            r#"{"timestamp":"2026-11-22T22:44:07Z","severity_number":9,"severity_text":"info","body":"text","attributes":{"syslog.facility":"user","syslog.appname":"app"},"resource":{"service.name":"firewall","host.name":"this-machine"}}"#
        );
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_kept() {
        let record = &read(&[b"<14>caf\xe9"], None, [127, 0, 0, 1])[0];
        assert_eq!(
            show(record),
            r#"{"timestamp":"2026-11-23T00:10:00Z","severity_number":9,"severity_text":"info","body":"caf\ufffd","attributes":{"syslog.facility":"user","syslog.error":"it is not UTF-8","log.record.original":"PDE0PmNhZuk="},"resource":{"host.name":"this-machine"}}"#
                .replace("\\ufffd", "\u{fffd}")
        );
    }

    proptest! {
        #[test]
        fn every_message_becomes_a_record(messages in proptest::collection::vec(any::<Vec<u8>>(), 0..8), line in "<13>1 - - - - - (\\[a( [bc]=\"\\PC{0,3}\"){0,30}\\])? \\PC*") {
            let all: Vec<&[u8]> = messages.iter().map(Vec::as_slice).chain([line.as_bytes()]).collect();
            prop_assert_eq!(read(&all, None, [127, 0, 0, 1]).len(), all.len());
        }
    }
}
