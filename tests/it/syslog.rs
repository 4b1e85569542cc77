//! Syslog as rsyslog, syslog-ng, util-linux's logger and Python's handler send it.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::json;
use watchfire::inputs::syslog::{SyslogInput, TimeZone, TlsFiles};
use watchfire_tasks::debian;
use watchfire_tests::senders::{Certificates, Daemon, logger, python_handler};
use watchfire_tests::{Installation, TestHost, eventually};
use watchfire_types::{LogRecord, Value};

const COUNT: usize = 300;

fn input(listen: &str) -> SyslogInput {
    SyslogInput {
        listen: listen.parse().expect("an address"),
        tls: None,
        // The machine's: daemons of the older form write its time.
        zone: TimeZone::system(),
        service: None,
        max_message_bytes: 64 << 10,
        receive_buffer_bytes: 8 << 20,
        max_connections: 100,
        allow: Vec::new(),
    }
}

fn tls(certificates: &Certificates, wants_clients: bool) -> SyslogInput {
    let client_ca_file = wants_clients.then(|| certificates.path("ca.pem"));
    let files = TlsFiles { cert_file: certificates.path("server.pem"), key_file: certificates.path("server.key"), client_ca_file };
    SyslogInput { tls: Some(files), ..input("tls://127.0.0.1:0") }
}

fn host(inputs: Vec<SyslogInput>) -> (TestHost, Vec<SocketAddr>) {
    let host = TestHost::start_with(|config, _| config.inputs.syslog = inputs);
    let addresses = host.syslog_addresses();
    (host, addresses)
}

fn lines(name: &str) -> impl Iterator<Item = String> {
    (0..COUNT).map(move |number| format!("{name} line {number}: \"quoted\" [and] café"))
}

/// Waits for all lines of `name`, and returns their records.
async fn arrived(host: &TestHost, name: &str) -> Vec<LogRecord> {
    let query = format!("\"{name} line\"");
    let records = host.client().records_until(COUNT, &[("q", &query), ("limit", "1000")]).await;
    let bodies: BTreeSet<_> = records.iter().map(|record| record.body.as_ref().display().trim_start().to_owned()).collect();
    assert_eq!(bodies, lines(name).collect::<BTreeSet<_>>());
    records
}

fn text<'a>(attributes: &'a [(String, Value)], key: &str) -> Option<&'a str> {
    attributes.iter().find(|(known, _)| known == key)?.1.as_text()
}

fn assert_shop(record: &LogRecord) {
    assert_eq!((record.severity_number, &*record.severity_text), (13, "warning"), "{record:?}");
    assert_eq!(text(&record.attributes, "syslog.facility"), Some("local3"), "{record:?}");
    assert_eq!(text(&record.resource, "service.name"), Some("shop"), "{record:?}");
    assert!(text(&record.resource, "host.name").is_some_and(|host| !host.is_empty()), "{record:?}");
    assert_eq!(text(&record.attributes, "syslog.error"), None, "{record:?}");
    // What it was written at is not what it was received at, but near.
    let apart = record.timestamp.as_nanos().abs_diff(record.observed_timestamp.as_nanos());
    assert!(apart < 120_000_000_000, "{record:?}");
}

#[tokio::test]
async fn rsyslog_sends_over_udp_and_tcp_in_every_form() {
    let Some(rsyslog) = debian::program("rsyslogd") else { return };
    let (host, addresses) = host(vec![input("udp://127.0.0.1:0"), input("tcp://127.0.0.1:0")]);
    let forward = |port: u16, protocol: &str, template: &str, more: &str| {
        format!(
            "action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{port}\" protocol=\"{protocol}\" template=\"{template}\" {more})"
        )
    };
    let (udp, tcp) = (addresses[0].port(), addresses[1].port());
    let counted = "TCP_Framing=\"octet-counted\"";
    for (name, action) in [
        ("udp-5424", forward(udp, "udp", "RSYSLOG_SyslogProtocol23Format", "")),
        ("udp-iso", forward(udp, "udp", "RSYSLOG_ForwardFormat", "")),
        ("udp-3164", forward(udp, "udp", "RSYSLOG_TraditionalForwardFormat", "")),
        ("tcp-5424-lines", forward(tcp, "tcp", "RSYSLOG_SyslogProtocol23Format", "")),
        ("tcp-5424-counted", forward(tcp, "tcp", "RSYSLOG_SyslogProtocol23Format", counted)),
        ("tcp-3164-counted", forward(tcp, "tcp", "RSYSLOG_TraditionalForwardFormat", counted)),
    ] {
        let daemon = Daemon::rsyslog(&rsyslog, "", &action);
        daemon.write(lines(name));
        let records = arrived(&host, name).await;
        records.iter().for_each(assert_shop);
        assert!(
            records.iter().all(|record| record.attributes.contains(&("process.pid".into(), Value::Int(42)))),
            "{:?}",
            records[0]
        );
    }
}

