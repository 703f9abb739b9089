//! mtrelay: an MTProto (Telegram) proxy relay for OpenWrt routers.
//!
//! A session: accept → admit (budgets) → handshake (user, mode and DC, or the front site for an unauthenticated client) → connect
//! and first request → duplex (two pumps, `up` and `down`) → linger → one close reason → counters and one log line.
//! `relay::session` reads in this order.
//!
//! Everything runs on one thread: router CPUs have one to four slow cores, and 32-bit MIPS has no 64-bit atomics. Counters are
//! `Cell`s without locks.
//!
//! | room | what it is | looks at |
//! |---|---|---|
//! | `main` | argv → exit code | `cli` |
//! | [`cli`] | run, check, link, secret, status | `config`, `link`, `daemon`, `http`, `metrics`, `probe` |
//! | `daemon` | listeners, reload, drain, the once-a-second work | every room but `cli` |
//! | [`config`] | UCI sections → a valid [`config::Config`]; the table of options | `access` |
//! | `access` | allow and block lists: sets of addresses | nothing of this crate |
//! | `link` | tg:// links and QR codes | `config` |
//! | `relay` | sessions: handshake, duplex, close, replay window, front site | `access`, `pool`, `stats` |
//! | `probe` | network test of every data centre, the clock and the front, for `check --net` and ubus | `metrics` |
//! | `pool` | the fixed pool of relay buffers | nothing of this crate |
//! | `stats` | counters: cells that the relay raises | `metrics` |
//! | [`metrics`] | the table of metrics, [`metrics::Snapshot`], one renderer for each output | nothing of this crate |
//! | [`http`] | /stats /metrics /status | `metrics` |
//! | [`ubus`] | the object `mtrelay` on ubus | `metrics` |
//!
//! Three other crates: `wire` (src/wire: formats as bytes in, values out) depends on no crate of the project. `mtrelay_core` (src/core:
//! reactor, system calls, dialer, UCI reader, log) depends on `wire`. `mtfetch` (src/fetch) depends on both and never on this crate.

mod access;
pub mod cli;
pub mod config;
mod daemon;
pub mod http;
mod link;
pub mod metrics;
mod pool;
mod probe;
#[allow(
    unreachable_pub,
    reason = "the room is private as a whole, so `pub` in it ends here"
)]
mod relay;
#[allow(
    unreachable_pub,
    reason = "the room is private as a whole, so `pub` in it ends here"
)]
mod stats;
pub mod ubus;
