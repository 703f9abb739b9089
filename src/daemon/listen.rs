//! The listeners, and the address lists that decide about each accepted connection.

use super::relay_state::RelayState;
use crate::relay::{self, Accepted};
use mtrelay_core::close::Reject;
use mtrelay_core::reactor::{Async, Interest, Timer};
use mtrelay_core::sys::clock;
use mtrelay_core::sys::socket::{self, Tuning};
use smol::Task;
use smol::future::{self, FutureExt as _};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

/// Pause of accepting when the system has no descriptor or no memory for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// All listeners, each with the task that accepts.
#[derive(Default)]
pub(super) struct Listeners(Vec<Listener>);

struct Listener {
    /// The address in the configuration, where the port may be zero.
    configured: SocketAddr,
    bound: SocketAddr,
    socket: Rc<Async<TcpListener>>,
    task: Task<()>,
}

/// Binds one listener.
///
/// # Errors
/// As bind(2), in words for the router's owner.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    socket::listen(address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => io::Error::new(error.kind(), "the port is in use by another program"),
        ErrorKind::PermissionDenied => {
            io::Error::new(error.kind(), "ports below 1024 need root or CAP_NET_BIND_SERVICE")
        }
        _ => error,
    })
}

impl Listeners {
    /// Begins to accept on a bound listener.
    ///
    /// # Errors
    /// When the reactor cannot register it.
    pub(super) fn add(
        &mut self,
        configured: SocketAddr,
        listener: TcpListener,
        relay: &Rc<RelayState>,
    ) -> Result<(), String> {
        let watch = || {
            let bound = listener.local_addr()?;
            Ok((bound, Async::new_nonblocking(listener)?))
        };
        let (bound, listener) = watch().map_err(|error: io::Error| format!("{configured}: {error}"))?;
        log::info!("listening on {bound}");
        let socket = Rc::new(listener);
        let accepting = accept(socket.clone(), relay.clone());
        self.0.push(Listener {
            configured,
            bound,
            socket,
            task: relay.shared.executor.spawn(accepting.boxed_local()),
        });
        Ok(())
    }

    /// Sets the socket options that accepted connections inherit from their listener.
    pub(super) fn tune(&self, tuning: &Tuning) {
        for listener in &self.0 {
            if let (Err(_), Some(name)) = (
                socket::tune_accepted(listener.socket.get_ref(), tuning),
                &tuning.congestion,
            ) {
                log::warn!("congestion '{name}': the kernel does not have it; its default is used");
                return;
            }
        }
    }

    /// The addresses of `wanted` that have no listener yet.
    pub(super) fn missing(&self, wanted: &[SocketAddr]) -> Vec<SocketAddr> {
        wanted
            .iter()
            .filter(|wanted| !self.0.iter().any(|have| have.configured == **wanted))
            .copied()
            .collect()
    }

    /// Closes every listener whose address is not in `wanted`.
    pub(super) fn retain(&mut self, wanted: &[SocketAddr]) {
        self.0.retain(|have| {
            let keep = wanted.contains(&have.configured);
            if !keep {
                log::info!("no longer listening on {}", have.bound);
            }
            keep
        });
    }

    /// Closes all listeners. Once this has returned, no client can connect.
    pub(super) async fn close(self) {
        for listener in self.0 {
            listener.task.cancel().await;
        }
    }

    /// The port that links show: that of the first listener.
    pub(super) fn first_port(&self) -> Option<u16> {
        Some(self.0.first()?.bound.port())
    }
}

async fn accept(listener: Rc<Async<TcpListener>>, relay: Rc<RelayState>) {
    let mut is_paused = false;
    loop {
        match listener.try_io(Interest::Read, socket::accept).await {
            Ok((connection, peer)) => {
                is_paused = false;
                admit(connection, peer, &relay);
                // The new connection's task runs before the next connection is accepted.
                future::yield_now().await;
            }
            Err(error) if is_shortage(&error) => {
                // Unused prewarmed connections and one pending handshake give up their descriptors before accepting pauses.
                relay.shared.dialer.drop_warm();
                if relay.shared.pending.displace_one(clock::now()) {
                    future::yield_now().await;
                    continue;
                }
                if !is_paused {
                    log::warn!("accept: {error}; waiting until something is free");
                    relay.shared.stats.accept_paused();
                }
                is_paused = true;
                Timer::after(ACCEPT_PAUSE).await;
            }
            // The connection was closed before it was accepted (accept(2)). The next one may be fine.
            Err(error) => {
                log::debug!("accept: {error}");
                future::yield_now().await;
            }
        }
    }
}

fn admit(connection: TcpStream, peer: SocketAddr, relay: &Rc<RelayState>) {
    relay.was_busy.set(true);
    let context = relay.active().context.clone();
    let client = peer.ip().to_canonical();
    // A balancer's PROXY header names the client, so the lists apply to that address and not to the balancer's own.
    let is_balancer = context.access.balancers.contains(client);
    if !is_balancer && !context.access.admits(client) {
        relay.shared.stats.reject(Reject::Blocked, None);
        return log::debug!("reject: client={client} reason={}", Reject::Blocked);
    }
    let connection = match Async::new_nonblocking(connection) {
        Ok(connection) => connection,
        Err(error) => return log::warn!("cannot register a connection with the reactor: {error}"),
    };
    let source = context.limited_source(client).filter(|_| !is_balancer);
    let slot = relay
        .shared
        .pending
        .enter(source, clock::now(), &relay.shared.stats);
    let accepted = Accepted {
        socket: connection,
        client,
    };
    relay.shared.spawn(relay::serve(accepted, context, slot));
}

fn is_shortage(error: &io::Error) -> bool {
    let shortages = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS];
    error.raw_os_error().is_some_and(|code| shortages.contains(&code))
}
