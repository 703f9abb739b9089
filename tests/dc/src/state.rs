//! Everything that all connections of a cluster share: keys, sessions, waits, and what is to be sent.

use crate::counters::Counters;
use crate::crypt::{AuthKey, Sealed, key_id, seal};
use crate::exchange::Exchange;
use crate::faults::{Corruption, Faults, Flood};
use crate::rsa::RsaKey;
use crate::session::Session;
use crate::srp::Proof;
use crate::world::World;
use mtrelay_test_support::rng::Rng;
use smol::channel::Sender;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What a connection's writer is told.
#[derive(Debug)]
pub(crate) enum Out {
    /// A frame's payload, when it is due.
    Frame {
        due: Instant,
        payload: Vec<u8>,
        /// It answers a request for a part.
        is_part: bool,
    },
    /// Nothing more comes: close. With `reset`, at once and with a reset.
    End { reset: bool },
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) dc: i32,
    pub(crate) out: Sender<Out>,
    pub(crate) exchange: Exchange,
    /// Requests for parts that were answered.
    pub(crate) parts: u64,
}

/// A key that a client has with one data centre, and who uses it.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) key: Box<AuthKey>,
    pub(crate) user: Option<i64>,
    /// The code was right, and the password is still owed.
    pub(crate) half: Option<i64>,
    /// The salt that holds, and those before it that are taken for a while.
    pub(crate) salts: Vec<i64>,
    pub(crate) sessions: BTreeMap<i64, Session>,
}

/// From where a request came, and where its answer goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From {
    pub(crate) link: usize,
    pub(crate) dc: i32,
    pub(crate) key: i64,
    pub(crate) session: i64,
    pub(crate) msg_id: i64,
}

/// A wait that is being prepared.
#[derive(Debug)]
struct Gathering {
    flood: Flood,
    held: Vec<From>,
    last: Instant,
}

/// One message that goes out.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    /// It wants to be acknowledged.
    pub(crate) is_content: bool,
    /// It answers a request.
    pub(crate) is_answer: bool,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) world: World,
    pub(crate) faults: Faults,
    pub(crate) counters: Counters,
    pub(crate) addresses: BTreeMap<i32, SocketAddr>,
    pub(crate) rsa: RsaKey,
    pub(crate) rng: Rng,
    pub(crate) links: BTreeMap<usize, Link>,
    pub(crate) keys: BTreeMap<(i32, i64), Key>,
    pub(crate) codes: BTreeMap<String, String>,
    pub(crate) proofs: BTreeMap<i64, Proof>,
    pub(crate) exported: BTreeMap<Vec<u8>, (i64, i32)>,
    /// File references of earlier generations have expired.
    pub(crate) generation: u32,
    pub(crate) parts: u64,
    /// Of these, since nothing else is to make references expire: those that came with a reference in force.
    pub(crate) current_parts: u64,
    gatherings: BTreeMap<i32, Gathering>,
    waits: BTreeMap<i32, Instant>,
    last_msg_id: i64,
}

impl State {
    pub(crate) fn new(world: World, addresses: BTreeMap<i32, SocketAddr>, seed: u64) -> State {
        State {
            world,
            faults: Faults::default(),
            counters: Counters::default(),
            addresses,
            rsa: RsaKey::new(),
            rng: Rng::new(seed),
            links: BTreeMap::new(),
            keys: BTreeMap::new(),
            codes: BTreeMap::new(),
            proofs: BTreeMap::new(),
            exported: BTreeMap::new(),
            generation: 1,
            parts: 0,
            current_parts: 0,
            gatherings: BTreeMap::new(),
            waits: BTreeMap::new(),
            last_msg_id: 0,
        }
    }

    pub(crate) fn violation(&mut self, link: usize, what: impl std::fmt::Display) {
        let dc = self.links.get(&link).map_or(0, |link| link.dc);
        self.counters
            .violations
            .push(format!("connection {link} to DC {dc}: {what}"));
    }

    /// The servers' clock.
    pub(crate) fn unix_time(&self) -> Duration {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("the clock stands after 1970");
        let ahead = self.faults.clock_ahead;
        let shift = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 {
            now.saturating_sub(shift)
        } else {
            now + shift
        }
    }

    pub(crate) fn unix_seconds(&self) -> i32 {
        self.unix_time().as_secs() as i32
    }

    /// A new number for a message of ours.
    pub(crate) fn msg_id(&mut self, is_answer: bool) -> i64 {
        let now = self.unix_time();
        let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
        let id = (((now.as_secs() << 32) | fraction) & !3) as i64;
        let id = id.max((self.last_msg_id & !3) + 4) | if is_answer { 1 } else { 3 };
        self.last_msg_id = id;
        id
    }

    /// A new link's number.
    pub(crate) fn open_link(&mut self, dc: i32, out: Sender<Out>) -> usize {
        let number = self.counters.connections;
        self.counters.connections += 1;
        let open = self.counters.open.entry(dc).or_default();
        *open += 1;
        let peak = self.counters.peak.entry(dc).or_default();
        *peak = (*peak).max(*open);
        let exchange = Exchange::new(&mut self.rng);
        let link = Link {
            dc,
            out,
            exchange,
            parts: 0,
        };
        self.links.insert(number, link);
        number
    }

    pub(crate) fn close_link(&mut self, number: usize) {
        if let Some(link) = self.links.remove(&number)
            && let Some(open) = self.counters.open.get_mut(&link.dc)
        {
            *open -= 1;
        }
    }

    /// Sends a frame as it is, once the round trip is over.
    pub(crate) fn send(&mut self, link: usize, payload: Vec<u8>, is_part: bool) {
        let due = Instant::now() + self.faults.latency;
        if let Some(link) = self.links.get(&link) {
            // It fails if the connection has just gone.
            let _ = link.out.try_send(Out::Frame {
                due,
                payload,
                is_part,
            });
        }
    }

