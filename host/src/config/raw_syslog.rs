//! `inputs.syslog`, as written.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::inputs::syslog::SyslogInput;

/// An address at which syslog is taken, in RFC 5424 and in the older form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["listen"]))]
pub struct RawSyslogInput {
    /// Transport, address and port: `udp://127.0.0.1:5514`, `tcp://…` (octet counting or newlines, told by each message) or `tls://…`. Required.
    pub listen: String,
    /// Certificate and key of `tls://`. Default: none; required there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<RawSyslogTls>,
    /// Zone of times that name none: a name such as `Europe/Berlin`, an offset such as `+01:00`, or `UTC`. Default: this machine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// `service.name` of all messages; what they name themselves is `syslog.appname` then. Default: what each message names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Longer messages are cut, marked and counted. Default: 65536 (64 KiB).
    pub max_message_bytes: u64,
    /// What the kernel may hold of datagrams that have not been read; beyond `net.core.rmem_max` only if the host runs as root. Default: 8388608 (8 MiB).
    pub receive_buffer_bytes: u64,
    /// Most connections at a time of `tcp://` or `tls://`. Default: 1000.
    pub max_connections: u32,
    /// Addresses and networks that may send, such as `10.0.0.0/8`. Default: none, which means everybody who reaches the address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
}

/// Certificate and key of a TLS listener. Files are read at the start and at each reload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["cert_file", "key_file"]))]
pub struct RawSyslogTls {
    /// PEM file of the certificate and those between it and its authority. Required.
    pub cert_file: PathBuf,
    /// PEM file of its private key. Required.
    pub key_file: PathBuf,
    /// PEM file of authorities; clients must show a certificate of one of them. Default: none, and clients show nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca_file: Option<PathBuf>,
}

impl Default for RawSyslogInput {
    fn default() -> Self {
        Self {
            listen: String::new(),
            tls: None,
            zone: None,
            service: None,
            max_message_bytes: SyslogInput::MAX_MESSAGE_BYTES,
            receive_buffer_bytes: SyslogInput::RECEIVE_BUFFER_BYTES,
            max_connections: SyslogInput::MAX_CONNECTIONS,
            allow: Vec::new(),
        }
    }
}
