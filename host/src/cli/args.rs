//! What can be said on the command line.

mod errors;
mod plugin;
mod records;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use errors::{ErrorsAction, ErrorsArgs, IssueFilter, ListFilter, SourceMapsAction};
pub use plugin::{EnableArgs, PluginAction, PluginArgs};
pub use records::{ContextArgs, ExportArgs, ExportFormat, Kind, PatternsAction, PatternsArgs, SearchArgs, TailArgs};

/// A monitoring host: logs, metrics, errors and alerts in one binary.
#[derive(Debug, Parser)]
#[command(name = "watchfire", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done or healthy; 1 failed, degraded or unreachable; 2 asked wrongly.
Begin with `watchfire start`: it needs no configuration.";

const SEARCH_HELP: &str = "\
A query has words and \"phrases\", which stand in the body or an attribute, and conditions on fields:
  watchfire search 'connection timeout'                words, whole and in any case; begin* for a beginning
  watchfire search 'level>=warn service:api'           levels and services
  watchfire search 'path:/api/* duration>250'          attributes: text, a beginning, numbers
  watchfire search '/time ?out/ OR body~\"^GET .*5..\"'  regular expressions
  watchfire search 'NOT (service:db OR user:*) since:yesterday'
Pipes make something of what is found:
  watchfire search 'level>=warn | stats count by service, time(5m)'
  watchfire search 'service:api | stats count, p99(duration) by path | sort -count | limit 5'
  watchfire search '| top 10 http.status'";

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the host; without a configuration it watches this machine.
    Start(StartArgs),
    /// Stops the host that holds a data directory.
    Stop(StopArgs),
    /// Says how the host and the machine are.
    Status(StatusArgs),
    /// Checks a configuration and starts nothing.
    Check(CheckArgs),
    /// Writes a configuration file with every key and its default.
    CreateConfig(CreateConfigArgs),
    /// Sends a test notification, or tries a rule on what is stored.
    Test(TestArgs),
    /// Writes what is stored to a file.
    Export(ExportArgs),
    /// Sends standard input to the host: one line of text or one JSON object a line.
    Ingest(IngestArgs),
    /// Shows log records as they arrive.
    Tail(TailArgs),
    /// Finds log records, newest first, or counts them.
    #[command(after_long_help = SEARCH_HELP)]
    Search(SearchArgs),
    /// Shows what was logged around a record.
    Context(ContextArgs),
    /// Lists the patterns that log records have, shows one, or finds those of lines on standard input.
    Patterns(PatternsArgs),
    /// Shows what the host would store of lines: without secrets and personal data.
    Redact(RedactArgs),
    /// Lists metrics, or shows the series of one.
    Metrics(MetricsArgs),
    /// Lists alerting rules.
    Rules(ListArgs),
    /// Lists alerts, or tells the whole story of one.
    Alerts(AlertsArgs),
    /// Lists issues, shows one, or decides about one.
    Errors(ErrorsArgs),
    /// Lists notifications: queued, delivered and given up.
    Outbox(ListArgs),
    /// Lists what analyzers found in the log, newest first.
    Findings(FindingsArgs),
    /// Lists what is unusual in the log, shows one, or ignores its like.
    Anomalies(AnomaliesArgs),
    /// Tells what happened: volumes, patterns, what was unusual, errors, alerts, how metrics go.
    Report(ReportArgs),
    /// Lists components, switches them on and off.
    Plugin(PluginArgs),
    /// Compiles a component; the host runs this for itself.
    #[command(hide = true)]
    CompileComponent {
        /// The component.
        input: PathBuf,
        /// Where the native code goes.
        output: PathBuf,
    },
    /// Writes completions for a shell to standard output.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Which host is meant.
#[derive(Clone, Debug, Args)]
pub struct HostArgs {
    /// Address of the host.
    #[arg(long, global = true, env = "WATCHFIRE_URL", default_value = "http://127.0.0.1:3473", value_name = "URL")]
    pub url: String,
    /// Its token, if it is on another machine. Better given as `WATCHFIRE_TOKEN`: others can see a command line.
    #[arg(long, global = true, env = "WATCHFIRE_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<String>,
}

