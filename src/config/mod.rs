//! Reads the configuration: files and environment in, settings of every part of the program out.
//!
//! Two steps. `layers` reads every source into one tree of the `config` crate. `check` walks that tree once and turns
//! it into settings that cannot be wrong; defaults are applied there and nowhere else. Both report what is wrong and
//! go on, so that one run names every problem.
//!
//! No message repeats a configured value, except the names of users and groups: somebody may have written a
//! secret in the wrong place.

mod check;
mod environment;
mod file;
mod layers;
mod problem;
mod reader;
mod settings;
mod units;

use std::path::PathBuf;

pub use self::{
    check::known_keys,
    environment::Environment,
    problem::{Problem, Problems},
    settings::{ClientSettings, Config, ServerSettings},
};
use self::{problem::Report, reader::Node};

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The main file. `conf.d/*.toml` beside it is read too.
    pub file: PathBuf,
    /// Variables that may override keys of the files.
    pub environment: Environment,
    /// The user the daemon runs as, who may always have every token.
    pub own_uid: u32,
}

/// Reads, merges and checks the configuration.
///
/// Blocks: it reads files and asks the system's user database. Secrets are not read.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load(sources: &Sources) -> Result<Config, Problems> {
    let report = Report::new(&sources.file);
    let merged = layers::merge(sources, &report);
    let root = Node::root(&report, &merged.root);
    let (server, clients) = check::check(&root, sources.own_uid);
    if clients.is_none() && merged.complete {
        report.at_main_file("clients", "no client is configured", check::ADD_ONE);
    }
    let warnings = report.finish()?;
    Ok(Config { server, clients: clients.unwrap_or_default(), files: merged.files, warnings })
}

#[cfg(test)]
mod tests;