    pub(crate) fn end(&mut self, link: usize, reset: bool) {
        if let Some(link) = self.links.get(&link) {
            let _ = link.out.try_send(Out::End { reset });
        }
    }

    pub(crate) fn transport_error(&mut self, link: usize, code: i32) {
        self.send(link, code.to_le_bytes().to_vec(), false);
        self.end(link, false);
    }

    /// Seals and sends what goes to one session; several things go in a container.
    pub(crate) fn send_bodies(
        &mut self,
        to: &From,
        bodies: Vec<Body>,
        is_part: bool,
        damage: Option<Corruption>,
    ) {
        let mut messages = Vec::new();
        for body in bodies {
            let msg_id = self.msg_id(body.is_answer);
            let seqno = self
                .session(to)
                .map_or(0, |session| session.next_seqno(body.is_content));
            if body.is_content {
                self.counters.unacknowledged += 1;
                if let Some(session) = self.session(to) {
                    session.unacknowledged.insert(msg_id);
                }
            }
            messages.push((msg_id, seqno, body.bytes));
        }
        let (msg_id, seqno, bytes) = match messages.len() {
            0 => return,
            1 => messages.swap_remove(0),
            _ => {
                let seqno = self.session(to).map_or(0, |session| session.next_seqno(false));
                (self.msg_id(false), seqno, container(&messages))
            }
        };
        let Some(key) = self.keys.get(&(to.dc, to.key)) else {
            return;
        };
        let message = Sealed {
            salt: key.salts[0],
            session: to.session ^ i64::from(damage == Some(Corruption::Session)),
            msg_id,
            seqno,
            body: bytes,
        };
        let len = (damage == Some(Corruption::Length)).then_some(0x00ff_fff0);
        let mut sealed = seal(&key.key, &message, len, &mut self.rng);
        let middle = sealed.len() / 2;
        match damage {
            Some(Corruption::Bit) => sealed[middle] ^= 4,
            Some(Corruption::Truncated) => sealed.truncate(sealed.len() - 16),
            Some(Corruption::Key) => sealed[2] ^= 1,
            _ => {}
        }
        self.send(to.link, sealed, is_part);
    }

    pub(crate) fn session(&mut self, of: &From) -> Option<&mut Session> {
        self.keys.get_mut(&(of.dc, of.key))?.sessions.get_mut(&of.session)
    }

    /// A key that the exchange made.
    pub(crate) fn add_key(&mut self, dc: i32, key: Box<AuthKey>, salt: i64) {
        let id = key_id(&key);
        self.counters.keys += 1;
        let key = Key {
            key,
            user: None,
            half: None,
            salts: vec![salt],
            sessions: BTreeMap::new(),
        };
        self.keys.insert((dc, id), key);
    }

    /// Other salts from now on, and the ones before are no longer taken.
    pub(crate) fn change_salts(&mut self) {
        for key in self.keys.values_mut() {
            key.salts = vec![self.rng.next_u64() as i64];
        }
    }

    /// Whether a wait holds at a data centre, and how many seconds of it are left.
    pub(crate) fn wait_left(&self, dc: i32) -> Option<u32> {
        let until = self.waits.get(&dc)?;
        let left = until.checked_duration_since(Instant::now())?;
        (!left.is_zero()).then(|| left.as_secs_f64().ceil() as u32)
    }

    /// A request for a part: is it kept for a wait that is about to begin?
    pub(crate) fn gathers(&mut self, from: &From) -> bool {
        let flood = self.faults.floods.iter_mut().position(|flood| {
            let here = flood.dc == from.dc;
            let due = here && flood.after == 0;
            if here {
                flood.after = flood.after.saturating_sub(1);
            }
            due
        });
        if let Some(at) = flood
            && !self.gatherings.contains_key(&from.dc)
        {
            let flood = self.faults.floods.remove(at);
            let gathering = Gathering {
                flood,
                held: Vec::new(),
                last: Instant::now(),
            };
            self.gatherings.insert(from.dc, gathering);
        }
        let Some(gathering) = self.gatherings.get_mut(&from.dc) else {
            return false;
        };
        gathering.held.push(*from);
        gathering.last = Instant::now();
        true
    }

    /// Begins the waits whose data centres have become quiet.
    pub(crate) fn tick(&mut self) {
        let now = Instant::now();
        let is_quiet =
            |gathering: &Gathering| now.saturating_duration_since(gathering.last) >= gathering.flood.quiet;
        let quiet: Vec<i32> = self
            .gatherings
            .iter()
            .filter_map(|(dc, gathering)| is_quiet(gathering).then_some(*dc))
            .collect();
        for dc in quiet {
            let Some(Gathering { flood, held, .. }) = self.gatherings.remove(&dc) else {
                continue;
            };
            let wait = Duration::from_secs(flood.seconds.into());
            self.waits.insert(dc, Instant::now() + self.faults.latency + wait);
            self.counters.waits += 1;
            let name = if flood.premium {
                "FLOOD_PREMIUM_WAIT"
            } else {
                "FLOOD_WAIT"
            };
            for from in held {
                self.answer_error(&from, 420, &format!("{name}_{}", flood.seconds), true);
            }
        }
    }
}

/// Messages one after another, each with its header.
fn container(messages: &[(i64, i32, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = 0x73f1_f8dc_u32.to_le_bytes().to_vec();
    bytes.extend((messages.len() as u32).to_le_bytes());
    for (msg_id, seqno, body) in messages {
        bytes.extend(msg_id.to_le_bytes());
        bytes.extend(seqno.to_le_bytes());
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(body);
    }
    bytes
}
