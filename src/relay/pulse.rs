//! Whether a session still lives, and the way to end it from outside.
//!
//! A timer for each session would cost memory and work for every byte. Instead one sweep a second looks at all of them:
//! each session only notes the number of the last sweep before it moved a byte.

use crate::close::CloseReason;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

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
    /// Who it is.
    pub user: Rc<str>,
    pulses: Rc<Pulses>,
    last: Cell<u32>,
    half_closed: Cell<bool>,
    ended: Cell<Option<CloseReason>>,
    waker: Cell<Option<Waker>>,
}

impl Pulses {
    /// A new session's pulse.
    #[must_use]
    pub fn begin(self: &Rc<Self>, user: Rc<str>, client: IpAddr) -> Rc<Pulse> {
        let pulse = Rc::new(Pulse {
            client,
            user,
            pulses: self.clone(),
            last: Cell::new(self.sweeps.get()),
            half_closed: Cell::new(false),
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

    /// One direction has ended; the other may be silent for a minute now.
    pub fn half_closed(&self) {
        self.half_closed.set(true);
        self.touch();
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
        std::future::poll_fn(|context| match self.ended.get() {
            Some(reason) => Poll::Ready(reason),
            None => {
                self.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn ended(pulse: &Pulse) -> Option<CloseReason> {
        pulse.ended.get()
    }

    #[test]
    fn silence_ends_a_session_and_a_byte_saves_it() {
        let pulses = Rc::new(Pulses::default());
        let silent = pulses.begin("a".into(), Ipv4Addr::LOCALHOST.into());
        let busy = pulses.begin("b".into(), Ipv4Addr::LOCALHOST.into());
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
        let pulse = pulses.begin("a".into(), Ipv4Addr::LOCALHOST.into());
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
        let pulse = pulses.begin("a".into(), Ipv4Addr::LOCALHOST.into());
        for _ in 0..10_000 {
            pulses.sweep(0);
        }
        assert_eq!(ended(&pulse), None);
    }

    #[test]
    fn the_first_reason_stays() {
        let pulses = Rc::new(Pulses::default());
        let pulse = pulses.begin("a".into(), Ipv4Addr::LOCALHOST.into());
        pulses.end(CloseReason::UserDisabled, |pulse| &*pulse.user == "a");
        pulses.end(CloseReason::Shutdown, |_| true);
        assert_eq!(ended(&pulse), Some(CloseReason::UserDisabled));
        assert_eq!(pulses.count(|_| true), 1);
        drop(pulse);
        assert_eq!(pulses.count(|_| true), 0);
    }
}
