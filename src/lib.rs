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
//! | [`cli`] | run, check, link, secret, status | `config`, `link`, `daemon`, `http`, `probe`, `sys`, `stats`' [`stats::Emit`] |
//! | [`daemon`] | listeners, admission, reload, drain | everything but `cli` |
//! | [`config`], `config::uci` | UCI text → a valid [`config::Config`]; every default | `access`, `dc`, `map`, `quote`, `wire` |
//! | [`access`] | allow and block lists: sets of addresses | nothing of ours |
//! | [`link`] | tg:// links and QR codes | `config`'s user, `wire` |
//! | [`relay`] | sessions: openings, halves, endings, replay window, strangers | `access`, `wire`, `dial`, `pool`, `stats`, `close`, `dc`, `reactor`, `sys` |
//! | [`dial`] | connections to data centres: raced, remembered, kept warm | `close`, `dc`, `reactor`, `sys` |
//! | [`probe`] | tries every data centre, the clock and the front, for `check --net` | `dc`, `dial`'s options, `close`, `wire`, `reactor`, `sys`, `stats`' [`stats::Emit`] |
//! | `map` | a small sorted map | nothing of ours |
//! | [`pool`] | the fixed blocks in which relayed bytes stand | nothing of ours |
//! | [`dc`] | ids and addresses of data centres | nothing of ours |
//! | [`close`] | the words for every ending | nothing of ours |
//! | [`stats`] | counters, [`stats::snapshot`], its renderings | `close`, `dc`, `map`, `quote` |
//! | [`http`] | /stats /metrics /status | `stats::snapshot`, `reactor` |
//! | [`ubus`] | the object `mtrelay` on OpenWrt's bus | `stats::snapshot`, [`stats::Emit`], `reactor`, `sys` |
//! | [`syslog`] | the `log` facade → /dev/log or stderr | `sys` |
//! | `quote` | words of peers and owners in messages | nothing of ours |
//! | [`reactor`] | which descriptors are ready, whose time has come, and which busy task goes on | `sys` |
//! | [`sys`] | system calls, the only `unsafe` | nothing of ours |
//! | `wire` (crate) | the bytes: no sockets, no clock, no randomness | nothing of ours |
//! | `fetch` (crate) | mtfetch, the companion that downloads | `wire`, and of these `dial`, `dc`, `reactor`, `sys` and a few more; nobody looks at it |

pub mod access;
pub mod cli;
pub mod close;
pub mod config;
pub mod daemon;
pub mod dc;
pub mod dial;
pub mod http;
pub mod link;
mod map;
pub mod pool;
pub mod probe;
pub mod quote;
pub mod reactor;
pub mod relay;
pub mod stats;
pub mod sys;
pub mod syslog;
pub mod ubus;
