//! What reads the log: `export`, `tail`, `search`, `context`, `patterns`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{FilterArgs, HostArgs, TimeArgs};

/// `export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub host: HostArgs,
    /// Shape of the file.
    #[arg(long, value_enum, default_value_t = ExportFormat::Json)]
    pub format: ExportFormat,
    /// Where to write; `-` for standard output.
    #[arg(long, value_name = "FILE", default_value = "monitoring_data.json", default_value_ifs = [
        ("format", "ndjson", "monitoring_data.ndjson"), ("format", "csv", "monitoring_data.csv"), ("format", "parquet", "monitoring_data.parquet")])]
    pub output: PathBuf,
    #[command(flatten)]
    pub time: TimeArgs,
    /// What to write, separated by commas. By default everything that the host has.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KINDS")]
    pub what: Vec<Kind>,
    /// Which log records: a query as `search` has it. With `--what logs`.
    #[arg(long, value_name = "QUERY")]
    pub query: Option<String>,
}

/// Shapes of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One object with a list for each kind.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values with a line of names.
    Csv,
    /// Columns for other programs. With `--what logs`.
    Parquet,
}

/// What can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Log records.
    Logs,
    /// Samples.
    Metrics,
    /// Error events.
    Errors,
    /// Alerts.
    Alerts,
}

/// `tail`.
#[derive(Clone, Debug, Args)]
pub struct TailArgs {
    #[command(flatten)]
    pub filter: FilterArgs,
    #[command(flatten)]
    pub host: HostArgs,
    /// Prints one JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// `search`.
#[derive(Clone, Debug, Args)]
pub struct SearchArgs {
    #[command(flatten)]
    pub filter: FilterArgs,
    #[command(flatten)]
    pub time: TimeArgs,
    /// Most records shown: 100 if not given, 1000 rows of a table.
    #[arg(long, short = 'n', value_name = "N")]
    pub limit: Option<u64>,
    /// Shows what has been found after so long, such as `10s`; 30s if not given.
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
    /// Shows so many records before and after each hit too.
    #[arg(long, short = 'C', value_name = "N", conflicts_with_all = ["json", "output"])]
    pub context: Option<u64>,
    /// Begins each line with the record's position in the log, which `watchfire context` takes.
    #[arg(long)]
    pub seq: bool,
    /// Writes all that is found to this file, without a limit if none is given: .ndjson, .csv or .parquet.
    #[arg(long, short = 'o', value_name = "FILE", conflicts_with = "json")]
    pub output: Option<PathBuf>,
    /// Lists what the query could go on with, instead of searching.
    #[arg(long, conflicts_with_all = ["output", "context"])]
    pub complete: bool,
    #[command(flatten)]
    pub host: HostArgs,
    /// Prints one JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// `context`.
#[derive(Clone, Debug, Args)]
pub struct ContextArgs {
    /// The record's position in the log, as `search --seq` shows it.
    pub seq: u64,
    /// Records before it.
    #[arg(long, short = 'B', default_value_t = 10, value_name = "N")]
    pub before: u64,
    /// Records behind it.
    #[arg(long, short = 'A', default_value_t = 10, value_name = "N")]
    pub after: u64,
    /// What the records around it have in common with it: service, host, file or all.
    #[arg(long, default_value = "service", value_name = "WHAT")]
    pub same: String,
    #[command(flatten)]
    pub host: HostArgs,
    /// Prints one JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// `patterns`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct PatternsArgs {
    #[command(subcommand)]
    pub action: Option<PatternsAction>,
    /// Only records that a search for this finds.
    #[arg(value_name = "TEXT", conflicts_with = "stdin")]
    pub text: Option<String>,
    /// Least level: debug, info, warning, error, critical.
    #[arg(long, conflicts_with = "stdin")]
    pub level: Option<String>,
    /// `service.name`; may be repeated.
    #[arg(long, value_name = "NAME", conflicts_with = "stdin")]
    pub service: Vec<String>,
    /// What comes first: count, rare, new, change, level or last.
    #[arg(long, value_name = "ORDER", conflicts_with = "stdin")]
    pub sort: Option<String>,
    /// Most patterns.
    #[arg(long, short = 'n', default_value_t = 50, value_name = "N")]
    pub limit: u64,
    #[command(flatten)]
    pub time: TimeArgs,
    /// Reads lines from standard input and asks no host.
    #[arg(long)]
    pub stdin: bool,
    /// Prints the id and the template of each line, in the order of the lines, instead of a table of patterns.
    #[arg(long, requires = "stdin", conflicts_with = "json")]
    pub ids: bool,
    #[command(flatten)]
    pub host: HostArgs,
    /// Prints one JSON object a line.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do with patterns; lists them if nothing is said.
#[derive(Clone, Debug, Subcommand)]
pub enum PatternsAction {
    /// Shows one: its counts, what varies in it, its newest records.
    Show {
        /// Its id.
        id: String,
        #[command(flatten)]
        time: TimeArgs,
    },
}
