//! Reads the `user` sections: name, secret and limits of each user.
//!
//! Promise: names and secrets are unique, and messages never show a secret.

use super::options::USER_OPTIONS;
use mtrelay_core::calendar::Date;
use mtrelay_core::config::problem::Problem;
use mtrelay_core::config::read::{Reader, shown};
use mtrelay_core::config::uci::Section;
use mtrelay_core::map::Map;
use wire::secret::{Form, Secret};

/// The longest name, in bytes: log lines stay readable.
const MAX_USER_NAME_LEN: usize = 64;

/// When the bytes that count against a quota start from zero again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaReset {
    /// Never.
    Never,
    /// With each calendar month.
    Monthly,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name in logs and counters.
    pub name: String,
    /// The secret that the user's clients share with the relay.
    pub secret: Secret,
    /// Whether the user is admitted.
    pub enabled: bool,
    /// The limit of the user's live sessions.
    pub max_sessions: Option<u32>,
    /// The limit of client addresses at a time.
    pub max_ips: Option<u32>,
    /// The limit of MiB, up and down together, since the last reset.
    pub quota_mb: Option<u32>,
    /// When the count of the quota starts from zero again.
    pub quota_reset: QuotaReset,
    /// The last day, in UTC, on which the user is admitted.
    pub expires: Option<Date>,
}

/// The users read so far, and the lines of their names and secrets.
#[derive(Default)]
pub(super) struct Users {
    pub(super) list: Vec<User>,
    names: Map<String, usize>,
    secrets: Map<[u8; 16], usize>,
    /// Whether a section had no valid user: a warning that no user exists is then left out.
    pub(super) any_broken: bool,
}

impl Users {
    pub(super) fn read(
        &mut self,
        section: &Section,
        front_domain: Option<&str>,
        problems: &mut Vec<Problem>,
    ) {
        let mut reader = Reader::new(Some(section), USER_OPTIONS, problems);
        for &line in &section.reopened {
            reader.error(
                line,
                format!(
                    "this user's section is opened again (one section per user, the first is on line {})",
                    section.line
                ),
            );
        }
        let name = self.name(section, &mut reader);
        let secret = self.secret(section, front_domain, &mut reader);
        let enabled = reader.flag("enabled");
        let max_sessions = reader.limit("max_sessions");
        let max_ips = reader.limit("max_ips");
        let quota_mb = reader.limit("quota_mb");
        let quota_reset = reader.choice("quota_reset", &[QuotaReset::Never, QuotaReset::Monthly]);
        let expires = reader.maybe("expires", str::parse);
        reader.finish();
        let (Some(name), Some(secret)) = (name, secret) else {
            self.any_broken = true;
            return;
        };
        self.list.push(User {
            name,
            secret,
            enabled,
            max_sessions,
            max_ips,
            quota_mb,
            quota_reset,
            expires,
        });
    }

    /// The user's name: the option `name`, or else the section's own name (`config user 'family'`).
    fn name(&mut self, section: &Section, reader: &mut Reader<'_>) -> Option<String> {
        let (name, line) = match (reader.text("name"), &section.name) {
            (Some((name, line)), _) => (name.to_owned(), line),
            (None, Some(name)) => (name.clone(), section.line),
            (None, None) => {
                reader.error(
                    section.line,
                    "a user without a name (option name 'family')".into(),
                );
                return None;
            }
        };
        if name.len() > MAX_USER_NAME_LEN || name.chars().any(|c| c.is_control() || c == '\u{fffd}') {
            let text = format!(
                "name {} is too long or not text (at most {MAX_USER_NAME_LEN} bytes)",
                shown(&name)
            );
            reader.error(line, text);
            return None;
        }
        if name.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '=' | '\\')) {
            let text = format!(
                "name {} is hard to find in log lines (letters, digits, - and _)",
                shown(&name)
            );
            reader.warning(line, text);
        }
        if let Some(first) = self.names.get(&name) {
            let text = format!(
                "name {} is taken by the user on line {first} (a name of its own)",
                shown(&name)
            );
            reader.error(line, text);
        } else {
            self.names.insert(name.clone(), line);
        }
        Some(name)
    }

    fn secret(
        &mut self,
        section: &Section,
        front_domain: Option<&str>,
        reader: &mut Reader<'_>,
    ) -> Option<Secret> {
        const RIGHT: &str = "32 hex digits, as `mtrelay secret` prints them";
        let Some((text, line)) = reader.text("secret") else {
            reader.error(section.line, format!("a user without a secret ({RIGHT})"));
            return None;
        };
        let written = match wire::secret::parse(text) {
            Ok(written) => written,
            Err(wrong) => {
                reader.error(line, format!("secret is {wrong} ({RIGHT})"));
                return None;
            }
        };
        if let Form::Ee(domain) = &written.form
            && front_domain.is_some_and(|front| !front.eq_ignore_ascii_case(domain))
        {
            reader.warning(
                line,
                "secret carries another domain than front_domain (only the 32 digits behind ee)".into(),
            );
        }
        if is_weak(written.key) {
            reader.warning(line, format!("secret is easy to guess ({RIGHT})"));
        }
        if let Some(first) = self.secrets.get(written.key.as_bytes()) {
            reader.error(
                line,
                format!("secret is the same as on line {first} (a secret of its own)"),
            );
        } else {
            self.secrets.insert(*written.key.as_bytes(), line);
        }
        Some(written.key)
    }
}

/// Whether a secret looks made up by a person: repeated bytes, an arithmetic run, or text. For 16 random bytes the probability of each
/// is below one in a million.
fn is_weak(secret: Secret) -> bool {
    let bytes = secret.as_bytes();
    let mut distinct = *bytes;
    distinct.sort_unstable();
    let repeats = distinct.windows(2).filter(|pair| pair[0] == pair[1]).count();
    let step = bytes[1].wrapping_sub(bytes[0]);
    let is_run = bytes.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step);
    let is_text = bytes.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
    repeats >= 7 || is_run || is_text
}
