//! `check` and `create-config`.

use std::io::Write as _;

use anyhow::Context as _;

use super::args::{CheckArgs, CreateConfigArgs};
use super::output::{Output, say};
use super::report::AskedWrongly;
use super::{Answer, Exit};
use crate::alerts::types::RuleOrigin;
use crate::config::{CliOverrides, Config, Environment, example};

pub(super) fn check(args: &CheckArgs, out: &mut Output<'_>) -> Answer {
    if args.schema {
        writeln!(out, "{:#}", example::schema())?;
        return Ok(Exit::Done);
    }
    let config = Config::load(args.config.as_deref(), &Environment::of_process(), &CliOverrides::default())
        .context("this configuration cannot be used")?;
    let alerting = &config.alerting;
    let own_rules = alerting.rules.iter().filter(|rule| rule.origin == RuleOrigin::File).count();
    writeln!(out, "the configuration is fine")?;
    writeln!(out, "  data       {}", config.storage.data_dir.display())?;
    writeln!(out, "  listens    {}", config.server.listen)?;
    writeln!(
        out,
        "  follows    {}",
        join(config.inputs.files.iter().flat_map(|file| &file.paths).map(|path| path.display().to_string()), "no file")
    )?;
    writeln!(out, "  rules      {own_rules}, and {} that come with watchfire", alerting.rules.len() - own_rules)?;
    writeln!(
        out,
        "  receivers  {}",
        join(alerting.receivers.iter().map(|receiver| receiver.name.clone()), "none: alerts tell nobody")
    )?;
    out.flush()?;
    for warning in &config.warnings {
        say(format_args!("warning: {warning}"));
    }
    Ok(Exit::Done)
}

pub(super) fn join(items: impl Iterator<Item = String>, none: &str) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { none.to_owned() } else { items.join(", ") }
}

pub(super) fn create_config(args: &CreateConfigArgs, out: &mut Output<'_>) -> Answer {
    let text = example::full();
    if args.output.as_os_str() == "-" {
        out.write_all(text.as_bytes())?;
        return Ok(Exit::Done);
    }
    let path = args.output.display();
    let mut options = std::fs::OpenOptions::new();
    // Passwords will stand in it.
    std::os::unix::fs::OpenOptionsExt::mode(
        options.write(true).truncate(args.force).create(args.force).create_new(!args.force),
        0o600,
    );
    let mut file = match options.open(&args.output) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(AskedWrongly(format!(
                "`{path}` is there already: overwrite it with --force, or name another with --output"
            ))
            .into());
        }
        result => result.with_context(|| format!("cannot write `{path}`"))?,
    };
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write `{path}`"))?;
    say(format_args!("wrote {path}"));
    say(format_args!(
        "next: edit it, try it with `watchfire check --config {path}`, run it with `watchfire start --config {path}`"
    ));
    Ok(Exit::Done)
}
