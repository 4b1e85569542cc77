//! `patterns`: what log lines are made from.

mod stdin;

use super::Answer;
use super::args::PatternsArgs;
use super::output::Output;

/// `patterns --stdin`: mines standard input on this machine, without a host.
pub(super) fn stdin(args: &PatternsArgs, out: &mut Output<'_>) -> Answer {
    stdin::mine(std::io::stdin().lock(), args.ids, out)
}
