//! Checks `inputs.syslog`.

use jiff::tz::{Offset, TimeZone};

use super::check::Checker;
use super::raw::{RawSyslogInput, RawSyslogTls};
use crate::inputs::syslog::{Listen, Network, SyslogInput, TlsFiles, Transport, tls};

/// The least that a message may be cut to: RFC 5424, section 6.1, wants 480 bytes to pass.
const LEAST_MESSAGE_BYTES: u64 = 480;

/// The most: each connection may hold one.
const MOST_MESSAGE_BYTES: u64 = 16 << 20;

/// Checks every entry; wrong ones are left out.
pub(super) fn check(checker: &mut Checker<'_>, raw: Vec<RawSyslogInput>) -> Vec<SyslogInput> {
    let mut inputs: Vec<SyslogInput> = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let path = format!("inputs.syslog[{index}]");
        let Some(input) = entry(checker, &path, raw) else { continue };
        let is_same = |other: &&SyslogInput| {
            let is_datagram = |input: &SyslogInput| input.listen.transport == Transport::Udp;
            other.listen.address == input.listen.address
                && is_datagram(other) == is_datagram(&input)
                && input.listen.address.port() != 0
        };
        if let Some(twin) = inputs.iter().find(is_same) {
            checker.fault(format!("{path}.listen"), format!("`{}` is taken by `{}` already", input.listen, twin.listen));
        }
        inputs.push(input);
    }
    inputs
}

fn entry(checker: &mut Checker<'_>, path: &str, raw: RawSyslogInput) -> Option<SyslogInput> {
    let listen = match raw.listen.parse::<Listen>() {
        Ok(listen) => Some(listen),
        Err(error) => {
            checker.fault(format!("{path}.listen"), error.to_string());
            None
        }
    };
    let mut allow = Vec::new();
    for (index, text) in raw.allow.iter().enumerate() {
        match text.parse::<Network>() {
            Ok(network) => allow.push(network),
            Err(error) => checker.fault(format!("{path}.allow[{index}]"), error.to_string()),
        }
    }
    let zone = raw.zone.as_deref().map_or_else(|| Some(TimeZone::system()), zone);
    if zone.is_none() {
        let found = raw.zone.unwrap_or_default();
        checker
            .fault(format!("{path}.zone"), format!("expected a zone such as `Europe/Berlin`, `+01:00` or `UTC`, found `{found}`"));
    }
    let max_message_bytes = raw.max_message_bytes;
    if !(LEAST_MESSAGE_BYTES..=MOST_MESSAGE_BYTES).contains(&max_message_bytes) {
        let reason = format!("expected {LEAST_MESSAGE_BYTES} to {MOST_MESSAGE_BYTES} bytes, found {max_message_bytes}");
        checker.fault(format!("{path}.max_message_bytes"), reason);
    }
    // The kernel counts in 32 bits, and doubles what it is asked for.
    if !(4096..=1 << 30).contains(&raw.receive_buffer_bytes) {
        let reason = format!("expected 4096 to {} bytes, found {}", 1 << 30, raw.receive_buffer_bytes);
        checker.fault(format!("{path}.receive_buffer_bytes"), reason);
    }
    if raw.max_connections == 0 {
        checker.fault(format!("{path}.max_connections"), "expected at least 1, found 0");
    }
    let (listen, zone) = (listen?, zone?);
    let tls = tls_files(checker, path, listen, raw.tls);
    if !listen.address.ip().is_loopback() && allow.is_empty() && tls.as_ref().is_none_or(|tls| tls.client_ca_file.is_none()) {
        checker.warnings.push(format!(
            "{path}.listen: everybody who reaches `{listen}` can write to the log, since syslog knows no password: name those who may in `allow`, or require certificates (`tls.client_ca_file`)"
        ));
    }
    Some(SyslogInput {
        listen,
        tls,
        zone,
        service: raw.service.filter(|service| !service.is_empty()),
        max_message_bytes: max_message_bytes as usize,
        receive_buffer_bytes: raw.receive_buffer_bytes as usize,
        max_connections: raw.max_connections as usize,
        allow,
    })
}

fn zone(text: &str) -> Option<TimeZone> {
    let offset = || {
        let seconds =
            text.starts_with(['+', '-']).then(|| jiff::fmt::temporal::DateTimeParser::new().parse_time_zone(text).ok())?;
        seconds.and_then(|zone| zone.to_fixed_offset().ok()).map(Offset::to_time_zone)
    };
    if text.eq_ignore_ascii_case("utc") { Some(TimeZone::UTC) } else { offset().or_else(|| TimeZone::get(text).ok()) }
}

fn tls_files(checker: &mut Checker<'_>, path: &str, listen: Listen, raw: Option<RawSyslogTls>) -> Option<TlsFiles> {
    match (listen.transport, raw) {
        (Transport::Tls, Some(raw)) => {
            let absolute = |path: std::path::PathBuf| std::path::absolute(&path).unwrap_or(path);
            let files = TlsFiles {
                cert_file: absolute(raw.cert_file),
                key_file: absolute(raw.key_file),
                client_ca_file: raw.client_ca_file.map(absolute),
            };
            if let Err(error) = tls::server_config(&files) {
                checker.fault(format!("{path}.tls.{}", error.key()), error.to_string());
            }
            Some(files)
        }
        (Transport::Tls, None) => {
            checker.fault(
                format!("{path}.tls"),
                format!("`{listen}` needs a certificate and its key: set `cert_file` and `key_file`"),
            );
            None
        }
        (_, Some(_)) => {
            checker.fault(format!("{path}.tls"), format!("`{listen}` does not speak TLS: leave it out, or listen on `tls://`"));
            None
        }
        (_, None) => None,
    }
}
