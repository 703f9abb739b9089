//! The configuration file of a command, with its problems on stderr.

use super::terminal::Terminal;
use crate::config::{self, Config};
use mtrelay_core::config::problem::{Problem, Severity};
use std::path::Path;

/// The path of the configuration file.
pub(super) fn path(config: Option<&Path>) -> &Path {
    config.unwrap_or(Path::new(config::DEFAULT_PATH))
}

/// Reads the configuration and writes its problems to stderr. `quiet` omits warnings.
pub(super) fn load(file: &Path, quiet: bool, terminal: &mut Terminal) -> (Option<Config>, Vec<Problem>) {
    let (config, problems) = match Config::load(file) {
        Ok((config, warnings)) => (Some(config), warnings),
        Err(problems) => (None, problems),
    };
    for problem in &problems {
        if !quiet || problem.severity == Severity::Error {
            terminal.complain(&format!("mtrelay: {}", problem.in_file(file)));
        }
    }
    (config, problems)
}
