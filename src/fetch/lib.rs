//! mtfetch: downloads media from Telegram through a sliding window and hands the bytes out in order.
//!
//! | module | content |
//! |---|---|
//! | `main`, [`cli`] | the commands login, logout, get, serve, check |
//! | `config` | UCI text in, a valid `Config` out; every default |
//! | [`link`] | t.me links of messages |
//! | [`source`] | the traits: resolve a link, read a range in order |
//! | `cache` | what links led to: in memory, in a file, in Redis |
//! | `http` | `mtfetch serve`: media over HTTP/1.1 |
//! | `output`, `progress` | `mtfetch get`: media into files, resumed after a break |
//! | [`telegram`] | Telegram as a [`source::Source`]; [`account`]: login and logout |
//! | `media`, `chats`, `media_name` | from a link to media |
//! | `download` | one reader: requests out, parts in order; `file_reference`: what opens a file |
//! | `schedule` | which bytes are requested when, and over which connection |
//! | `dc` | a data centre: connections, pace, flood waits; `keyring`: its key and the account |
//! | `connection` | a session over a transport, driven by one task |
//! | [`route`] | routes to data centres: direct, or through a proxy |
//! | [`session`] | MTProto messages of one connection: [`salts`], [`answer`], `gzip` |
//! | [`auth_key`] | the key exchange with a data centre: `dh_group`, `factor`, [`rsa`] |
//! | [`store`] | the account file: keys, salts, the account |
//! | `timeout`, `random_word` | a time limit around a future; unguessable words |

pub mod account;
pub mod answer;
pub mod auth_key;
mod cache;
mod call_error;
mod chats;
pub mod cli;
mod config;
mod connection;
mod dc;
mod dh_group;
mod download;
mod factor;
mod file_reference;
mod gzip;
mod http;
mod keyring;
pub mod link;
mod media;
mod media_name;
#[cfg(test)]
mod memory_source;
mod output;
mod progress;
mod random_word;
pub mod route;
pub mod rsa;
pub mod salts;
mod schedule;
pub mod session;
pub mod source;
pub mod store;
pub mod telegram;
mod timeout;
