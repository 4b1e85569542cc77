//! `errors` and what can be done with issues.

use clap::{Args, Subcommand};

use super::HostArgs;

/// `errors`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ErrorsArgs {
    #[command(subcommand)]
    pub action: Option<ErrorsAction>,
    /// The issue to show.
    pub id: Option<String>,
    #[command(flatten)]
    pub filter: IssueFilter,
    #[command(flatten)]
    pub host: HostArgs,
    /// Prints one JSON object a line.
    #[arg(long, global = true)]
    pub json: bool,
}

/// Which issues are listed.
#[derive(Clone, Debug, Default, Args)]
pub struct IssueFilter {
    /// Only issues with this status: unresolved, resolved, ignored.
    #[arg(long, conflicts_with = "id")]
    pub status: Option<String>,
    /// `service.name`; may be repeated.
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    pub service: Vec<String>,
    /// Only issues that occurred then or later: `15m`, `1h` or `7d` back from now, RFC 3339, or seconds since 1970.
    #[arg(long, value_name = "TIME", conflicts_with = "id")]
    pub since: Option<String>,
    /// The greatest first: `last_seen`, `first_seen` or `count`.
    #[arg(long, value_name = "WHAT", conflicts_with = "id")]
    pub sort: Option<String>,
}

/// What can be done with issues.
#[derive(Clone, Debug, Subcommand)]
pub enum ErrorsAction {
    /// Lists issues: `is:unresolved release:shop@1.2 route:/pay "no answer"`.
    List {
        /// Words such as `is:unresolved`, `release:shop@1.2`, `level:fatal`, `route:/pay` for a tag, `!` before what must not be so; and a
        /// text in title, class or culprit.
        query: Vec<String>,
        #[command(flatten)]
        filter: ListFilter,
    },
    /// Shows one issue with its last occurrences.
    Show {
        /// The issue.
        id: String,
    },
    /// It is mended: if it occurs again, it has regressed.
    Resolve {
        /// The issue.
        id: String,
        /// By this release: events of older ones do not bring it back.
        #[arg(long = "in", value_name = "RELEASE", conflicts_with = "in_next_release")]
        release: Option<String>,
        /// By the release after the latest one.
        #[arg(long)]
        in_next_release: bool,
    },
    /// It is counted on, and nobody is told.
    Ignore {
        /// The issue.
        id: String,
        /// Until then: `2h`, `7d`, or RFC 3339.
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Until it has occurred so often more.
        #[arg(long, value_name = "TIMES")]
        count: Option<u64>,
    },
    /// Takes back what was decided.
    Unresolve {
        /// The issue.
        id: String,
    },
    /// Makes one of several issues, which `unmerge` undoes.
    Merge {
        /// The issue that the others are merged into.
        id: String,
        /// The others.
        #[arg(required = true)]
        others: Vec<String>,
    },
    /// Takes an issue out of what it is merged into, or all that is merged into it out of it.
    Unmerge {
        /// The issue.
        id: String,
    },
    /// Says why events are taken for one issue.
    Why {
        /// The issue.
        id: String,
    },
    /// Says who sees to an issue.
    Assign {
        /// The issue.
        id: String,
        /// Whom; nobody, if this is left out.
        to: Option<String>,
    },
    /// Adds a comment.
    Comment {
        /// The issue.
        id: String,
        /// What there is to say.
        text: String,
        /// Who says it. Default: the name of who is logged in.
        #[arg(long, env = "USER", hide_env_values = true)]
        author: Option<String>,
    },
    /// Says how many errors there were, of which classes, services and levels, and which issues were the most frequent.
    Statistics {
        /// In so many hours, the present one included.
        #[arg(long, value_name = "NUMBER", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=720))]
        hours: u64,
        /// Issues that are named.
        #[arg(long, value_name = "NUMBER", default_value_t = 10)]
        top: u64,
    },
    /// Prints the DSN that a program gives to its Sentry SDK.
    Dsn {
        /// The service, as `error_tracking.projects` names it.
        service: Option<String>,
        /// The number of the project. Default: 1.
        #[arg(long, conflicts_with = "service")]
        project: Option<u64>,
    },
    /// Lists and deletes the source maps that sentry-cli has uploaded.
    SourceMaps {
        #[command(subcommand)]
        action: SourceMapsAction,
    },
}

/// What can be done with source maps.
#[derive(Clone, Debug, Subcommand)]
pub enum SourceMapsAction {
    /// Lists the bundles that were uploaded, the last one first.
    List {
        /// Only those of this release.
        #[arg(long)]
        release: Option<String>,
    },
    /// Deletes bundles; events that were resolved with them stay as they are.
    Remove {
        /// Bundles, as `list` names them.
        #[arg(required_unless_present = "release")]
        ids: Vec<String>,
        /// All bundles of this release.
        #[arg(long, conflicts_with = "ids")]
        release: Option<String>,
    },
}

/// Which issues `errors list` lists.
#[derive(Clone, Debug, Default, Args)]
pub struct ListFilter {
    /// `service.name`; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub service: Vec<String>,
    /// Only issues that occurred then or later: `15m`, `1h` or `7d` back from now, RFC 3339, or seconds since 1970.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// The greatest first: `last_seen`, `first_seen` or `count`.
    #[arg(long, value_name = "WHAT")]
    pub sort: Option<String>,
    /// Most issues.
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<u64>,
}
