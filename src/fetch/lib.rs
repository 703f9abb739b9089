//! mtfetch: media from Telegram in a sliding window, in order as it arrives.
//!
//! | room | what it is |
//! |---|---|
//! | [`config`] | UCI text → a valid [`config::Config`]; every default |
//! | [`link`] | what people paste: t.me links of messages |
//! | [`source`] | where media comes from, and the bytes in order |
//! | [`cache`] | what links led to, in memory, in a file, in a Redis |
//! | [`http`] | `mtfetch serve`: media over HTTP/1.1 |
//! | [`output`] | `mtfetch get`: media into files, and on with them after a break |
//! | [`progress`] | how far a download is |

pub mod cache;
pub mod config;
pub mod http;
pub mod link;
pub mod output;
pub mod progress;
pub mod source;
