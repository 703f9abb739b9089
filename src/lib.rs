//! mtrelay: an MTProto (Telegram) proxy relay for OpenWrt routers.
//!
//! A session, as the bytes see it: accept → admit → authenticate (the `wire` crate: which user, which mode, which DC; or
//! a stranger, who is shown the fronted site) → dial → relay (two halves, `up` and `down`) → close (one reason) →
//! counters and one log line.
//!
//! Everything runs on one thread: router CPUs have few, slow cores, and 32-bit MIPS has no 64-bit atomics. Counters are
//! `Cell`s, and there are no locks.
//!
//! | room | what it is | looks at |
//! |---|---|---|
//! | `main` | argv → exit code | `cli` |
//! | [`cli`] | run, check, link, secret, status | `config`, `link`, `daemon`, `http`, `metrics`, `probe` |
//! | [`daemon`] | listeners, reload, drain, the once-a-second work | every room but `cli` |
//! | [`config`] | UCI sections → a valid [`config::Config`]; the table of options | `access` |
//! | [`access`] | allow and block lists: sets of addresses | nothing of this crate |
//! | [`link`] | tg:// links and QR codes | `config` |
//! | [`relay`] | sessions: handshake, duplex, close, replay window, front site | `access`, `pool`, `stats` |
//! | [`probe`] | tries every data centre, the clock and the front, for `check --net` | `metrics` |
//! | [`pool`] | the fixed blocks that hold relayed bytes | nothing of this crate |
//! | [`stats`] | counters: cells that the relay raises | `metrics` |
//! | [`metrics`] | the table of metrics, [`metrics::Snapshot`], one renderer for each output | nothing of this crate |
//! | [`http`] | /stats /metrics /status | `metrics` |
//! | [`ubus`] | the object `mtrelay` on OpenWrt's bus | `metrics` |
//!
//! Three more crates stand beside this one: `mtrelay_core` (src/core: reactor, system calls, dialer, UCI reader, log), which looks at
//! `wire` only; `wire` (src/wire: bytes in, values out), which looks at nothing; and `mtfetch` (src/fetch), which looks at both and
//! never at this crate.

pub mod access;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod http;
pub mod link;
pub mod metrics;
pub mod pool;
pub mod probe;
pub mod relay;
pub mod stats;
pub mod ubus;
