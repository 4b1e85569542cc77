//! `plugin`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::HostArgs;

/// `plugin`.
#[derive(Clone, Debug, Args)]
pub struct PluginArgs {
    #[command(subcommand)]
    pub action: Option<PluginAction>,
    #[command(flatten)]
    pub host: HostArgs,
    /// Prints one JSON object a line.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do with plugins; lists them if nothing is said.
#[derive(Clone, Debug, Subcommand)]
pub enum PluginAction {
    /// Lists all components that the host finds: what they ask for, what they have, why one does not run.
    List,
    /// Shows everything about one, and what it said last.
    Show {
        /// Its name.
        name: String,
    },
    /// Switches one on, and grants what it may have.
    Enable(EnableArgs),
    /// Switches one off; what it keeps stays.
    Disable {
        /// Its name.
        name: String,
    },
    /// Deletes one from the host's own folder.
    Remove {
        /// Its name.
        name: String,
    },
    /// Lets one test itself.
    Test {
        /// Its name.
        name: String,
    },
}

/// `plugin enable`.
#[derive(Clone, Debug, Args)]
pub struct EnableArgs {
    /// Its name.
    pub name: String,
    /// Grants all that it asks for, and says what that is.
    #[arg(long, conflicts_with_all = ["capability", "outbound"])]
    pub grant_all: bool,
    /// A capability that it gets (metrics, kv, secrets); may be repeated.
    #[arg(long, value_name = "NAME")]
    pub capability: Vec<String>,
    /// Where it may send, `https://host[:port]`; may be repeated.
    #[arg(long, value_name = "URL")]
    pub outbound: Vec<String>,
    /// File with its section of the configuration, one JSON object.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
