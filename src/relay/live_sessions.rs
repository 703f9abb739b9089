//! The registry of live sessions: idle times, and ending a session from outside.
//!
//! A timer for each session would cost memory, and work for every byte. Instead one sweep a second visits all of them; a session only
//! notes the number of the last sweep before it moved a byte.

use mtrelay_core::close::CloseReason;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use wire::secret::Secret;

/// Seconds of silence after which a session with one ended direction ends.
const HALF_CLOSED_IDLE_S: u32 = 60;

/// All live sessions, or all live front connections.
#[derive(Default)]
pub struct SessionRegistry {
    sweeps: Cell<u32>,
    live: RefCell<Vec<Weak<SessionHandle>>>,
}

/// One session in the registry. The session holds it; the registry only refers to it.
pub struct SessionHandle {
    /// The client's address.
    pub client: IpAddr,
    /// The user's name and the secret of the handshake; `None` for a front connection.
    pub user: Option<(Rc<str>, Secret)>,
    registry: Rc<SessionRegistry>,
    last: Cell<u32>,
    half_closed: Cell<bool>,
    waits_for_room: Cell<bool>,
    stalled: Cell<bool>,
    exceeds_since: Cell<Option<u32>>,
    ended: Cell<Option<CloseReason>>,
    waker: Cell<Option<Waker>>,
}

impl SessionRegistry {
    /// Registers a session.
    #[must_use]
    pub fn begin(self: &Rc<Self>, user: Option<(Rc<str>, Secret)>, client: IpAddr) -> Rc<SessionHandle> {
        let handle = Rc::new(SessionHandle {
            client,
            user,
            registry: self.clone(),
            last: Cell::new(self.sweeps.get()),
            half_closed: Cell::new(false),
            waits_for_room: Cell::new(false),
            stalled: Cell::new(false),
            exceeds_since: Cell::new(None),
            ended: Cell::new(None),
            waker: Cell::new(None),
        });
        self.live.borrow_mut().push(Rc::downgrade(&handle));
        handle
    }

    /// The work of each second: ends the sessions that were silent for longer than `idle_timeout_s` (zero: no limit).
    pub fn sweep(&self, idle_timeout_s: u32) {
        let now = self.sweeps.get().wrapping_add(1);
        self.sweeps.set(now);
        self.live.borrow_mut().retain(|handle| {
            let Some(handle) = handle.upgrade() else {
                return false;
            };
            let silent_s = now.wrapping_sub(handle.last.get());
            let half_closed = handle.half_closed.get() && silent_s > HALF_CLOSED_IDLE_S;
            handle.update_stalled(silent_s);
            if half_closed || (idle_timeout_s > 0 && silent_s > idle_timeout_s) {
                handle.end(CloseReason::IdleTimeout);
            }
            true
        });
    }

    /// Ends every session for which `which` holds.
    pub fn end(&self, reason: CloseReason, which: impl Fn(&SessionHandle) -> bool) {
        let live: Vec<_> = self.live.borrow().iter().filter_map(Weak::upgrade).collect();
        for handle in live.iter().filter(|handle| which(handle)) {
            handle.end(reason);
        }
    }

    /// Calls `look` with each live session, the oldest first.
    pub fn each(&self, mut look: impl FnMut(&SessionHandle)) {
        let live: Vec<_> = self.live.borrow().iter().filter_map(Weak::upgrade).collect();
        live.iter().for_each(|handle| look(handle));
    }

    /// Ends the oldest sessions, so that at most `count` remain.
    pub fn end_oldest_beyond(&self, count: usize, reason: CloseReason) {
        let mut beyond = self.count(|handle| !handle.is_ended()).saturating_sub(count);
        self.each(|handle| {
            if beyond > 0 && !handle.is_ended() {
                handle.end(reason);
                beyond -= 1;
            }
        });
    }

    /// The number of live sessions for which `which` holds.
    #[must_use]
    pub fn count(&self, which: impl Fn(&SessionHandle) -> bool) -> usize {
        self.live
            .borrow()
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|handle| which(handle))
            .count()
    }
}

impl SessionHandle {
    /// Notes that a byte was moved.
    pub fn touch(&self) {
        self.last.set(self.registry.sweeps.get());
    }

    /// Notes whether the client's socket lacks room for bytes that the DC has sent.
    pub fn wait_for_room(&self, waits: bool) {
        self.waits_for_room.set(waits);
        if !waits {
            self.stalled.set(false);
        }
    }

    /// Whether the client's socket has had no room for at least a second.
    pub fn is_stalled(&self) -> bool {
        self.stalled.get()
    }

