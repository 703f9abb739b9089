//! The server side of the handshake: from a connection's first bytes to a user, a mode and a DC.
//!
//! The order of calls: read at most [`Acceptor::wanted`] bytes, give them to [`Acceptor::handle_input`], do what the
//! [`Progress`] says, and repeat. No byte after the handshake is asked for, so the relay starts exactly where it ends. After
//! [`Progress::Answer`], send [`Acceptor::answer`] and continue.
//!
//! A TLS hello is recognised by its first bytes. Everything else is parsed as an obfuscated2 header with each user's secret.

use crate::cipher::{Stream, StreamKey};
use crate::faketls::client_hello::{self, ClientHello, Start};
use crate::faketls::record::Unwrapper;
use crate::faketls::server_hello;
use crate::obfuscated2::{ClientInit, HEADER_LEN, ReplayKey, Tag};
use crate::secret::Secret;
use crate::{Mode, Modes};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Times below this many seconds are an uptime and not a date: some clients have no better clock.
const MAX_UPTIME_S: u32 = 1000 * 24 * 3600;

/// The relay's configuration, as far as the handshake needs it.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// The users' secrets. A user is named by the index in this list.
    pub secrets: &'a [Secret],
    /// The allowed modes.
    pub modes: Modes,
    /// The server name that a hello must have; `None` accepts any name, and a hello without one.
    pub front_domain: Option<&'a str>,
    /// The rule for a hello's time.
    pub clock: Clock,
    /// Only TLS clients are expected: another protocol is rejected at its first bytes, before a header could be complete.
    pub only_tls: bool,
}

/// The rule for a hello's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The local clock is not trusted: any time is accepted.
    Unknown,
    /// The local clock is trusted: a hello's time must be within bounds.
    Known {
        /// The current Unix time in seconds.
        now: u32,
        /// Seconds that a hello's time may be behind.
        behind: u32,
        /// Seconds that a hello's time may be ahead.
        ahead: u32,
    },
}

/// What the caller is to do next.
#[derive(Debug)]
pub enum Progress {
    /// Read more bytes.
    NeedMore,
    /// A user's hello is complete. Unless its key is a replay, send the answer and read more.
    Answer {
        /// The user's index in [`Policy::secrets`].
        user: usize,
        /// The hello's key for the replay window.
        replay_key: ReplayKey,
    },
    /// The handshake is complete.
    Ready(Box<Handshake>),
    /// The handshake failed.
    Rejected(Rejection),
}

/// A complete handshake.
#[derive(Debug)]
pub struct Handshake {
    /// The user's index in [`Policy::secrets`].
    pub user: usize,
    /// The client's mode.
    pub mode: Mode,
    /// The transport, which the header to the DC repeats.
    pub tag: Tag,
    /// The DC id in the client's header.
    pub dc: i16,
    /// Cipher of the client's bytes after the header.
    pub up: Stream,
    /// Key of the bytes to the client.
    pub down: StreamKey,
    /// The header's key for the replay window.
    pub replay_key: ReplayKey,
    /// State of the record stream, with fake TLS.
    pub records: Option<Unwrapper>,
}

/// A failed handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The reason.
    pub reason: RejectReason,
    /// The protocol that the bytes look like. The front site answers TLS and HTTP.
    pub protocol: ApparentProtocol,
    /// The user whose secret matches, if the handshake failed for another reason.
    pub user: Option<usize>,
}

/// Why a handshake is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// No user's secret matches.
    BadSecret,
    /// The secret matches, but the transport is not the padded one that fake TLS requires.
    BadTag,
    /// The secret matches, but the hello's time differs from the local clock by this many seconds; positive means ahead.
    ClockSkew(i64),
    /// The bytes fit no mode.
    Malformed,
    /// The secret matches, but the mode is switched off.
    ModeDisabled,
    /// The secret matches, but the server name is another one.
    BadServerName,
}

/// The protocol that a connection's first bytes look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApparentProtocol {
    /// A TLS ClientHello.
    Tls,
    /// An HTTP request.
    Http,
    /// Neither: random bytes to an observer.
    Unknown,
}

/// The state of one connection's handshake.
#[derive(Debug, Default)]
pub struct Acceptor {
    /// All bytes so far, until the hello is answered: those of an unauthenticated client go to the front site.
    bytes: Vec<u8>,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    /// The first bytes: an obfuscated2 header, or the start of a hello.
    #[default]
    First,
    /// A hello of this length in bytes.
    Hello(usize),
    /// The hello of this user is complete, and its answer is to be sent.
    Answering(usize),
    /// An obfuscated2 header inside TLS records.
    Inside {
        user: usize,
        header: [u8; HEADER_LEN],
        len: usize,
        records: Unwrapper,
    },
    Done,
}

