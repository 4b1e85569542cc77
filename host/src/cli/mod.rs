//! The command line. Only here is anything printed: data to standard output, talk to standard error.
//!
//! `start`, `stop`, `check` and `create-config` work on this machine; all other commands are clients of the public API.

mod alerts;
mod anomalies;
pub mod args;
mod check;
mod client;
mod daemon;
mod errors;
mod export;
mod findings;
mod ingest;
mod issue_event;
mod keys;
mod logs;
mod metrics;
mod output;
mod part_file;
mod patterns;
mod plugin;
mod redact;
mod report;
mod reporting;
mod search;
mod source_maps;
mod start;
mod status;
mod stop;
mod style;
mod table;
mod tail;
mod test;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Cli, Command};
use output::Output;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// 0: done, or healthy.
    Done,
    /// 1: failed, degraded or unreachable.
    Failed,
    /// 2: asked wrongly.
    Wrong,
}

/// What a command answers: how it ended, or an error to report.
type Answer = anyhow::Result<Exit>;

/// Runs the command that this process was given.
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

/// Runs the command in `args`, the first of which is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    ExitCode::from(execute(args, &mut Output::new(&mut stdout)) as u8)
}

fn execute(args: impl IntoIterator<Item = impl Into<OsString> + Clone>, out: &mut Output<'_>) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Wrong } else { Exit::Done };
        }
    };
    let answer = dispatch(cli.command, out).and_then(|exit| Ok(out.flush().map(|()| exit)?));
    answer.unwrap_or_else(|error| report::report(&error))
}

fn dispatch(command: Command, out: &mut Output<'_>) -> Answer {
    match command {
        Command::Start(args) => start::start(&args),
        Command::Stop(args) => stop::stop(&args),
        Command::Check(args) => check::check(&args, out),
        Command::CreateConfig(args) => check::create_config(&args, out),
        Command::Patterns(args) if args.stdin => patterns::stdin(&args, out),
        Command::Redact(args) => redact::run(&args, out),
        Command::CompileComponent { input, output } => {
            crate::plugins::compile_file(&input, &output).map_err(anyhow::Error::msg)?;
            Ok(Exit::Done)
        }
        Command::Completions { shell } => {
            // Into memory first, since it panics if it cannot write.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "watchfire", &mut script);
            out.write_all(&script)?;
            Ok(Exit::Done)
        }
        client => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let exit = runtime.block_on(ask(client, out));
            // What reads standard input blocks its thread until the next line: it is not waited for.
            runtime.shutdown_background();
            exit
        }
    }
}

/// Runs a command that is a client of the host.
async fn ask(command: Command, out: &mut Output<'_>) -> Answer {
    match command {
        Command::Status(args) => status::status(&args, out).await,
        Command::Test(args) => test::test(&args, out).await,
        Command::Export(args) => export::export(&args, out).await,
        Command::Ingest(args) => ingest::ingest(&args, out).await,
        Command::Tail(args) => tail::tail(&args, out).await,
        Command::Search(args) => search::search(&args, out).await,
        Command::Context(args) => search::context(&args, out).await,
        Command::Metrics(args) => metrics::metrics(&args, out).await,
        Command::Rules(args) => alerts::rules(&args, out).await,
        Command::Alerts(args) => alerts::alerts(&args, out).await,
        Command::Errors(args) => errors::errors(&args, out).await,
        Command::Outbox(args) => alerts::outbox(&args, out).await,
        Command::Findings(args) => findings::findings(&args, out).await,
        Command::Patterns(args) => patterns::patterns(&args, out).await,
        Command::Anomalies(args) => anomalies::anomalies(&args, out).await,
        Command::Report(args) => reporting::report(&args, out).await,
        Command::Plugin(args) => plugin::plugin(&args, out).await,
        Command::Redact(_)
        | Command::Start(_)
        | Command::Stop(_)
        | Command::Check(_)
        | Command::CreateConfig(_)
        | Command::CompileComponent { .. }
        | Command::Completions { .. } => {
            unreachable!("these need no host")
        }
    }
}
