//! Whether a session still lives, and the way to end it from outside.
//!
//! A timer for each session would cost memory and work for every byte. Instead one sweep a second looks at all of them:
//! each session only notes the number of the last sweep before it moved a byte.

use mtrelay_core::close::CloseReason;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use wire::secret::Secret;

/// How long the other direction lives on in silence when one has ended.
const HALF_CLOSED_IDLE_S: u32 = 60;

/// All sessions that live.
#[derive(Default)]
pub struct Pulses {
    sweeps: Cell<u32>,
    live: RefCell<Vec<Weak<Pulse>>>,
}

/// One session's.
pub struct Pulse {
    /// Where the client comes from.
    pub client: IpAddr,
    /// Who it is: the name and the key with which it came; nobody for a stranger.
    pub user: Option<(Rc<str>, Secret)>,
    pulses: Rc<Pulses>,
    last: Cell<u32>,
    half_closed: Cell<bool>,
    waits: Cell<bool>,
    stalled: Cell<bool>,
    leaving_since: Cell<Option<u32>>,
    ended: Cell<Option<CloseReason>>,
    waker: Cell<Option<Waker>>,
}

impl Pulses {
    /// A new session's pulse.
    #[must_use]
    pub fn begin(self: &Rc<Self>, user: Option<(Rc<str>, Secret)>, client: IpAddr) -> Rc<Pulse> {
        let pulse = Rc::new(Pulse {
            client,
            user,
            pulses: self.clone(),
            last: Cell::new(self.sweeps.get()),
            half_closed: Cell::new(false),
            waits: Cell::new(false),
            stalled: Cell::new(false),
            leaving_since: Cell::new(None),
            ended: Cell::new(None),
            waker: Cell::new(None),
        });
        self.live.borrow_mut().push(Rc::downgrade(&pulse));
        pulse
    }

    /// Once a second: ends the sessions that were silent for longer than `idle_timeout_s` (zero: none).
    pub fn sweep(&self, idle_timeout_s: u32) {
        let now = self.sweeps.get().wrapping_add(1);
        self.sweeps.set(now);
        self.live.borrow_mut().retain(|pulse| {
            let Some(pulse) = pulse.upgrade() else {
                return false;
            };
            let silent_s = now.wrapping_sub(pulse.last.get());
            let half_closed = pulse.half_closed.get() && silent_s > HALF_CLOSED_IDLE_S;
            pulse.look_whether_stalled(silent_s);
            if half_closed || (idle_timeout_s > 0 && silent_s > idle_timeout_s) {
                pulse.end(CloseReason::IdleTimeout);
            }
            true
        });
    }

    /// Ends every session that `which` says.
    pub fn end(&self, reason: CloseReason, which: impl Fn(&Pulse) -> bool) {
        let live: Vec<_> = self.live.borrow().iter().filter_map(Weak::upgrade).collect();
        for pulse in live.iter().filter(|pulse| which(pulse)) {
            pulse.end(reason);
        }
    }

    /// Each live session, the oldest first.
    pub fn each(&self, mut look: impl FnMut(&Pulse)) {
        let live: Vec<_> = self.live.borrow().iter().filter_map(Weak::upgrade).collect();
        live.iter().for_each(|pulse| look(pulse));
    }

    /// Ends the oldest ones, so that no more than `count` go on.
    pub fn end_oldest_beyond(&self, count: usize, reason: CloseReason) {
        let mut beyond = self.count(|pulse| !pulse.is_ended()).saturating_sub(count);
        self.each(|pulse| {
            if beyond > 0 && !pulse.is_ended() {
                pulse.end(reason);
                beyond -= 1;
            }
        });
    }

    /// How many live sessions `which` says.
    #[must_use]
    pub fn count(&self, which: impl Fn(&Pulse) -> bool) -> usize {
        self.live
            .borrow()
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|pulse| which(pulse))
            .count()
    }
}

impl Pulse {
    /// A byte was moved.
    pub fn touch(&self) {
        self.last.set(self.pulses.sweeps.get());
    }

    /// The client's socket has no room for what the DC has sent, or has it again.
    pub fn wait_for_room(&self, waits: bool) {
        self.waits.set(waits);
        if !waits {
            self.stalled.set(false);
        }
    }

    /// Whether it has had none for a second.
    pub fn is_stalled(&self) -> bool {
        self.stalled.get()
    }

