//! Strangers: connections whose bytes go to the fronted site and back, untouched from the first one.

use crate::dial::attempts::Rounds;
use crate::dial::{Connected, Dialer};
use crate::relay::half::{Half, HalfEnd, Treatment};
use crate::relay::settle::{Farewell, settle};
use crate::relay::{Shared, Taken};
use smol::future::{self, FutureExt as _};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a name's addresses are believed.
const NAME_LIFETIME: Duration = Duration::from_secs(300);
/// How long a name that did not resolve is not asked for again.
const NO_NAME_LIFETIME: Duration = Duration::from_secs(10);
/// Strangers at a time; more are let go.
const MAX_STRANGERS: usize = 64;

/// The site that strangers see.
pub struct Front {
    /// Host and port.
    pub address: String,
    /// Connects to it.
    pub dialer: Rc<Dialer>,
    resolved: RefCell<Vec<SocketAddr>>,
    resolved_until: Cell<Option<Instant>>,
}

impl Front {
    /// The site at `address`, a host and a port.
    #[must_use]
    pub fn new(address: String, dialer: Rc<Dialer>) -> Front {
        Front {
            address,
            dialer,
            resolved: RefCell::default(),
            resolved_until: Cell::new(None),
        }
    }

    /// Shows the site to a stranger who has sent `bytes` so far.
    pub async fn show(self: Rc<Self>, taken: Taken, bytes: Vec<u8>, shared: Rc<Shared>) {
        let Taken {
            connection: client,
            client: address,
        } = taken;
        let pulse = shared.fronted.begin(None, address);
        if shared.fronted.count(|_| true) > MAX_STRANGERS {
            return;
        }
        let addresses = self.addresses(crate::sys::clock::now()).await;
        let mut rounds = Rounds::default();
        let connected = self
            .dialer
            .connect(None, &addresses, &mut rounds, &mut |_, _| {})
            .await;
        let Ok(Connected { connection: site, .. }) = connected else {
            log::warn!("front: {} does not answer", self.address);
            return settle(client, Farewell::Finish).await;
        };
        let fronted = shared.stats.fronted();
        let moved = |len| shared.stats.fronted_moved(len);
        let half = |from, to| Half {
            from,
            to,
            treatment: Treatment::default(),
            pool: &shared.pool,
            pulse: &pulse,
            moved: &moved,
        };
        let up = async {
            match half(&client, &site).run(&bytes).await {
                HalfEnd::Finished | HalfEnd::WriteFailed(_) => Ok(()),
                HalfEnd::ReadFailed(_) | HalfEnd::BadRecord => Err(()),
            }
        };
        let reset = Cell::new(false);
        let down = async {
            match half(&site, &client).run(&[]).await {
                // Sites close at once after an alert; what a stranger sends then is not for us to wait for.
                HalfEnd::Finished => Ok(()),
                HalfEnd::ReadFailed(_) => {
                    reset.set(true);
                    Err(())
                }
                HalfEnd::WriteFailed(_) | HalfEnd::BadRecord => Err(()),
            }
        };
        let both = async {
            let _ = future::try_zip(up, down).await;
        };
        let ended = async {
            pulse.ended().await;
        };
        both.or(ended).await;
        drop((site, fronted));
        settle(
            client,
            if reset.get() {
                Farewell::Reset
            } else {
                Farewell::Finish
            },
        )
        .await;
    }

    async fn addresses(&self, now: Instant) -> Vec<SocketAddr> {
        if self.resolved_until.get().is_some_and(|until| now < until) {
            return self.resolved.borrow().clone();
        }
        // Until the answer is here, the others use what was known before.
        self.resolved_until.set(now.checked_add(NO_NAME_LIFETIME));
        let answer: io::Result<Vec<SocketAddr>> = smol::net::resolve(self.address.as_str()).await;
        match answer {
            Ok(addresses) if !addresses.is_empty() => {
                self.resolved_until.set(now.checked_add(NAME_LIFETIME));
                *self.resolved.borrow_mut() = addresses;
            }
            Ok(_) => log::warn!("front: {} has no address", self.address),
            Err(error) => log::warn!("front: {} does not resolve ({error})", self.address),
        }
        self.resolved.borrow().clone()
    }
}
