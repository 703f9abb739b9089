//! The users' limits, applied to the sessions that live: what ends with a day, a month's bytes or a reload.

use crate::access;
use crate::config::{Config, QuotaReset, month};
use crate::daemon::Current;
use crate::relay::pulse::Pulse;
use crate::relay::{Context, Shared};
use mtrelay_core::close::CloseReason;
use mtrelay_core::sys::clock;
use std::cell::Cell;
use std::net::IpAddr;

/// Once a second. `changed` says that a reload may have brought limits which live sessions break, and is taken back once
/// none does.
pub(super) fn apply(current: &Current, shared: &Shared, changed: &Cell<bool>) {
    let Current { config, context } = current;
    let now = shared.clock_trusted.get().then(|| u64::from(clock::unix_now()));
    if let Some(now) = now {
        enter_month(config, context, month(now));
    }
    for user in context.users.iter().filter(|user| user.stats.active.get() > 0) {
        let is_over = |end: u64| now.is_some_and(|now| now >= end);
        if user.expires.is_some_and(is_over) {
            shared
                .pulses
                .end(CloseReason::Expired, |pulse| pulse.is_of(&user.name));
        } else if user.stats.is_over_quota() {
            shared
                .pulses
                .end(CloseReason::Quota, |pulse| pulse.is_of(&user.name));
        }
    }
    if changed.get() {
        changed.set(drain(config, context, shared));
    }
}

fn enter_month(config: &Config, context: &Context, month: u32) {
    for (configured, user) in config.users.iter().zip(&context.users) {
        if configured.quota_reset == QuotaReset::Monthly {
            user.stats.enter_month(month);
        }
    }
}

/// Gives those sessions that may not go on the time of a drain; `false` when there is none of them.
fn drain(config: &Config, context: &Context, shared: &Shared) -> bool {
    let within_s = config.drain_timeout.map_or(0, |timeout| timeout.as_secs());
    let within_s = u32::try_from(within_s).unwrap_or(u32::MAX);
    let mut seats: Vec<Seats> = context.users.iter().map(|_| Seats::default()).collect();
    let mut any = false;
    shared.pulses.each(|pulse| {
        let broken = broken(pulse, context, &mut seats);
        any |= pulse.leave(broken.map(|reason| (reason, within_s)));
    });
    any
}

/// What a user's sessions take up, counted from the oldest on.
#[derive(Default)]
struct Seats {
    sessions: u64,
    sources: Vec<IpAddr>,
}

/// The limit that a session breaks, if those before it may stay.
fn broken(pulse: &Pulse, context: &Context, seats: &mut [Seats]) -> Option<CloseReason> {
    let (name, secret) = pulse.user.as_ref()?;
    let mut users = context.users.iter().zip(seats);
    // A user whose secret was exchanged has new sessions only with the new one.
    let Some((user, seats)) = users.find(|(user, _)| user.name == *name && user.secret == *secret) else {
        return Some(CloseReason::UserDisabled);
    };
    if !user.enabled {
        return Some(CloseReason::UserDisabled);
    }
    let source = access::source(pulse.client);
    let is_new = !seats.sources.contains(&source);
    let too_many = user.max_sessions.is_some_and(|limit| seats.sessions >= limit)
        || user
            .max_ips
            .is_some_and(|limit| is_new && seats.sources.len() >= limit);
    if too_many {
        return Some(CloseReason::Limit);
    }
    seats.sessions += 1;
    if is_new {
        seats.sources.push(source);
    }
    None
}
