//! The listeners, and the admission of what they accept.

use crate::daemon::Daemon;
use crate::relay::{self, Taken};
use mtrelay_core::close::Reject;
use mtrelay_core::reactor::{Async, Timer};
use mtrelay_core::sys::clock;
use mtrelay_core::sys::socket::{self, Tuning};
use smol::Task;
use smol::future::{self, FutureExt as _};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

/// How long accepting rests when the system has no descriptor or no memory for another connection.
const REST: Duration = Duration::from_millis(100);

/// All of them, each with the task that accepts.
#[derive(Default)]
pub(super) struct Listeners(Vec<Listener>);

struct Listener {
    /// As the configuration has it, where the port may be zero.
    configured: SocketAddr,
    bound: SocketAddr,
    socket: Rc<Async<TcpListener>>,
    task: Task<()>,
}

/// Binds one of them.
///
/// # Errors
/// As bind(2), with what it means for the owner.
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
    /// Begins to accept.
    ///
    /// # Errors
    /// When the listener cannot be watched.
    pub(super) fn add(
        &mut self,
        configured: SocketAddr,
        listener: TcpListener,
        daemon: &Rc<Daemon>,
    ) -> Result<(), String> {
        let watch = || {
            let bound = listener.local_addr()?;
            Ok((bound, Async::new_nonblocking(listener)?))
        };
        let (bound, listener) = watch().map_err(|error: io::Error| format!("{configured}: {error}"))?;
        log::info!("listening on {bound}");
        let socket = Rc::new(listener);
        let accepting = accept(socket.clone(), daemon.clone());
        self.0.push(Listener {
            configured,
            bound,
            socket,
            task: daemon.shared.executor.spawn(accepting.boxed_local()),
        });
        Ok(())
    }

    /// Prepares what they accept from now on.
    pub(super) fn tune(&self, tuning: &Tuning) {
        for listener in &self.0 {
            if let (Err(_), Some(name)) = (
                socket::tune_accepted(listener.socket.get_ref(), tuning),
                &tuning.congestion,
            ) {
                log::warn!("congestion '{name}': this kernel does not have it; the system's own is used");
                return;
            }
        }
    }

    /// Those of `wanted` that there are not.
    pub(super) fn missing(&self, wanted: &[SocketAddr]) -> Vec<SocketAddr> {
        wanted
            .iter()
            .filter(|wanted| !self.0.iter().any(|have| have.configured == **wanted))
            .copied()
            .collect()
    }

    /// Closes all but `wanted`.
    pub(super) fn retain(&mut self, wanted: &[SocketAddr]) {
        self.0.retain(|have| {
            let keep = wanted.contains(&have.configured);
            if !keep {
                log::info!("no longer listening on {}", have.bound);
            }
            keep
        });
    }

    /// Closes all. When this returns, nobody can connect any more.
    pub(super) async fn close(self) {
        for listener in self.0 {
            listener.task.cancel().await;
        }
    }

    /// The port for links.
    pub(super) fn first_port(&self) -> Option<u16> {
        Some(self.0.first()?.bound.port())
    }
}

async fn accept(listener: Rc<Async<TcpListener>>, daemon: Rc<Daemon>) {
    let mut resting = false;
    loop {
        match listener.read_with(socket::accept).await {
            Ok((connection, peer)) => {
                resting = false;
                admit(connection, peer, &daemon);
                // Let the newcomer speak before the next one comes.
                future::yield_now().await;
            }
            Err(error) if is_shortage(&error) => {
                // What serves nobody makes room first, and the newcomer does not wait.
                daemon.shared.dialer.drop_warm();
                if daemon.shared.openings.give_up_one(clock::now()) {
                    future::yield_now().await;
                    continue;
                }
                if !resting {
                    log::warn!("accept: {error}; waiting until something is free");
                    daemon.shared.stats.accept_paused();
                }
                resting = true;
                Timer::after(REST).await;
            }
            // The connection was gone before we took it (accept(2)); the next one may be fine.
            Err(error) => {
                log::debug!("accept: {error}");
                future::yield_now().await;
            }
        }
    }
}

fn admit(connection: TcpStream, peer: SocketAddr, daemon: &Rc<Daemon>) {
    daemon.was_busy.set(true);
    let context = daemon.current.borrow().context.clone();
    let client = peer.ip().to_canonical();
    // A balancer's own address is not what the lists are about: its header tells.
    let is_balancer = context.access.balancers.contains(client);
    if !is_balancer && !context.access.admits(client) {
        daemon.shared.stats.reject(Reject::Blocked, None);
        return log::debug!("reject: client={client} reason={}", Reject::Blocked);
    }
    let connection = match Async::new_nonblocking(connection) {
        Ok(connection) => connection,
        Err(error) => return log::warn!("cannot watch a connection: {error}"),
    };
    let source = context.limited_source(client).filter(|_| !is_balancer);
    let openings = &daemon.shared.openings;
    let ticket = openings.enter(source, clock::now(), &daemon.shared.stats);
    let taken = Taken { connection, client };
    daemon.shared.spawn(relay::serve(taken, context, ticket));
}

fn is_shortage(error: &io::Error) -> bool {
    let shortages = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS];
    error.raw_os_error().is_some_and(|code| shortages.contains(&code))
}