    fn update_stalled(&self, silent_s: u32) {
        // At the second sweep without a byte at least one whole second has passed.
        if self.waits_for_room.get()
            && silent_s >= 2
            && !self.stalled.replace(true)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// Notes that one direction has ended: from now on a minute of silence ends the session.
    pub fn half_closed(&self) {
        self.half_closed.set(true);
        self.touch();
    }

    /// Gives the session a reason to end, and the seconds that it may still take; `None` revokes it. Call it once a second. Returns
    /// whether the session still has to end.
    pub fn end_within(&self, limit: Option<(CloseReason, u32)>) -> bool {
        let Some((reason, within_s)) = limit else {
            self.exceeds_since.set(None);
            return false;
        };
        let now = self.registry.sweeps.get();
        let since = self.exceeds_since.get().unwrap_or(now);
        self.exceeds_since.set(Some(since));
        if now.wrapping_sub(since) >= within_s {
            self.end(reason);
        }
        true
    }

    /// Whether [`SessionHandle::end`] was called.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Whether it is a session of user `name`.
    #[must_use]
    pub fn is_of(&self, name: &str) -> bool {
        self.user.as_ref().is_some_and(|(user, _)| &**user == name)
    }

    /// Ends the session; the first reason stays.
    pub fn end(&self, reason: CloseReason) {
        if self.ended.get().is_none() {
            self.ended.set(Some(reason));
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits until [`SessionHandle::end`] is called.
    pub fn ended(&self) -> impl Future<Output = CloseReason> + '_ {
        std::future::poll_fn(|context| self.poll_ended(context))
    }

    /// Whether [`SessionHandle::end`] was called. If not, the task is woken when it is.
    pub fn poll_ended(&self, context: &mut Context<'_>) -> Poll<CloseReason> {
        if let Some(reason) = self.ended.get() {
            return Poll::Ready(reason);
        }
        let waker = self.waker.take();
        let known = waker.filter(|waker| waker.will_wake(context.waker()));
        self.waker.set(known.or_else(|| Some(context.waker().clone())));
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn ended(handle: &SessionHandle) -> Option<CloseReason> {
        handle.ended.get()
    }

    fn who(name: &str) -> Option<(Rc<str>, Secret)> {
        Some((name.into(), Secret::from_bytes([0; 16])))
    }

    #[test]
    fn session_over_its_limit_has_its_time_and_stays_when_the_limit_is_raised() {
        let registry = Rc::new(SessionRegistry::default());
        let handle = registry.begin(who("a"), Ipv4Addr::LOCALHOST.into());
        let limit = Some((CloseReason::UserDisabled, 3));
        for second in 0..3 {
            assert!(handle.end_within(limit) && !handle.is_ended(), "{second}");
            registry.sweep(0);
        }
        assert!(!handle.end_within(None));
        assert!(handle.end_within(limit) && !handle.is_ended());
        (0..3).for_each(|_| registry.sweep(0));
        assert!(handle.end_within(limit));
        assert_eq!(ended(&handle), Some(CloseReason::UserDisabled));
    }

    #[test]
    fn silence_ends_a_session_and_a_byte_saves_it() {
        let registry = Rc::new(SessionRegistry::default());
        let silent = registry.begin(who("a"), Ipv4Addr::LOCALHOST.into());
        let busy = registry.begin(who("b"), Ipv4Addr::LOCALHOST.into());
        for _ in 0..601 {
            registry.sweep(600);
            busy.touch();
        }
        assert_eq!(
            (ended(&silent), ended(&busy)),
            (Some(CloseReason::IdleTimeout), None)
        );
    }

    #[test]
    fn half_closed_session_ends_after_a_silent_minute() {
        let registry = Rc::new(SessionRegistry::default());
        let handle = registry.begin(who("a"), Ipv4Addr::LOCALHOST.into());
        handle.half_closed();
        for _ in 0..60 {
            registry.sweep(0);
        }
        assert_eq!(ended(&handle), None);
        registry.sweep(0);
        assert_eq!(ended(&handle), Some(CloseReason::IdleTimeout));
    }

    #[test]
    fn without_a_timeout_silence_ends_nothing() {
        let registry = Rc::new(SessionRegistry::default());
        let handle = registry.begin(who("a"), Ipv4Addr::LOCALHOST.into());
        for _ in 0..10_000 {
            registry.sweep(0);
        }
        assert_eq!(ended(&handle), None);
    }

    #[test]
    fn the_first_reason_stays() {
        let registry = Rc::new(SessionRegistry::default());
        let handle = registry.begin(who("a"), Ipv4Addr::LOCALHOST.into());
        registry.end(CloseReason::UserDisabled, |handle| handle.is_of("a"));
        registry.end(CloseReason::Shutdown, |_| true);
        assert_eq!(ended(&handle), Some(CloseReason::UserDisabled));
        assert_eq!(registry.count(|_| true), 1);
        drop(handle);
        assert_eq!(registry.count(|_| true), 0);
    }
}
