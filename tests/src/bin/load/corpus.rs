//! Log records that look like those of real programs: fixed words, and numbers, ids and addresses that vary.

use fastrand::Rng;
use serde_json::{Map, Value};
use watchfire_tests::payload;
use watchfire_types::Timestamp;

/// What a program says, with `{…}` for what varies. About 100 to 150 bytes when filled in.
const TEMPLATES: [&str; 12] = [
    "{ip} - - \"GET /api/v1/products/{n}?page={small}&sort=price HTTP/1.1\" 200 {n} \"https://shop.example.com/list\" {ms} ms",
    "{ip} - - \"POST /api/v1/orders HTTP/1.1\" 201 {n} \"-\" \"okhttp/4.12.0\" request_id={id} upstream={ms} ms",
    "Accepted publickey for deploy from {ip} port {n} ssh2: ED25519 SHA256:{id}{id}",
    "order {n} of customer {n} paid with card ending {small}: total {small}.{small} EUR, transaction {id}, took {ms} ms",
    "cache miss for key product:{n}:image:{small}, loaded from replica db-{small} in {ms} ms, {n} bytes",
    "SELECT id, title, price FROM products WHERE category_id = {n} ORDER BY updated_at DESC LIMIT {small} took {ms} ms, {small} rows",
    "worker {small} finished job {id} (image_sync): {small} images uploaded, {small} skipped, {n} bytes in {ms} ms",
    "retrying request {id} to payment gateway {ip}:443 after {ms} ms: connection reset by peer (attempt {small} of 5)",
    "session {id} of user {n} expired after {n} s of inactivity; last seen from {ip} with agent build {n}",
    "kafka consumer group=orders partition={small} offset={n} lag={small} committed in {ms} ms on broker {ip}:9092",
    "connection from {ip}:{n} closed: sent {n} bytes, received {n} bytes, duration {ms} ms, cipher TLS_AES_256_GCM_SHA384",
    "scheduled job cleanup_{small} removed {n} expired carts older than {small} days in {ms} ms, next run in {n} s",
];

const SEVERITIES: [(i32, &str); 8] =
    [(9, "INFO"), (9, "INFO"), (9, "INFO"), (9, "INFO"), (5, "DEBUG"), (5, "DEBUG"), (13, "WARN"), (17, "ERROR")];

/// Makes records; the same seed makes the same ones.
pub(crate) struct Corpus {
    random: Rng,
    attributes: usize,
}

/// One record before it is encoded.
pub(crate) struct Line {
    pub(crate) severity: (i32, &'static str),
    pub(crate) body: String,
    pub(crate) attributes: Vec<(String, Attribute)>,
}

/// The value of an attribute.
pub(crate) enum Attribute {
    Text(String),
    Int(i64),
}

impl Corpus {
    pub(crate) fn new(seed: u64, attributes: usize) -> Self {
        Self { random: Rng::with_seed(seed), attributes }
    }

    pub(crate) fn line(&mut self) -> Line {
        let template = TEMPLATES[self.random.usize(..TEMPLATES.len())];
        let severity = SEVERITIES[self.random.usize(..SEVERITIES.len())];
        Line { severity, body: self.fill(template), attributes: (0..self.attributes).map(|index| self.attribute(index)).collect() }
    }

    fn fill(&mut self, template: &str) -> String {
        let mut text = String::with_capacity(160);
        let mut parts = template.split(['{', '}']);
        text.extend(parts.next());
        while let (Some(name), Some(rest)) = (parts.next(), parts.next()) {
            text.push_str(&self.value(name));
            text.push_str(rest);
        }
        text
    }

    fn value(&mut self, name: &str) -> String {
        match name {
            "ip" => format!("10.{}.{}.{}", self.random.u8(..8), self.random.u8(..), self.random.u8(1..)),
            "id" => format!("{:016x}", self.random.u64(..)),
            // Most requests are quick.
            "ms" => format!("{:.3}", 1000.0 * self.random.f64().powi(4)),
            "small" => self.random.u32(1..100).to_string(),
            _ => self.random.u32(1..100_000).to_string(),
        }
    }

    /// The first four are of the usual kinds: few values, a number, an id that never repeats, a user.
    fn attribute(&mut self, index: usize) -> (String, Attribute) {
        match index {
            0 => ("http.request.method".into(), Attribute::Text(["GET", "POST", "PUT"][self.random.usize(..3)].into())),
            1 => ("http.response.status_code".into(), Attribute::Int([200, 200, 200, 201, 404, 500][self.random.usize(..6)])),
            2 => ("request.id".into(), Attribute::Text(self.value("id"))),
            3 => ("user.id".into(), Attribute::Int(self.random.i64(1..50_000))),
            _ => (format!("attribute.{index}"), Attribute::Int(self.random.i64(..1000))),
        }
    }
}

impl Line {
    /// Returns it as an OTLP record.
    pub(crate) fn otlp(self, at: Timestamp) -> opentelemetry_proto::tonic::logs::v1::LogRecord {
        let attribute = |(key, value): (String, Attribute)| match value {
            Attribute::Text(text) => payload::text_attribute(&key, text),
            Attribute::Int(number) => payload::int_attribute(&key, number),
        };
        let attributes = self.attributes.into_iter().map(attribute).collect();
        payload::log_record(at, self.severity.0, self.body, attributes)
    }

    /// Returns it as a line of JSON, with its end.
    pub(crate) fn json(self, at: Timestamp, service: &str) -> String {
        let mut object = Map::new();
        object.insert("timestamp".into(), at.to_string().into());
        object.insert("level".into(), self.severity.1.into());
        object.insert("service".into(), service.into());
        object.insert("message".into(), self.body.into());
        for (key, value) in self.attributes {
            let value = match value {
                Attribute::Text(text) => text.into(),
                Attribute::Int(number) => number.into(),
            };
            object.insert(key, value);
        }
        format!("{}\n", Value::Object(object))
    }

    /// Returns it as a program would write it to a file, with its end.
    pub(crate) fn text(&self, at: Timestamp) -> String {
        format!("{at} shop-1 shop[4711]: {} {}\n", self.severity.1, self.body)
    }
}
