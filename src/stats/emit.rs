//! The shape of the documents that `/status` and ubus answer with, written down once, through [`Emit`], so that the two cannot drift apart.
//!
//! `emit_status`, `emit_dcs`, `emit_users` and `emit_sessions` describe ubus' methods of these names; `/status` is the first three in one. Promises:
//! whole numbers stay under 2^53, which every reader of JSON keeps exact, and what is not known is null, not 0.

use std::time::{Duration, Instant};

use super::Stats;
use super::session::SessionStats;
use super::snapshot::{Address, Buffers, Bytes, Fronted, Pipes, Sessions, Snapshot};
use mtrelay_core::close::ConnectFailure;

/// Takes a document apart into named values: written by JSON here, by ubus elsewhere. Inside an array names are empty.
pub trait Emit {
    /// Opens a table.
    fn table(&mut self, name: &str);
    /// Opens an array.
    fn array(&mut self, name: &str);
    /// Closes the table or array opened last.
    fn end(&mut self);
    /// A whole number of at most 53 bits.
    fn int(&mut self, name: &str, value: i64);
    /// A text.
    fn str(&mut self, name: &str, value: &str);
    /// Yes or no.
    fn bool(&mut self, name: &str, value: bool);
    /// Nothing known.
    fn null(&mut self, name: &str);
}

/// The largest whole number that every reader of JSON keeps exact.
const MAX_EXACT: i64 = (1 << 53) - 1;

fn uint(out: &mut dyn Emit, name: &str, value: u64) {
    out.int(name, i64::try_from(value).unwrap_or(MAX_EXACT).min(MAX_EXACT));
}

fn uints(out: &mut dyn Emit, name: &str, values: &[(&str, u64)]) {
    out.table(name);
    for (name, value) in values {
        uint(out, name, *value);
    }
    out.end();
}

fn bytes(out: &mut dyn Emit, bytes: Bytes) {
    uints(out, "bytes", &[("up", bytes.up), ("down", bytes.down)]);
}

impl Snapshot {
    /// The fields of ubus `status`.
    pub fn emit_status(&self, out: &mut dyn Emit) {
        out.str("version", self.version);
        uint(out, "uptime", self.uptime_s);
        out.table("clock");
        out.bool("synced", self.clock.synced);
        out.bool("trusted", self.clock.trusted);
        uint(out, "refused", self.clock.refused);
        out.int(
            "last_offset_s",
            self.clock.last_offset_s.clamp(-MAX_EXACT, MAX_EXACT),
        );
        out.end();
        let Fronted {
            active,
            total,
            bytes: moved,
            failed,
        } = self.fronted;
        uints(
            out,
            "fronted",
            &[
                ("active", active),
                ("total", total),
                ("bytes", moved),
                ("failed", failed),
            ],
        );
        let Sessions { active, total, peak } = self.sessions;
        uints(
            out,
            "sessions",
            &[("active", active), ("total", total), ("peak", peak)],
        );
        bytes(out, self.bytes);
        let Buffers {
            size,
            count,
            in_use,
            high_water,
            waits,
            held,
        } = self.buffers;
        uints(
            out,
            "buffers",
            &[
                ("size", size),
                ("count", count),
                ("in_use", in_use),
                ("high_water", high_water),
                ("waits", waits),
                ("held", held),
            ],
        );
        let Pipes {
            count,
            in_use,
            high_water,
            misses,
        } = self.pipes;
        uints(
            out,
            "pipes",
            &[
                ("count", count),
                ("in_use", in_use),
                ("high_water", high_water),
                ("misses", misses),
            ],
        );
        uints(out, "memory", &[("rss_kib", self.rss_kib)]);
        uints(
            out,
            "dc",
            &[
                ("created", self.dc.created),
                ("active", self.dc.active),
                ("failed", self.dc.failed_in_all()),
                ("dc_closed", self.dc.dc_closed),
                ("dc_timeouts", self.dc.dc_timeouts),
                ("client_closed", self.dc.client_closed),
                ("retries", self.dc.retries),
                ("ipv6_fallbacks", self.ipv6_fallbacks),
            ],
        );
        uints(out, "closes", &self.closes());
        uints(out, "connect_failures", &self.connect_failures());
        uints(out, "rejects", &self.rejects());
        uints(
            out,
            "config",
            &[
                ("reloads", self.config_reloads),
                ("rejected", self.config_rejected),
            ],
        );
        uints(
            out,
            "openings",
            &[
                ("active", self.openings_active),
                ("accept_pauses", self.accept_pauses),
            ],
        );
        uint(out, "panics", self.panics);
    }

