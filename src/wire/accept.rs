//! From a connection's first bytes to a user, a mode and a DC.
//!
//! The order of calls: read at most [`Acceptor::wanted`] bytes, give them to [`Acceptor::handle_input`], do what the
//! [`Progress`] says, again. No byte behind the opening is ever asked for, so the relay starts exactly where it ends. After
//! [`Progress::Answer`] send [`Acceptor::answer`] and go on.
//!
//! A TLS hello is told by its first bytes; everything else is tried as an obfuscated2 header with each user's secret.

use crate::cipher::{Stream, StreamKey};
use crate::faketls::client_hello::{self, ClientHello, Start};
use crate::faketls::record::Unwrapper;
use crate::faketls::server_hello;
use crate::obfuscated2::{ClientInit, HEADER_LEN, ReplayKey, Tag};
use crate::secret::Secret;
use crate::{Mode, Modes};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Times below this are a client's uptime, not a date: some clients have no better clock.
const MAX_UPTIME_S: u32 = 1000 * 24 * 3600;

/// What the acceptor needs to know of the relay.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// The users' secrets; a user is known by the place in this list.
    pub secrets: &'a [Secret],
    /// What is allowed.
    pub modes: Modes,
    /// The server name that a hello must carry; `None` takes any, and none.
    pub front_domain: Option<&'a str>,
    /// How a hello's time is judged.
    pub clock: Clock,
    /// Nobody but TLS clients is expected: whatever starts otherwise is told at once, not when a header could be whole.
    pub only_tls: bool,
}

/// How a hello's time is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Our own clock cannot be trusted: any time will do.
    Unknown,
    /// The time now, and how far a hello's may be off.
    Known {
        /// Unix seconds.
        now: u32,
        /// Seconds that a hello may be behind.
        behind: u32,
        /// Seconds that a hello may be ahead.
        ahead: u32,
    },
}

/// What is to be done next.
#[derive(Debug)]
pub enum Progress {
    /// Read on.
    NeedMore,
    /// One of our users said hello. Unless the key is a replay, send the answer and read on.
    Answer {
        /// The user's place in [`Policy::secrets`].
        user: usize,
        /// The hello's mark, for the replay window.
        replay_key: ReplayKey,
    },
    /// The opening is complete.
    Ready(Box<Handshake>),
    /// It ends here.
    Rejected(Rejection),
}

/// A complete opening.
#[derive(Debug)]
pub struct Handshake {
    /// The user's place in [`Policy::secrets`].
    pub user: usize,
    /// How the client came.
    pub mode: Mode,
    /// The transport, which the DC is told too.
    pub tag: Tag,
    /// The DC's id as the client gave it.
    pub dc: i16,
    /// Decrypts what comes next.
    pub up: Stream,
    /// What the client expects to be encrypted towards it.
    pub down: StreamKey,
    /// The header's mark, for the replay window.
    pub replay_key: ReplayKey,
    /// With fake TLS: where the stream of records stands.
    pub records: Option<Unwrapper>,
}

/// Why an opening ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The reason.
    pub reason: RejectReason,
    /// What it came as: TLS and HTTP are for the fronted site to answer.
    pub protocol: ApparentProtocol,
    /// Whose secret fitted all the same.
    pub user: Option<usize>,
}

/// The reason of a rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// No user's secret fits.
    BadSecret,
    /// A user's, but not with the transport that fake TLS demands.
    BadTag,
    /// A user's, but its time is off by so many seconds (positive: ahead of ours).
    ClockSkew(i64),
    /// No client of ours sends that.
    Malformed,
    /// A user's, in a mode that is switched off.
    ModeDisabled,
    /// A user's, with another server name.
    BadServerName,
}

/// What an opening looks like to an onlooker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApparentProtocol {
    /// A TLS ClientHello.
    Tls,
    /// An HTTP request.
    Http,
    /// Noise.
    Unknown,
}

/// Reads one connection's opening.
#[derive(Debug, Default)]
pub struct Acceptor {
    /// Everything so far, until the hello is answered: a stranger's bytes go on to the fronted site.
    bytes: Vec<u8>,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    /// The first bytes: a header, or the start of a hello.
    #[default]
    First,
    /// A hello of that many bytes.
    Hello(usize),
    /// The hello is a user's; its answer is to be sent.
    Answering(usize),
    /// A header inside TLS records.
    Inside {
        user: usize,
        header: [u8; HEADER_LEN],
        len: usize,
        records: Unwrapper,
    },
    Done,
}

impl Acceptor {
    /// At the first byte.
    #[must_use]
    pub fn new() -> Acceptor {
        Acceptor::default()
    }

    /// How many bytes may be read now. Never zero until the opening has ended.
    #[must_use]
    pub fn wanted(&self) -> usize {
        match &self.stage {
            Stage::First => HEADER_LEN.saturating_sub(self.bytes.len()),
            Stage::Hello(total) => total.saturating_sub(self.bytes.len()),
            Stage::Inside { len, records, .. } => records.wanted(HEADER_LEN.saturating_sub(*len)),
            Stage::Answering(_) | Stage::Done => 0,
        }
    }

    /// Everything that the client sent, as long as it has not been answered.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Whether it began as TLS clients do; what is left of it then is no header of ours.
    #[must_use]
    pub fn begins_as_tls(&self) -> bool {
        matches!(client_hello::recognise(&self.bytes), Start::Tls { .. })
    }

    /// Whether the client was answered.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        matches!(self.stage, Stage::Inside { .. })
    }

    /// How much memory the opening holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// Takes what was read; at most [`Acceptor::wanted`] bytes.
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

    /// The answer to the hello, once [`Progress::Answer`] was given; the bytes held so far are let go.
    ///
    /// `flight_len` is the length of the encrypted record in it, `share` a key share of X25519 that nobody has had, `fill` the
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
                // A header in one piece may still be told by its user.
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
        // Every secret is tried, so that the time taken does not tell which one fitted.
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
        if let Err(offset) = policy.clock.judge(verified.time) {
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
    /// # Errors
    /// With the offset in seconds when the time is too far off.
    fn judge(self, time: u32) -> Result<(), i64> {
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

/// The four methods that no obfuscated2 header may start with, and others that hardly one of 2^32 does.
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
