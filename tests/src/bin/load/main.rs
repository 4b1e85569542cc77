//! `watchfire-load`: measures a whole host, from outside, as its users meet it.
//!
//! Each mode starts a release host of its own on a fresh folder (or uses the one at `--url`), prints its figure with the
//! configuration and the machine, and ends with the host. `all` runs every mode one after the other.

mod corpus;
mod disk;
mod grpc;
mod host;
mod ingest;
mod kinds;
mod machine;
mod payloads;
mod plugins;
mod ratio;
mod redaction;
mod report;
mod rest;
mod search;
mod sentry;
mod start;
mod syslog;
mod tail;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::ingest::Protocol;
use crate::report::Report;

#[derive(Debug, Parser)]
#[command(name = "watchfire-load", about = "Measures a whole watchfire host from outside")]
struct Arguments {
    #[command(subcommand)]
    mode: Mode,
    #[command(flatten)]
    target: Target,
}

/// Which host is measured.
#[derive(Clone, Debug, Args)]
struct Target {
    /// The host's binary; built in release mode if not given.
    #[arg(long, global = true)]
    host_binary: Option<PathBuf>,
    /// A host that runs already, such as `http://127.0.0.1:3473`, instead of one started here. Only for `logs` and `ndjson`.
    #[arg(long, global = true)]
    url: Option<String>,
    /// Folder for the host's data; it must lie on the disk that is to be measured. Default: the target directory.
    #[arg(long, global = true)]
    folder: Option<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
enum Mode {
    /// OTLP/HTTP logs in protobuf: records per second, acknowledged durable.
    Logs(Load),
    /// NDJSON over HTTP: lines per second, acknowledged durable.
    Ndjson(Load),
    /// Syslog: messages per second over UDP, at a pace that must lose none, or TCP.
    Syslog(syslog::SyslogLoad),
    /// OTLP/gRPC logs: records per second, acknowledged durable.
    Grpc(Load),
    /// Loki push in protobuf with snappy: lines per second, acknowledged durable.
    Loki(Load),
    /// Loki push in JSON: lines per second, acknowledged durable.
    LokiJson(Load),
    /// Elasticsearch's bulk API: documents per second, acknowledged durable.
    Bulk(Load),
    /// Events of a Sentry SDK: per second, acknowledged durable, and grouped.
    Sentry(sentry::SentryLoad),
    /// Ingest with redaction and without it, in turns: what it costs.
    Redaction(Load),
    /// Lines in a followed file: lines per second, until all are searchable.
    Tail {
        /// Lines to write.
        #[arg(long, default_value_t = 1_000_000)]
        records: usize,
    },
    /// Memory and processor time of a host with the default configuration that nobody talks to.
    Rest {
        /// How long it is watched, in seconds.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// From start to ready: on an empty folder, and again.
    Start,
    /// Components: loading, calls, records across the boundary, memory.
    Plugins,
    /// Bytes on disk per byte of logs, after merging.
    Disk(Load),
    /// Questions over many records, which are sent once and kept for the next run: how long each takes.
    Search {
        /// Records in all.
        #[arg(long, default_value_t = 10_000_000)]
        records: usize,
        /// Sends them again.
        #[arg(long)]
        fresh: bool,
        /// How often each is asked.
        #[arg(long, default_value_t = 7)]
        runs: usize,
        /// Asks everything once more while records come in as fast as one connection sends them.
        #[arg(long)]
        under_ingest: bool,
    },
    /// How small logs of common programs become, with all indexes, and how quickly a block is written and read.
    Ratio {
        /// Records of each kind.
        #[arg(long, default_value_t = 300_000)]
        records: usize,
        /// Lines of this file instead; may be given more than once.
        #[arg(long)]
        file: Vec<PathBuf>,
    },
    /// Everything, one after the other.
    All(Load),
}

/// What is sent.
#[derive(Clone, Debug, Args)]
struct Load {
    /// Records in one request.
    #[arg(long, default_value_t = 1000)]
    batch: usize,
    /// Attributes of one record, at least 0.
    #[arg(long, default_value_t = 4)]
    attributes: usize,
    /// Connections that send at the same time.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Records in all.
    #[arg(long, default_value_t = 5_000_000)]
    records: usize,
}

fn main() -> anyhow::Result<()> {
    let Arguments { mode, mut target } = Arguments::parse();
    if target.url.is_none() && !matches!(mode, Mode::Ratio { .. }) {
        target.host_binary = Some(host::binary(target.host_binary.take())?);
    }
    machine::report(&target)?.print();
    for mode in expand(mode) {
        run(&mode, &target)?.print();
    }
    Ok(())
}

fn expand(mode: Mode) -> Vec<Mode> {
    let Mode::All(load) = mode else { return vec![mode] };
    vec![
        Mode::Start,
        Mode::Rest { seconds: 60 },
        Mode::Logs(load.clone()),
        Mode::Ndjson(Load { records: load.records.min(2_000_000), ..load.clone() }),
        Mode::Syslog(syslog::SyslogLoad::usual(syslog::Transport::Udp)),
        Mode::Syslog(syslog::SyslogLoad::usual(syslog::Transport::Tcp)),
        Mode::Grpc(load.clone()),
        Mode::Loki(Load { records: load.records.min(2_000_000), ..load.clone() }),
        Mode::LokiJson(Load { records: load.records.min(2_000_000), ..load.clone() }),
        Mode::Bulk(Load { records: load.records.min(2_000_000), ..load.clone() }),
        Mode::Tail { records: load.records.min(2_000_000) },
        Mode::Redaction(Load { records: load.records.min(3_000_000), ..load.clone() }),
        Mode::Sentry(sentry::SentryLoad::usual()),
        Mode::Plugins,
        Mode::Ratio { records: 300_000, file: vec![] },
        Mode::Disk(load),
        Mode::Search { records: 10_000_000, fresh: false, runs: 7, under_ingest: false },
    ]
}

fn run(mode: &Mode, target: &Target) -> anyhow::Result<Report> {
    match mode {
        Mode::Logs(load) => ingest::measure(Protocol::Otlp, load, target),
        Mode::Ndjson(load) => ingest::measure(Protocol::Ndjson, load, target),
        Mode::Syslog(load) => syslog::measure(load, target),
        Mode::Grpc(load) => ingest::measure(Protocol::Grpc, load, target),
        Mode::Loki(load) => ingest::measure(Protocol::LokiSnappy, load, target),
        Mode::LokiJson(load) => ingest::measure(Protocol::LokiJson, load, target),
        Mode::Bulk(load) => ingest::measure(Protocol::Bulk, load, target),
        Mode::Redaction(load) => redaction::measure(load, target),
        Mode::Sentry(load) => sentry::measure(load, target),
        Mode::Tail { records } => tail::measure(*records, target),
        Mode::Rest { seconds } => rest::measure(Duration::from_secs(*seconds), target),
        Mode::Start => start::measure(target),
        Mode::Plugins => plugins::measure(target),
        Mode::Disk(load) => disk::measure(load, target),
        Mode::Search { records, fresh, runs, under_ingest } => search::measure(*records, *fresh, *runs, *under_ingest, target),
        Mode::Ratio { records, file } => ratio::measure(*records, file, target),
        Mode::All(_) => unreachable!("`expand` has replaced it"),
    }
}