    /// The field of ubus `dcs`.
    pub fn emit_dcs(&self, out: &mut dyn Emit) {
        out.array("dcs");
        for dc in &self.dcs {
            out.table("");
            out.int("id", dc.id.raw().into());
            out.bool("media", dc.id.is_media());
            uint(out, "active", dc.counts.active);
            uint(out, "created", dc.counts.created);
            uint(out, "failed", dc.counts.failed_in_all());
            uint(out, "dc_closed", dc.counts.dc_closed);
            uint(out, "dc_timeouts", dc.counts.dc_timeouts);
            uint(out, "client_closed", dc.counts.client_closed);
            uint(out, "retries", dc.counts.retries);
            bytes(out, dc.counts.bytes);
            out.array("addresses");
            for address in &dc.addresses {
                out.table("");
                emit_address(address, out);
                out.end();
            }
            out.end();
            out.end();
        }
        out.end();
    }

    /// The field of ubus `users`.
    pub fn emit_users(&self, out: &mut dyn Emit) {
        out.array("users");
        for user in &self.users {
            out.table("");
            out.str("name", &user.name);
            uint(out, "active", user.active);
            uint(out, "total", user.total);
            bytes(out, user.bytes);
            uint(out, "rejects", user.rejects);
            uint(out, "quota_used", user.quota_used);
            match user.quota {
                Some(quota) => uint(out, "quota", quota),
                None => out.null("quota"),
            }
            optional_str(out, "expires", user.expires.as_deref());
            out.end();
        }
        out.end();
    }
}

impl Stats {
    /// The fields of ubus `sessions`: a page of the live sessions, and how many there are in all.
    pub fn emit_sessions(&self, offset: usize, limit: usize, now: Instant, out: &mut dyn Emit) {
        let (sessions, total) = self.sessions(offset, limit);
        out.array("sessions");
        for session in sessions {
            out.table("");
            emit_session(&session, now, out);
            out.end();
        }
        out.end();
        uint(out, "total", total as u64);
    }
}

fn emit_session(session: &SessionStats, now: Instant, out: &mut dyn Emit) {
    out.str("user", session.user());
    out.str("client", &session.client().to_string());
    out.int("dc", session.dc().raw().into());
    let address = session.addr().map(|address| address.to_string());
    optional_str(out, "address", address.as_deref());
    uint(out, "age", session.age(now).as_secs());
    let (up, down) = (session.up(), session.down());
    bytes(out, Bytes { up, down });
    out.str("route", session.route());
}

fn emit_address(address: &Address, out: &mut dyn Emit) {
    out.str("address", &address.address.to_string());
    out.str("family", address.family());
    out.str("state", address.state.name());
    optional_uint(out, "rtt_ms", address.rtt.map(|rtt| rtt.as_millis() as u64));
    uint(out, "failures", address.failures);
    optional_str(out, "last_error", address.last_error.map(ConnectFailure::name));
    optional_uint(out, "retry_in", address.retry_in.map(whole_seconds));
    uint(out, "dc_timeouts", address.dc_timeouts);
}

fn optional_uint(out: &mut dyn Emit, name: &str, value: Option<u64>) {
    match value {
        Some(value) => uint(out, name, value),
        None => out.null(name),
    }
}

fn optional_str(out: &mut dyn Emit, name: &str, value: Option<&str>) {
    match value {
        Some(value) => out.str(name, value),
        None => out.null(name),
    }
}

/// Rounded up: what is not over yet does not read as 0.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_exact_for_every_reader() {
        struct Last(i64);
        impl Emit for Last {
            fn table(&mut self, _: &str) {}
            fn array(&mut self, _: &str) {}
            fn end(&mut self) {}
            fn int(&mut self, _: &str, value: i64) {
                self.0 = value;
            }
            fn str(&mut self, _: &str, _: &str) {}
            fn bool(&mut self, _: &str, _: bool) {}
            fn null(&mut self, _: &str) {}
        }
        let mut last = Last(0);
        for (value, kept) in [
            (0, 0),
            (u64::MAX, MAX_EXACT),
            (1 << 53, MAX_EXACT),
            ((1 << 53) - 1, MAX_EXACT),
        ] {
            uint(&mut last, "", value);
            assert_eq!(last.0, kept);
        }
    }

    #[test]
    fn a_wait_that_is_not_over_never_reads_as_zero() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
        assert_eq!(whole_seconds(Duration::ZERO), 0);
    }
}
