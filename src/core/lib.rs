//! What both programs stand on: the reactor, system calls, the dialer, the UCI reader, the log.
//!
//! Nothing here knows a session, a user or a download. `mtrelay` and `mtfetch` depend on this crate and never on each other.

pub mod calendar;
pub mod close;
pub mod config;
pub mod dc;
pub mod dial;
pub mod host;
pub mod map;
pub mod notify;
pub mod quote;
pub mod reactor;
pub mod sys;
pub mod syslog;
