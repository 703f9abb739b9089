//! The common base of both programs: reactor, system calls, dialer, UCI reader and log.
//!
//! This crate knows no session, user or download. `mtrelay` and `mtfetch` depend on it and never on each other.

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
pub mod scheduler;
pub mod sys;
pub mod syslog;