impl Acceptor {
    /// A handshake at its first byte.
    #[must_use]
    pub fn new() -> Acceptor {
        Acceptor::default()
    }

    /// The number of bytes that may be read now. Zero only while the answer is due and after the end.
    #[must_use]
    pub fn wanted(&self) -> usize {
        match &self.stage {
            Stage::First => HEADER_LEN.saturating_sub(self.bytes.len()),
            Stage::Hello(total) => total.saturating_sub(self.bytes.len()),
            Stage::Inside { len, records, .. } => records.wanted(HEADER_LEN.saturating_sub(*len)),
            Stage::Answering(_) | Stage::Done => 0,
        }
    }

    /// All bytes that the client has sent, unless it was answered.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Whether the first bytes are those of a TLS client.
    #[must_use]
    pub fn begins_as_tls(&self) -> bool {
        matches!(client_hello::recognise(&self.bytes), Start::Tls { .. })
    }

    /// Whether the hello was answered.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        matches!(self.stage, Stage::Inside { .. })
    }

    /// Memory that the handshake holds, in bytes.
    #[must_use]
    pub fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// Takes the read bytes, at most [`Acceptor::wanted`].
    pub fn handle_input(&mut self, input: &mut [u8], policy: &Policy<'_>) -> Progress {
        let progress = match self.stage {
            Stage::Inside { .. } => self.inside(input, policy),
            Stage::Answering(_) | Stage::Done => reject(RejectReason::Malformed, ApparentProtocol::Unknown),
            Stage::First | Stage::Hello(_) => {
                self.bytes.extend_from_slice(input);
                self.outside(policy)
            }
        };
        if matches!(progress, Progress::Ready(_) | Progress::Rejected(_)) {
            self.stage = Stage::Done;
        }
        progress
    }

    /// The answer to the hello, after [`Progress::Answer`]. Releases the bytes held so far.
    ///
    /// `flight_len` is the length of the answer's encrypted record in bytes, `share` an unused key share of X25519, `fill` the
    /// source of random bytes.
    pub fn answer(
        &mut self,
        policy: &Policy<'_>,
        flight_len: usize,
        share: &[u8; 32],
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Option<Vec<u8>> {
        let Stage::Answering(user) = self.stage else {
            return None;
        };
        let hello = core::mem::take(&mut self.bytes);
        self.stage = Stage::Inside {
            user,
            header: [0; HEADER_LEN],
            len: 0,
            records: Unwrapper::default(),
        };
        let secret = policy.secrets.get(user)?;
        Some(server_hello::answer(
            &ClientHello::parse(&hello)?,
            secret,
            flight_len,
            share,
            fill,
        ))
    }

    fn outside(&mut self, policy: &Policy<'_>) -> Progress {
        if matches!(self.stage, Stage::First) {
            match client_hello::recognise(&self.bytes) {
                Start::Tls {
                    record_len: Some(total),
                } => {
                    self.bytes.reserve_exact(total.saturating_sub(self.bytes.len()));
                    self.stage = Stage::Hello(total);
                }
                Start::Tls { record_len: None } => {
                    return reject(RejectReason::Malformed, ApparentProtocol::Tls);
                }
                Start::Other if looks_like_http(&self.bytes) => {
                    return reject(RejectReason::Malformed, ApparentProtocol::Http);
                }
                // A complete header may still match a user's secret.
                Start::Other if policy.only_tls && self.wanted() > 0 => {
                    return reject(RejectReason::Malformed, ApparentProtocol::Unknown);
                }
                Start::Other | Start::Short => {}
            }
        }
        if matches!(self.stage, Stage::Hello(_)) && !client_hello::may_be_ours(&self.bytes) {
            return reject(RejectReason::Malformed, ApparentProtocol::Tls);
        }
        if self.wanted() > 0 {
            return Progress::NeedMore;
        }
        if matches!(self.stage, Stage::Hello(_)) {
            return self.hello(policy);
        }
        match self.bytes.first_chunk() {
            Some(header) => bare_header(header, policy),
            None => Progress::NeedMore,
        }
    }

    fn hello(&mut self, policy: &Policy<'_>) -> Progress {
        let Some(hello) = ClientHello::parse(&self.bytes) else {
            return reject(RejectReason::Malformed, ApparentProtocol::Tls);
        };
        // Every secret is tried, so that the time taken does not reveal which one matches.
        let found = policy
            .secrets
            .iter()
            .enumerate()
            .fold(None, |found, (user, secret)| {
                let verified = hello.verify(secret);
                found.or(verified.map(|verified| (user, verified)))
            });
        let Some((user, verified)) = found else {
            return reject(RejectReason::BadSecret, ApparentProtocol::Tls);
        };
        if !policy.modes.ee {
            return reject_user(user, RejectReason::ModeDisabled, ApparentProtocol::Tls);
        }
        if let Some(expected) = policy.front_domain
            && !hello
                .server_name
                .is_some_and(|name| name.eq_ignore_ascii_case(expected))
        {
            return reject_user(user, RejectReason::BadServerName, ApparentProtocol::Tls);
        }
        if let Err(offset) = policy.clock.check(verified.time) {
            return reject_user(user, RejectReason::ClockSkew(offset), ApparentProtocol::Tls);
        }
        self.stage = Stage::Answering(user);
        Progress::Answer {
            user,
            replay_key: verified.replay_key,
        }
    }

    fn inside(&mut self, input: &mut [u8], policy: &Policy<'_>) -> Progress {
        let Stage::Inside {
            user,
            header,
            len,
            records,
        } = &mut self.stage
        else {
            return reject(RejectReason::Malformed, ApparentProtocol::Tls);
        };
        let Ok(payload) = records.unwrap_in_place(input) else {
            return reject_user(*user, RejectReason::Malformed, ApparentProtocol::Tls);
        };
        for (to, from) in header
            .iter_mut()
            .skip(*len)
            .zip(input.get(payload).unwrap_or_default())
        {
            *to = *from;
            *len = len.saturating_add(1);
        }
        if *len < HEADER_LEN {
            return Progress::NeedMore;
        }
        let init = policy
            .secrets
            .get(*user)
            .and_then(|secret| ClientInit::parse(header, secret));
        match init {
            Some(init) if init.tag == Tag::Padded => {
                Progress::Ready(handshake(*user, Mode::Ee, init, Some(*records)))
            }
            _ => reject_user(*user, RejectReason::BadTag, ApparentProtocol::Tls),
        }
    }
}