#[tokio::test]
async fn rsyslog_sends_over_tls_by_either_library() {
    let Some(rsyslog) = debian::program("rsyslogd") else { return };
    let certificates = Certificates::new();
    let (host, addresses) = host(vec![tls(&certificates, false), tls(&certificates, true)]);
    for (name, driver, address) in [
        ("gnutls", "gtls", addresses[0]),
        ("openssl", "ossl", addresses[0]),
        ("gnutls-client", "gtls", addresses[1]),
        ("openssl-client", "ossl", addresses[1]),
    ] {
        let file = |name: &str| certificates.path(name).display().to_string();
        let global = format!(
            "DefaultNetstreamDriverCAFile=\"{}\" DefaultNetstreamDriverCertFile=\"{}\" DefaultNetstreamDriverKeyFile=\"{}\"",
            file("ca.pem"),
            file("client.pem"),
            file("client.key"),
        );
        let action = format!(
            "action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{}\" protocol=\"tcp\" TCP_Framing=\"octet-counted\" \
             template=\"RSYSLOG_SyslogProtocol23Format\" StreamDriver=\"{driver}\" StreamDriverMode=\"1\" \
             StreamDriverAuthMode=\"x509/name\" StreamDriverPermittedPeers=\"localhost\")",
            address.port()
        );
        let daemon = Daemon::rsyslog(&rsyslog, &global, &action);
        daemon.write(lines(name));
        arrived(&host, name).await.iter().for_each(assert_shop);
    }
}

#[tokio::test]
async fn syslog_ng_sends_in_every_form() {
    let Some(syslog_ng) = debian::program("syslog-ng") else { return };
    let certificates = Certificates::new();
    let (host, addresses) =
        host(vec![input("udp://127.0.0.1:0"), input("tcp://127.0.0.1:0"), tls(&certificates, false), tls(&certificates, true)]);
    let ports: Vec<u16> = addresses.iter().map(SocketAddr::port).collect();
    let file = |name: &str| certificates.path(name).display().to_string();
    let trust = format!("ca-file(\"{}\") peer-verify(required-trusted)", file("ca.pem"));
    let identity = format!("cert-file(\"{}\") key-file(\"{}\")", file("client.pem"), file("client.key"));
    for (name, destination) in [
        ("ng-udp-3164", format!("network(\"127.0.0.1\" port({}) transport(\"udp\"));", ports[0])),
        ("ng-udp-5424", format!("syslog(\"127.0.0.1\" port({}) transport(\"udp\"));", ports[0])),
        ("ng-tcp-3164", format!("network(\"127.0.0.1\" port({}) transport(\"tcp\"));", ports[1])),
        ("ng-tcp-5424", format!("syslog(\"127.0.0.1\" port({}) transport(\"tcp\"));", ports[1])),
        ("ng-tls", format!("syslog(\"localhost\" port({}) transport(\"tls\") tls({trust}));", ports[2])),
        ("ng-tls-client", format!("syslog(\"localhost\" port({}) transport(\"tls\") tls({trust} {identity}));", ports[3])),
    ] {
        let daemon = Daemon::syslog_ng(&syslog_ng, "file(FILE flags(syslog-protocol) follow-freq(0.1));", &destination);
        let head =
            "<156>1 2026-11-22T22:44:07.123456+01:00 web7 shop 4711 ID9 [origin@1 software=\"a \\\"b\\\"\" ip=\"10.0.0.1\"] ";
        let stamp = watchfire::clock::Clock::system().now().to_string();
        daemon.write(lines(name).map(|line| head.replace("2026-11-22T22:44:07.123456+01:00", &stamp) + &line));
        let records = arrived(&host, name).await;
        records.iter().for_each(assert_shop);
        for record in &records {
            assert_eq!(text(&record.resource, "host.name"), Some("web7"), "{record:?}");
            assert!(record.attributes.contains(&("process.pid".into(), Value::Int(4711))), "{record:?}");
            if !name.ends_with("3164") {
                assert_eq!(text(&record.attributes, "syslog.msgid"), Some("ID9"), "{record:?}");
                assert_eq!(text(&record.attributes, "origin@1.software"), Some("a \"b\""), "{record:?}");
                assert_eq!(text(&record.attributes, "origin@1.ip"), Some("10.0.0.1"), "{record:?}");
            }
        }
    }
}

