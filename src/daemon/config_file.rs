//! Where the daemon's configuration comes from, and how its errors reach the log.

use super::build;
use crate::config::{Config, DEFAULT_PATH, Problem};
use std::path::{Path, PathBuf};

/// The origin of the configuration.
pub(super) enum ConfigSource {
    File(PathBuf),
    /// No file exists: every option has its default, and one user has a secret drawn at start.
    Generated(Box<Config>),
}

/// A configuration with its source and the warnings about it.
pub(super) struct Loaded {
    pub(super) source: ConfigSource,
    pub(super) config: Config,
    pub(super) warnings: Vec<String>,
}

/// Why the daemon did not start.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The configuration is invalid: one line for each error.
    Config(Vec<String>),
    /// The system refused a call.
    System(String),
}

/// Reads the configuration at `path`, or at the default path. If neither is given nor exists, it is generated.
pub(super) fn load(path: Option<&Path>) -> Result<Loaded, StartError> {
    let path = match path {
        Some(path) => path,
        None if Path::new(DEFAULT_PATH).exists() => Path::new(DEFAULT_PATH),
        None => {
            let config = build::generated_config();
            return Ok(Loaded {
                source: ConfigSource::Generated(Box::new(config.clone())),
                config,
                warnings: Vec::new(),
            });
        }
    };
    let (config, warnings) = read(path).map_err(StartError::Config)?;
    Ok(Loaded {
        source: ConfigSource::File(path.to_owned()),
        config,
        warnings,
    })
}

/// Reads a configuration file. Returns it with one line for each warning.
///
/// # Errors
/// One line for each error.
pub(super) fn read(path: &Path) -> Result<(Config, Vec<String>), Vec<String>> {
    let lines = |problems: &[Problem]| -> Vec<String> {
        problems
            .iter()
            .map(|problem| problem.in_file(path).to_string())
            .collect()
    };
    match Config::load(path) {
        Ok((config, warnings)) => Ok((config, lines(&warnings))),
        Err(problems) => Err(lines(&problems)),
    }
}

/// The level of the log: `log_level`, raised by `-v` to debug and by `-vv` to trace.
pub(super) fn log_level(config: &Config, verbose: u8) -> log::LevelFilter {
    match verbose {
        0 => config.log_level,
        1 => config.log_level.max(log::LevelFilter::Debug),
        _ => log::LevelFilter::Trace,
    }
}
