//! mtfetch: media from Telegram in a sliding window, in order as it arrives.
//!
//! | room | what it is |
//! |---|---|
//! | [`link`] | what people paste: t.me links of messages |
//! | [`source`] | where media comes from, and the bytes in order |

pub mod link;
pub mod source;
