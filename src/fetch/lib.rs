//! mtfetch: media from Telegram in a sliding window, in order as it arrives.
//!
//! | room | what it is |
//! |---|---|
//! | `main` | argv → exit code |
//! | [`cli`] | login, logout, get, serve, check |
//! | [`config`] | UCI text → a valid [`config::Config`]; every default |
//! | [`link`] | what people paste: t.me links of messages |
//! | [`source`] | where media comes from, and the bytes in order |
//! | [`cache`] | what links led to, in memory, in a file, in a Redis |
//! | [`http`] | `mtfetch serve`: media over HTTP/1.1 |
//! | [`output`] | `mtfetch get`: media into files, and on with them after a break |
//! | [`progress`] | how far a download is |
//! | [`telegram`] | the account and its data centres, as a [`source::Source`] |
//! | [`account`] | logging in and out |
//! | `media` | from a link to what can be fetched |
//! | [`download`] | one reader: requests out, parts in order |
//! | [`schedule`] | which bytes are asked for when, and over which connection |
//! | `center` | a data centre: connections, their pace, waits |
//! | `connection` | a session over a socket, with a task of its own: `signal` |
//! | [`way`] | ways to data centres: straight, or through a proxy |
//! | [`session`] | requests and answers over one connection: [`salts`], [`answer`], [`gzip`] |
//! | [`exchange`] | a key with a data centre: [`factor`], [`rsa`] |
//! | [`store`] | the file with keys, salts and the account |

pub mod account;
pub mod answer;
pub mod cache;
mod center;
pub mod cli;
pub mod config;
mod connection;
pub mod download;
pub mod exchange;
pub mod factor;
pub mod gzip;
pub mod http;
pub mod link;
mod media;
pub mod output;
pub mod progress;
pub mod rsa;
pub mod salts;
pub mod schedule;
pub mod session;
mod signal;
pub mod source;
pub mod store;
pub mod telegram;
pub mod way;
