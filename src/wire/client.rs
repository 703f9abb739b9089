//! The client's side of a connection: to a data centre, or to a proxy in any of the three modes.
//!
//! The order of calls: send [`ClientHandshake::first`]; read exactly [`ClientHandshake::wanted`] bytes at a time into
//! [`ClientHandshake::handle_input`] until nothing is wanted; then call [`ClientHandshake::finish`]. Only fake TLS has bytes to
//! read. Without it the [`Channel`] is open at once, and its header is sent with the first message. The channel then encodes and
//! decodes messages.
//!
//! mtfetch uses this module; the relay does not.

mod answer;
mod channel;
mod frames;
mod header;
mod hello;

pub use answer::BadAnswer;
pub use channel::Channel;
pub use frames::{BadFrame, Frame};
pub use hello::Shares;

use crate::obfuscated2::{DcInit, Tag};
use crate::secret::{Form, Written};
use alloc::vec::Vec;
use answer::ServerAnswer;
use header::ProxyInit;

/// The handshake of a new connection.
#[derive(Debug)]
pub struct ClientHandshake {
    hello: Vec<u8>,
    answer: Option<ServerAnswer>,
    channel: Channel,
}

impl ClientHandshake {
    /// A connection to a data centre. `fill` is the source of random bytes.
    #[must_use]
    pub fn direct(tag: Tag, dc: i16, fill: &mut dyn FnMut(&mut [u8])) -> ClientHandshake {
        let init = DcInit::new(tag, dc, fill);
        ClientHandshake::bare(Channel::bare(tag, &init.header, init.up, &init.down))
    }

    /// A connection to a proxy. The secret's form decides the mode: plain (with the intermediate transport), padded, or fake TLS at
    /// the Unix time `now`.
    #[must_use]
    pub fn proxy(
        secret: &Written,
        dc: i16,
        shares: Shares,
        now: u32,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> ClientHandshake {
        let tag = match secret.form {
            Form::Plain => Tag::Intermediate,
            Form::Dd | Form::Ee(_) => Tag::Padded,
        };
        let init = ProxyInit::new(tag, dc, &secret.key, fill);
        let Form::Ee(domain) = &secret.form else {
            return ClientHandshake::bare(Channel::bare(tag, &init.header, init.up, &init.down));
        };
        let hello = hello::client_hello(&secret.key, domain, shares, now, fill);
        ClientHandshake {
            answer: Some(ServerAnswer::new(&secret.key, &hello)),
            channel: Channel::in_records(tag, &init.header, init.up, &init.down),
            hello,
        }
    }

    fn bare(channel: Channel) -> ClientHandshake {
        ClientHandshake {
            hello: Vec::new(),
            answer: None,
            channel,
        }
    }

    /// The bytes to send before anything is read; empty without fake TLS.
    #[must_use]
    pub fn first(&self) -> &[u8] {
        &self.hello
    }

    /// The number of bytes to read next. Zero: the channel is open.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.answer.as_ref().map_or(0, ServerAnswer::wanted)
    }

    /// Takes the read bytes, at most [`ClientHandshake::wanted`].
    ///
    /// # Errors
    /// When the peer does not know the secret.
    pub fn handle_input(&mut self, bytes: &[u8]) -> Result<(), BadAnswer> {
        match &mut self.answer {
            Some(answer) => answer.handle_input(bytes),
            None if bytes.is_empty() => Ok(()),
            None => Err(BadAnswer::Unasked),
        }
    }

    /// The channel, once no more bytes are wanted.
    #[must_use]
    pub fn finish(self) -> Option<Channel> {
        (self.wanted() == 0).then_some(self.channel)
    }
}

#[cfg(test)]
mod tests;
