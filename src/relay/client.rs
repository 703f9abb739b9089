//! An authenticated client: its socket, its counters, and the limits of its user.

use crate::access;
use crate::relay::context::{Accepted, Context, User};
use crate::relay::live_sessions::SessionHandle;
use crate::stats::SessionStats;
use mtrelay_core::close::CloseReason;
use mtrelay_core::dc::DcId;
use mtrelay_core::reactor::Async;
use mtrelay_core::sys::{clock, socket};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::rc::Rc;
use wire::accept::Handshake;

/// Send buffer in bytes up to which the kernel grows a socket by itself: half of the usual 4 MiB of `net.ipv4.tcp_wmem`.
const KERNEL_MAX_SEND_BUFFER: u64 = 2 << 20;
/// Smallest send buffer in bytes that a session gets, whatever its share is.
const MIN_SEND_BUFFER: u64 = 16 << 10;

/// The client's side of a session.
pub(super) struct Client {
    /// The client's socket.
    pub socket: Async<TcpStream>,
    /// The configuration that the session began with.
    pub context: Rc<Context>,
    /// The session's counters. Dropped without an end, they count one as `error`.
    pub stats: Rc<SessionStats>,
    /// The session in the registry.
    pub handle: Rc<SessionHandle>,
}

impl Client {
    /// Registers a session and counts its begin.
    pub(super) fn begin(accepted: Accepted, handshake: &Handshake, dc: DcId, context: Rc<Context>) -> Client {
        let shared = &context.shared;
        let user = &context.users[handshake.user];
        let identity = (user.name.clone(), context.secrets[handshake.user]);
        let handle = shared.sessions.begin(Some(identity), accepted.client);
        let (dc, now) = (shared.stats.dc(dc), clock::now());
        let stats = SessionStats::begin(&shared.stats, user.stats.clone(), dc, accepted.client, now);
        Client {
            socket: accepted.socket,
            context,
            stats,
            handle,
        }
    }

    /// Checks the limits of the user and of the relay. Returns the addresses of the DC.
    ///
    /// # Errors
    /// The reason for which the session ends at once.
    pub(super) fn admit(&self, user: usize, dc: DcId) -> Result<Vec<SocketAddr>, CloseReason> {
        self.bound_send_buffer();
        let user = &self.context.users[user];
        if let Some(reason) = self.refusal(user, self.handle.client) {
            return Err(reason);
        }
        let addresses = self.context.dcs.lookup(dc);
        addresses.map(<[SocketAddr]>::to_vec).ok_or_else(|| {
            self.context.shared.log_unknown_dc(dc);
            CloseReason::UnknownDc
        })
    }

    /// The limit that this session, which is counted already, exceeds.
    fn refusal(&self, user: &User, client: IpAddr) -> Option<CloseReason> {
        let Context {
            shared,
            max_sessions,
            max_sessions_per_ip,
            ..
        } = &*self.context;
        let stats = &user.stats;
        let is_over = |end: u64| shared.clock_trusted.get() && u64::from(clock::unix_now()) >= end;
        if !user.enabled {
            return Some(CloseReason::UserDisabled);
        }
        if user.expires.is_some_and(is_over) {
            return Some(CloseReason::Expired);
        }
        if stats.is_over_quota() {
            return Some(CloseReason::Quota);
        }
        let of_this_ip = |handle: &SessionHandle| handle.client == client;
        let is_limited = shared.stats.sessions_active() > *max_sessions
            || user.max_sessions.is_some_and(|limit| stats.active() > limit)
            || max_sessions_per_ip.is_some_and(|limit| shared.sessions.count(of_this_ip) > limit)
            || user.max_ips.is_some_and(|limit| self.sources_of(user) > limit);
        is_limited.then_some(CloseReason::Limit)
    }

    /// The number of source addresses of the user's sessions.
    fn sources_of(&self, user: &User) -> usize {
        let mut sources = Vec::new();
        self.context.shared.sessions.each(|handle| {
            let source = access::source(handle.client);
            if handle.is_of(&user.name) && !sources.contains(&source) {
                sources.push(source);
            }
        });
        sources.len()
    }

    /// Bounds the client's send buffer where an equal share of `socket_memory` is less than what the kernel would grow it to. The
    /// more sessions there are, the smaller is the share of a new one.
    fn bound_send_buffer(&self) {
        let Some(memory) = self.context.socket_memory else {
            return;
        };
        let share = memory / self.context.shared.stats.sessions_active().max(1);
        // Half of it is for the DC's socket, and the kernel doubles the value that it is given (socket(7)).
        let bytes = (share / 4).max(MIN_SEND_BUFFER);
        if bytes < KERNEL_MAX_SEND_BUFFER {
            socket::bound_send_buffer(self.socket.get_ref(), bytes as u32);
        }
    }

    /// Counts bytes from the client.
    pub(super) fn moved_up(&self, len: usize) {
        self.stats.moved_up(len);
        self.end_over_quota();
    }

    /// Counts bytes to the client.
    pub(super) fn moved_down(&self, len: usize) {
        self.stats.moved_down(len);
        self.end_over_quota();
    }

    fn end_over_quota(&self) {
        if self.stats.is_over_quota() {
            self.handle.end(CloseReason::Quota);
        }
    }

    /// Counts and logs the end of the session. Only the socket remains.
    pub(super) fn end(self, reason: CloseReason) -> Async<TcpStream> {
        let Client { socket, stats, .. } = self;
        stats.end(reason, clock::now());
        socket
    }
}
