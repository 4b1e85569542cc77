//! `patterns`: what log lines are made from.

mod host;
mod stdin;

use super::Answer;
use super::args::{PatternsAction, PatternsArgs};
use super::output::Output;

/// `patterns --stdin`: mines standard input on this machine, without a host.
pub(super) fn stdin(args: &PatternsArgs, out: &mut Output<'_>) -> Answer {
    let shape = match (args.ids, args.json) {
        (true, _) => stdin::Shape::Ids,
        (false, true) => stdin::Shape::Json,
        (false, false) => stdin::Shape::Table,
    };
    stdin::mine(std::io::stdin().lock(), shape, out)
}

/// `patterns` and `patterns show`: what the host has stored.
pub(super) async fn patterns(args: &PatternsArgs, out: &mut Output<'_>) -> Answer {
    match &args.action {
        None => host::list(args, out).await,
        Some(PatternsAction::Show { id, time }) => host::show(args, id, time, out).await,
    }
}
