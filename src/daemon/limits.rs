//! User limits applied to live sessions: expiry, traffic quota, and limits that a reload has changed.

use super::relay_state::ActiveConfig;
use crate::access;
use crate::config::{Config, QuotaReset, month};
use crate::relay::{Context, SessionHandle, Shared};
use mtrelay_core::close::CloseReason;
use mtrelay_core::sys::clock;
use std::cell::Cell;
use std::net::IpAddr;

/// Ends sessions that exceed a limit; called once a second. `changed` is set by a reload and cleared once no live session exceeds
/// its limits.
pub(super) fn apply(active: &ActiveConfig, shared: &Shared, changed: &Cell<bool>) {
    let ActiveConfig { config, context } = active;
    let now = shared.clock_trusted.get().then(|| u64::from(clock::unix_now()));
    if let Some(now) = now {
        enter_month(config, context, month(now));
    }
    for user in context.users.iter().filter(|user| user.stats.active() > 0) {
        let is_over = |end: u64| now.is_some_and(|now| now >= end);
        if user.expires.is_some_and(is_over) {
            shared
                .sessions
                .end(CloseReason::Expired, |session| session.is_of(&user.name));
        } else if user.stats.is_over_quota() {
            shared
                .sessions
                .end(CloseReason::Quota, |session| session.is_of(&user.name));
        }
    }
    if changed.get() {
        changed.set(drain_exceeding(config, context, shared));
    }
}

fn enter_month(config: &Config, context: &Context, month: u32) {
    for (configured, user) in config.users.iter().zip(&context.users) {
        if configured.quota_reset == QuotaReset::Monthly {
            user.stats.enter_month(month);
        }
    }
}

/// Gives every session that exceeds a limit the time of a drain, then it ends. Returns whether such a session exists.
fn drain_exceeding(config: &Config, context: &Context, shared: &Shared) -> bool {
    let within_s = config.drain_timeout.map_or(0, |timeout| timeout.as_secs());
    let within_s = u32::try_from(within_s).unwrap_or(u32::MAX);
    let mut usage: Vec<Usage> = context.users.iter().map(|_| Usage::default()).collect();
    let mut any = false;
    shared.sessions.each(|session| {
        let exceeded = exceeded_limit(session, context, &mut usage);
        any |= session.end_within(exceeded.map(|reason| (reason, within_s)));
    });
    any
}

/// What one user's sessions use, counted from the oldest session on.
#[derive(Default)]
struct Usage {
    sessions: u64,
    sources: Vec<IpAddr>,
}

/// The limit that a session exceeds while all older sessions stay.
fn exceeded_limit(session: &SessionHandle, context: &Context, usage: &mut [Usage]) -> Option<CloseReason> {
    let (name, secret) = session.user.as_ref()?;
    let users = context.users.iter().zip(&context.secrets).zip(usage);
    // A changed secret ends the sessions that were opened with the old one.
    let mut users = users.filter(|((user, current), _)| user.name == *name && **current == *secret);
    let Some(((user, _), usage)) = users.next() else {
        return Some(CloseReason::UserDisabled);
    };
    if !user.enabled {
        return Some(CloseReason::UserDisabled);
    }
    let source = access::source(session.client);
    let is_new = !usage.sources.contains(&source);
    let too_many = user.max_sessions.is_some_and(|limit| usage.sessions >= limit)
        || user
            .max_ips
            .is_some_and(|limit| is_new && usage.sources.len() >= limit);
    if too_many {
        return Some(CloseReason::Limit);
    }
    usage.sessions += 1;
    if is_new {
        usage.sources.push(source);
    }
    None
}