impl Clock {
    /// Checks a hello's time.
    ///
    /// # Errors
    /// With the offset in seconds, when it is out of bounds.
    fn check(self, time: u32) -> Result<(), i64> {
        let Clock::Known { now, behind, ahead } = self else {
            return Ok(());
        };
        let offset = i64::from(time).saturating_sub(now.into());
        let allowed = 0_i64.saturating_sub(behind.into())..=i64::from(ahead);
        if time < MAX_UPTIME_S || allowed.contains(&offset) {
            Ok(())
        } else {
            Err(offset)
        }
    }
}

fn bare_header(header: &[u8; HEADER_LEN], policy: &Policy<'_>) -> Progress {
    let mut inits = policy.secrets.iter().enumerate();
    let found = inits.find_map(|(user, secret)| Some((user, ClientInit::parse(header, secret)?)));
    let Some((user, init)) = found else {
        return reject(RejectReason::BadSecret, ApparentProtocol::Unknown);
    };
    let mode = if init.tag == Tag::Padded {
        Mode::Dd
    } else {
        Mode::Plain
    };
    if !policy.modes.allow(mode) {
        return reject_user(user, RejectReason::ModeDisabled, ApparentProtocol::Unknown);
    }
    Progress::Ready(handshake(user, mode, init, None))
}

fn handshake(user: usize, mode: Mode, init: ClientInit, records: Option<Unwrapper>) -> Box<Handshake> {
    let ClientInit {
        tag,
        dc,
        up,
        down,
        replay_key,
    } = init;
    Box::new(Handshake {
        user,
        mode,
        tag,
        dc,
        up,
        down,
        replay_key,
        records,
    })
}

/// Whether the bytes start with an HTTP method. An obfuscated2 header never starts with the first four, and with each other one in
/// one case of 2^32.
fn looks_like_http(bytes: &[u8]) -> bool {
    [
        b"GET ", b"POST", b"HEAD", b"OPTI", b"PUT ", b"DELE", b"CONN", b"TRAC", b"PATC", b"PRI ",
    ]
    .iter()
    .any(|method| bytes.starts_with(*method))
}

fn reject(reason: RejectReason, protocol: ApparentProtocol) -> Progress {
    Progress::Rejected(Rejection {
        reason,
        protocol,
        user: None,
    })
}

fn reject_user(user: usize, reason: RejectReason, protocol: ApparentProtocol) -> Progress {
    Progress::Rejected(Rejection {
        reason,
        protocol,
        user: Some(user),
    })
}