    fn look_whether_stalled(&self, silent_s: u32) {
        // The second sweep without a byte: a whole second at least.
        if self.waits.get()
            && silent_s >= 2
            && !self.stalled.replace(true)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// One direction has ended; the other may be silent for a minute now.
    pub fn half_closed(&self) {
        self.half_closed.set(true);
        self.touch();
    }

    /// The session may not go on, but has so many seconds more; `None` takes that back. To be said once a second;
    /// tells whether it is still to leave.
    pub fn leave(&self, leave: Option<(CloseReason, u32)>) -> bool {
        let Some((reason, within_s)) = leave else {
            self.leaving_since.set(None);
            return false;
        };
        let now = self.pulses.sweeps.get();
        let since = self.leaving_since.get().unwrap_or(now);
        self.leaving_since.set(Some(since));
        if now.wrapping_sub(since) >= within_s {
            self.end(reason);
        }
        true
    }

    /// Whether the session was ended from outside.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Whether it is this user's.
    #[must_use]
    pub fn is_of(&self, name: &str) -> bool {
        self.user.as_ref().is_some_and(|(user, _)| &**user == name)
    }

    /// Ends the session, unless it was ended before.
    pub fn end(&self, reason: CloseReason) {
        if self.ended.get().is_none() {
            self.ended.set(Some(reason));
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits until the session is ended from outside.
    pub fn ended(&self) -> impl Future<Output = CloseReason> + '_ {
        std::future::poll_fn(|context| self.poll_ended(context))
    }

    /// Whether the session was ended from outside. If not, the task is woken when it is.
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

    fn ended(pulse: &Pulse) -> Option<CloseReason> {
        pulse.ended.get()
    }

    fn who(name: &str) -> Option<(Rc<str>, Secret)> {
        Some((name.into(), Secret::from_bytes([0; 16])))
    }

    #[test]
    fn whoever_is_to_leave_has_the_time_and_may_stay_after_all() {
        let pulses = Rc::new(Pulses::default());
        let pulse = pulses.begin(who("a"), Ipv4Addr::LOCALHOST.into());
        let leave = Some((CloseReason::UserDisabled, 3));
        for second in 0..3 {
            assert!(pulse.leave(leave) && !pulse.is_ended(), "{second}");
            pulses.sweep(0);
        }
        assert!(!pulse.leave(None));
        assert!(pulse.leave(leave) && !pulse.is_ended());
        (0..3).for_each(|_| pulses.sweep(0));
        assert!(pulse.leave(leave));
        assert_eq!(ended(&pulse), Some(CloseReason::UserDisabled));
    }

    #[test]
    fn silence_ends_a_session_and_a_byte_saves_it() {
        let pulses = Rc::new(Pulses::default());
        let silent = pulses.begin(who("a"), Ipv4Addr::LOCALHOST.into());
        let busy = pulses.begin(who("b"), Ipv4Addr::LOCALHOST.into());
        for _ in 0..601 {
            pulses.sweep(600);
            busy.touch();
        }
        assert_eq!(
            (ended(&silent), ended(&busy)),
            (Some(CloseReason::IdleTimeout), None)
        );
    }

    #[test]
    fn half_a_session_has_a_minute() {
        let pulses = Rc::new(Pulses::default());
        let pulse = pulses.begin(who("a"), Ipv4Addr::LOCALHOST.into());
        pulse.half_closed();
        for _ in 0..60 {
            pulses.sweep(0);
        }
        assert_eq!(ended(&pulse), None);
        pulses.sweep(0);
        assert_eq!(ended(&pulse), Some(CloseReason::IdleTimeout));
    }

    #[test]
    fn without_a_timeout_silence_lasts() {
        let pulses = Rc::new(Pulses::default());
        let pulse = pulses.begin(who("a"), Ipv4Addr::LOCALHOST.into());
        for _ in 0..10_000 {
            pulses.sweep(0);
        }
        assert_eq!(ended(&pulse), None);
    }

    #[test]
    fn the_first_reason_stays() {
        let pulses = Rc::new(Pulses::default());
        let pulse = pulses.begin(who("a"), Ipv4Addr::LOCALHOST.into());
        pulses.end(CloseReason::UserDisabled, |pulse| pulse.is_of("a"));
        pulses.end(CloseReason::Shutdown, |_| true);
        assert_eq!(ended(&pulse), Some(CloseReason::UserDisabled));
        assert_eq!(pulses.count(|_| true), 1);
        drop(pulse);
        assert_eq!(pulses.count(|_| true), 0);
    }
}
