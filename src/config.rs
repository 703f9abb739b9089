//! The configuration: UCI text in, a [`Config`] out that is valid once it exists.
//!
//! Read first: docs/options.md, which describes every option. Options have the same names here. [`options`] is the only place with
//! defaults and ranges: an absent option is read as if its default stood in the file.
//!
//! Promises: every mistake of a file is reported, not only the first, each with its line. Messages never show a secret, nor a value
//! that may be a secret in the wrong place. Numbers are bounded so that their sums and products fit 32 bits.

mod cidr;
mod front;
mod lists;
mod model;
pub mod options;
mod relay;
pub mod users;

pub use model::{ClockSkew, Config};
pub use mtrelay_core::calendar::{Date, month};
use mtrelay_core::config::dc::DcSections;
pub use mtrelay_core::config::problem::{Problem, Severity};
use mtrelay_core::config::uci::Package;
pub use mtrelay_core::config::value::HostPort;
use mtrelay_core::config::{read_file, uci};
pub use mtrelay_core::dial::PreferIpv6;
use std::path::Path;
use users::Users;
pub use users::{QuotaReset, User};

/// The configuration file without `-c`.
pub const DEFAULT_PATH: &str = "/etc/config/mtrelay";

impl Default for Config {
    /// The configuration of an empty file.
    fn default() -> Config {
        Config::from_uci("")
            .expect("the defaults are valid: a test reads them")
            .0
    }
}

impl Config {
    /// Reads a configuration. Returns it with the warnings.
    ///
    /// # Errors
    /// Every mistake, warnings included, in the order of their lines, if one of them is an error.
    pub fn from_uci(text: &str) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
        let (package, mut problems) = uci::parse(text);
        let config = read_package(&package, &mut problems);
        judge(config, problems)
    }

    /// Reads a configuration file and the lists that it names. Bytes that are not UTF-8 become `U+FFFD`.
    ///
    /// # Errors
    /// As [`Config::from_uci`]. A file that cannot be read is a mistake without a line.
    pub fn load(path: &Path) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
        let text = read_file(path).map_err(|problem| vec![problem])?;
        let (package, mut problems) = uci::parse(&text);
        let mut config = read_package(&package, &mut problems);
        lists::add_files(&mut config, &package, &mut problems);
        judge(config, problems)
    }
}

/// Sorts the problems by file and line. One error among them refuses the configuration.
fn judge(config: Config, mut problems: Vec<Problem>) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    problems.sort_by_key(|problem| (problem.file.is_some(), problem.line));
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    Ok((config, problems))
}

fn read_package(package: &Package, problems: &mut Vec<Problem>) -> Config {
    check_package_names(package, problems);
    let of_kind = |kind: &'static str| {
        package
            .sections
            .iter()
            .filter(move |section| section.kind == kind)
    };
    for section in &package.sections {
        if !matches!(section.kind.as_str(), "relay" | "user" | "dc") {
            let text = format!(
                "unknown section type {} (relay, user or dc)",
                uci::shown_name(&section.kind)
            );
            problems.push(Problem::warning(section.line, text));
        }
    }
    let mut relays = of_kind("relay");
    let first = relays.next();
    if let Some(first) = first {
        for second in relays {
            let text = format!(
                "a second relay section (all options in the first, on line {})",
                first.line
            );
            problems.push(Problem::error(second.line, text));
        }
    }
    let mut config = relay::read(first, problems);
    let mut users = Users::default();
    for section in of_kind("user") {
        users.read(section, config.front_domain.as_deref(), problems);
    }
    config.users = std::mem::take(&mut users.list);
    if !users.any_broken && !config.users.iter().any(|user| user.enabled) {
        let line = first.map_or(1, |section| section.line);
        let what = if config.users.is_empty() {
            "no user"
        } else {
            "no enabled user"
        };
        let text = format!("{what}, so nobody can connect (a user section with a name and a secret)");
        problems.push(Problem::warning(line, text));
    }
    let mut dcs = DcSections::default();
    for section in of_kind("dc") {
        dcs.read(section, &mut config.dcs, problems);
    }
    config
}

fn check_package_names(package: &Package, problems: &mut Vec<Problem>) {
    let Some((first, line)) = package.names.first() else {
        return;
    };
    if first != "mtrelay" {
        let text = format!("package {} (mtrelay)", uci::shown_name(first));
        problems.push(Problem::warning(*line, text));
    }
    if let Some((name, line)) = package.names.iter().find(|(name, _)| name != first) {
        let text = format!(
            "a second package, {} (`uci export mtrelay` prints only ours)",
            uci::shown_name(name)
        );
        problems.push(Problem::error(*line, text));
    }
}

#[cfg(test)]
mod tests;
