//! The `user` sections: who may use the relay, with which key and within which limits.
//!
//! Promise: names and secrets are unique, and no message shows a secret.

use super::options::USER_OPTIONS;
use super::read::{Reader, shown};
use super::uci::Section;
use super::{MAX_SESSIONS, non_zero, value};
use mtrelay_core::calendar::Date;
use mtrelay_core::config::problem::Problem;
use mtrelay_core::map::Map;
use wire::secret::{Form, Secret};

/// A petabyte. In bytes it fits 64 bits many times over.
const MAX_QUOTA_MB: u32 = 1_000_000_000;
/// Longer names make unreadable log lines.
const MAX_USER_NAME_LEN: usize = 64;

/// When a user's quota begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaReset {
    /// Never: the quota is for good.
    Never,
    /// With each calendar month.
    Monthly,
}

/// One who may use the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name that stands in logs and counters.
    pub name: String,
    /// The key.
    pub secret: Secret,
    /// Whether the user may come in.
    pub enabled: bool,
    /// Sessions at once. `None`: no limit of their own.
    pub max_sessions: Option<u32>,
    /// Client addresses at once. `None`: no limit.
    pub max_ips: Option<u32>,
    /// Mebibytes, up and down together, since the last reset. `None`: no limit.
    pub quota_mb: Option<u32>,
    /// When the count of the quota begins anew.
    pub quota_reset: QuotaReset,
    /// The last day, in UTC, on which the user may come in.
    pub expires: Option<Date>,
}

/// The users read so far, and where their names and secrets stand.
#[derive(Default)]
pub(super) struct Users {
    pub(super) list: Vec<User>,
    names: Map<String, usize>,
    secrets: Map<[u8; 16], usize>,
    /// Whether a section made no user. That there is none is then no news.
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
        let enabled = reader.one("enabled", value::boolean);
        let max_sessions = non_zero(reader.number("max_sessions", 0..=MAX_SESSIONS));
        let max_ips = non_zero(reader.number("max_ips", 0..=MAX_SESSIONS));
        let quota_mb = non_zero(reader.number("quota_mb", 0..=MAX_QUOTA_MB));
        let quota_reset = reader.one("quota_reset", |text| match text {
            "never" => Ok(QuotaReset::Never),
            "monthly" => Ok(QuotaReset::Monthly),
            _ => Err("is no reset that we know (never or monthly)".into()),
        });
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

    /// The user's name; a section's own name (`config user 'family'`) will do.
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

/// Whether a key was made up by a person. Random ones are never caught: of 16 random bytes hardly ever two or three
/// are equal, and chances of the other patterns are below one in a million.
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
