//! `watchfire redact`: shows what the host would store of lines, without a host.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Write as _};

use anyhow::Context as _;
use watchfire_redact::Redactor;
use watchfire_types::log::RecordHead;
use watchfire_types::{LogBatch, ValueRef};

use super::args::RedactArgs;
use super::output::{Output, say};
use super::{Answer, Exit};
use crate::config::{CliOverrides, Config, Environment};

/// Lines that are looked at together.
const LINES: usize = 1000;

/// Redacts standard input line by line; says at the end, on standard error, what was found.
pub(super) fn run(args: &RedactArgs, out: &mut Output<'_>) -> Answer {
    let config = Config::load(args.config.as_deref(), &Environment::of_process(), &CliOverrides::default())
        .context("this configuration cannot be used")?;
    let settings = config.redaction.context("redaction.enabled is false: everything is stored as it comes")?;
    let redactor = Redactor::new(settings)?;
    let mut counts = BTreeMap::<String, u64>::new();
    let mut lines = io::stdin().lock().split(b'\n');
    loop {
        let mut batch = LogBatch::default();
        for line in lines.by_ref().take(LINES) {
            let line = line.context("cannot read standard input")?;
            batch.push(&RecordHead::default(), ValueRef::Text(&String::from_utf8_lossy(&line)));
        }
        if batch.is_empty() {
            break;
        }
        for (rule, count) in redactor.redact(&mut batch).iter() {
            *counts.entry(rule.to_owned()).or_default() += count;
        }
        for row in 0..batch.len() {
            out.write_all(batch.body.data.get(row))?;
            out.write_all(b"\n")?;
        }
    }
    out.flush()?;
    let found: Vec<String> = counts.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
    say(format_args!("redacted: {}", if found.is_empty() { "nothing".to_owned() } else { found.join(", ") }));
    Ok(Exit::Done)
}