#[tokio::test]
async fn logger_sends_in_every_form() {
    let (host, addresses) = host(vec![input("udp://127.0.0.1:0"), input("tcp://127.0.0.1:0")]);
    let common = ["-t", "shop", "-p", "local3.warning", "--id=42"];
    let structured = ["--rfc5424", "--msgid", "ID9", "--sd-id", "zoo@123", "--sd-param", "tiger=\"hungry\""];
    for (name, to, form) in [
        ("logger-udp-3164", addresses[0], &["-d", "--rfc3164"][..]),
        ("logger-udp-5424", addresses[0], &["-d"]),
        ("logger-tcp-3164", addresses[1], &["-T", "--rfc3164"]),
        ("logger-tcp-counted", addresses[1], &["-T", "--octet-count"]),
    ] {
        let mut arguments = common.to_vec();
        arguments.extend(form);
        let is_5424 = !form.contains(&"--rfc3164");
        arguments.extend(structured.iter().filter(|_| is_5424));
        arguments.extend(["--", name]);
        logger(to, &arguments);
        let record = host.client().records_until(1, &[("q", &format!("\"{name}\""))]).await.remove(0);
        assert_shop(&record);
        assert_eq!(record.body.as_text(), Some(name));
        assert!(record.attributes.contains(&("process.pid".into(), Value::Int(42))), "{record:?}");
        if is_5424 {
            assert_eq!(text(&record.attributes, "syslog.msgid"), Some("ID9"), "{record:?}");
            assert_eq!(text(&record.attributes, "zoo@123.tiger"), Some("hungry"), "{record:?}");
            assert_eq!(text(&record.attributes, "timeQuality.tzKnown"), Some("1"), "{record:?}");
        }
    }
}

#[tokio::test]
async fn pythons_handler_sends_over_udp_and_tcp() {
    let (host, addresses) = host(vec![input("udp://127.0.0.1:0"), input("tcp://127.0.0.1:0")]);
    for (transport, address) in ["udp", "tcp"].into_iter().zip(addresses) {
        python_handler(address, transport, 50);
        let query = format!("\"python {transport} says\"");
        let records = host.client().records_until(50, &[("q", &query), ("limit", "100")]).await;
        for record in records {
            assert_eq!(text(&record.resource, "service.name"), Some("pyshop"), "{record:?}");
            assert_eq!(text(&record.attributes, "syslog.facility"), Some("local5"));
            assert_eq!(record.severity_number, 17);
            assert!(record.body.as_text().is_some_and(|body| body.ends_with("café")));
        }
    }
}

#[tokio::test]
async fn who_shows_no_certificate_is_turned_away_and_status_says_so() {
    let certificates = Certificates::new();
    let (host, addresses) = host(vec![tls(&certificates, true)]);
    let mut connection = TcpStream::connect(addresses[0]).expect("it listens");
    connection.write_all(b"<13>in clear\n").expect("it is sent");
    let mut answer = Vec::new();
    // An alert in TLS's own words, or an end.
    let _ = connection.read_to_end(&mut answer);
    let part = eventually("status says why", async || {
        let status = host.client().get_json("/api/v1/status").await;
        let parts = status["parts"].as_array()?.clone();
        parts.into_iter().find(|part| part["detail"].as_str().is_some_and(|detail| detail.contains("handshake")))
    })
    .await;
    assert_eq!(part["name"], format!("inputs.syslog tls://{}", addresses[0]));
    assert_eq!(host.client().records(&[]).await, []);
}

#[tokio::test]
async fn a_reload_keeps_connections_and_certificates_are_read_again() {
    let certificates = Certificates::new();
    let file = |name: &str| certificates.path(name);
    // A free port: the file must name one, so that it is the same after the reload.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let configuration = json!({"inputs": {"syslog": [
        {"listen": format!("tcp://127.0.0.1:{port}")},
        {"listen": format!("udp://127.0.0.1:{port}"), "allow": ["127.0.0.0/8"]},
        {"listen": "tls://127.0.0.1:0", "tls": {"cert_file": file("server.pem"), "key_file": file("server.key")}},
    ]}});
    let installation = Installation::new(configuration);
    let host = installation.start().await;
    let client = host.client();
    let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    connection.write_all(b"<13>first\n<13>sec").expect("it is sent");
    client.records_until(1, &[("q", "first")]).await;
    host.hang_up();
    eventually("the host says so", async || host.log().iter().any(|line| line.contains("has been read again")).then_some(())).await;
    connection.write_all(b"ond\n").expect("the connection is still there");
    client.records_until(1, &[("q", "second")]).await;
}