/// Which time is meant.
#[derive(Clone, Debug, Default, Args)]
pub struct TimeArgs {
    /// From then on: `15m`, `1h` or `7d` back from now, RFC 3339, or seconds since 1970.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Up to then; written like --since.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// Which log records are meant.
#[derive(Clone, Debug, Default, Args)]
pub struct FilterArgs {
    /// Words, "quoted phrases" and conditions such as `level>=warn service:api`.
    #[arg(value_name = "QUERY")]
    pub text: Vec<String>,
    /// Least level: debug, info, warning, error, critical.
    #[arg(long)]
    pub level: Option<String>,
    /// `service.name`; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub service: Vec<String>,
    /// An attribute and its value; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub attribute: Vec<String>,
}

/// `start`.
#[derive(Clone, Debug, Args)]
pub struct StartArgs {
    /// Configuration, JSON or TOML by its extension. Read only if named.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address and port to serve on.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Least level of the host's own log.
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Reads standard input, too: `app | watchfire start --stdin`. The host goes on when that ends.
    #[arg(long)]
    pub stdin: bool,
    /// Goes on in the background; returns once the host is ready.
    #[arg(long, conflicts_with = "stdin")]
    pub daemon: bool,
    /// Set by --daemon for the process it leaves behind.
    #[arg(long, hide = true, conflicts_with = "daemon")]
    pub detached: bool,
}

/// `redact`.
#[derive(Clone, Debug, Args)]
pub struct RedactArgs {
    /// Reads standard input, line by line.
    #[arg(long, required = true)]
    pub stdin: bool,
    /// Configuration whose `redaction` holds. Default: the default rules.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `stop`.
#[derive(Clone, Debug, Args)]
pub struct StopArgs {
    /// Data directory of the host.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Configuration that names the data directory.
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    pub config: Option<PathBuf>,
}

/// `status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub host: HostArgs,
    /// Prints one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Configuration to check; without one, what the environment says.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Prints the JSON Schema of the configuration instead.
    #[arg(long, conflicts_with = "config")]
    pub schema: bool,
}

/// `create-config`.
#[derive(Clone, Debug, Args)]
pub struct CreateConfigArgs {
    /// Where to write; `-` for standard output.
    #[arg(long, value_name = "FILE", default_value = "monitoring_config.json")]
    pub output: PathBuf,
    /// Overwrites a file that is there.
    #[arg(long)]
    pub force: bool,
}

/// `test`.
#[derive(Clone, Debug, Args)]
pub struct TestArgs {
    #[command(subcommand)]
    pub what: Option<TestWhat>,
    #[command(flatten)]
    pub host: HostArgs,
    /// Prints one JSON object a line.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to try; every receiver if nothing is named.
#[derive(Clone, Debug, Subcommand)]
pub enum TestWhat {
    /// Sends a test notification to one receiver.
    #[command(alias = "receiver")]
    Channel {
        /// The receiver's name.
        name: String,
    },
    /// Says what a rule sees now.
    Rule {
        /// The rule's name.
        name: String,
    },
}

/// `ingest`.
#[derive(Clone, Debug, Args)]
pub struct IngestArgs {
    #[command(flatten)]
    pub host: HostArgs,
    /// `service.name` for lines that do not say theirs.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
}

/// `metrics`.
#[derive(Clone, Debug, Args)]
pub struct MetricsArgs {
    /// Metric, with dots or underscores; all names if none is given.
    pub name: Option<String>,
    /// A label and its value; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub label: Vec<String>,
    #[command(flatten)]
    pub time: TimeArgs,
    #[command(flatten)]
    pub host: HostArgs,
    /// Prints one JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// `alerts`.
#[derive(Clone, Debug, Args)]
pub struct AlertsArgs {
    /// The alert to tell about.
    pub fingerprint: Option<String>,
    /// Only alerts in this state: pending, firing, resolved.
    #[arg(long, conflicts_with = "fingerprint")]
    pub state: Option<String>,
    #[command(flatten)]
    pub host: HostArgs,
    /// Prints one JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// `findings`.
#[derive(Clone, Debug, Args)]
pub struct FindingsArgs {
    /// Only those of this analyzer.
    #[arg(long, value_name = "NAME")]
    pub plugin: Option<String>,
    /// Only those of this rule of an analyzer.
    #[arg(long, value_name = "RULE")]
    pub rule: Option<String>,
    /// Least level: debug, info, warning, error, critical.
    #[arg(long)]
    pub level: Option<String>,
    #[command(flatten)]
    pub time: TimeArgs,
    #[command(flatten)]
    pub host: HostArgs,
    /// Prints one JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// `anomalies`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct AnomaliesArgs {
    #[command(subcommand)]
    pub decide: Option<AnomaliesDecide>,
    /// The one to show.
    pub id: Option<String>,
    /// How many hours back.
    #[arg(long, value_name = "N", default_value_t = 24, conflicts_with = "id")]
    pub hours: u64,
    /// Also what is ignored.
    #[arg(long, conflicts_with = "id")]
    pub all: bool,
    /// Lists sources instead, and what is judged of each.
    #[arg(long, conflicts_with = "id")]
    pub sources: bool,
    #[command(flatten)]
    pub host: HostArgs,
    /// Prints one JSON object a line.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What can be decided about something unusual.
#[derive(Clone, Debug, Subcommand)]
pub enum AnomaliesDecide {
    /// Nothing of its kind is told of any more: of this detector, about this pattern or source.
    Ignore {
        /// Its id.
        id: String,
    },
    /// It is told of again.
    Unignore {
        /// Its id.
        id: String,
    },
}

/// `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// Of how many hours.
    #[arg(long, value_name = "N", default_value_t = 24)]
    pub hours: u64,
    /// Shape of the report.
    #[arg(long, value_enum, default_value_t = ReportFormat::Markdown)]
    pub format: ReportFormat,
    /// Language: en or zh.
    #[arg(long, default_value = "en")]
    pub lang: String,
    /// Where to write; standard output if not given, or for `-`.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub host: HostArgs,
}

/// Shapes of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Text with tables.
    Markdown,
    /// One file for a browser, with charts.
    Html,
    /// Data.
    Json,
}

/// Commands that list something.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub host: HostArgs,
    /// Prints one JSON object a line.
    #[arg(long)]
    pub json: bool,
}

fn key_value(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(text.to_owned()),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

impl TimeArgs {
    /// Returns it as parameters of a request.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let since = self.since.iter().map(|time| ("since", time.clone()));
        since.chain(self.until.iter().map(|time| ("until", time.clone()))).collect()
    }
}

impl FilterArgs {
    /// Returns it as parameters of a request.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        query.extend((!self.text.is_empty()).then(|| ("q", self.text.join(" "))));
        query.extend(self.level.iter().map(|level| ("level", level.clone())));
        query.extend(self.service.iter().map(|service| ("service", service.clone())));
        query.extend(self.attribute.iter().map(|attribute| ("attribute", attribute.clone())));
        query
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_has_help() {
        let mut root = Cli::command();
        root.build();
        let mut todo = vec![&root];
        while let Some(command) = todo.pop() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
            todo.extend(command.get_subcommands());
        }
    }
}
