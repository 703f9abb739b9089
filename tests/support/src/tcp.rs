//! Sockets that std does not make, ports that refuse or never answer, and (in [`link`]) links that are slow, cut or dead.

pub mod link;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

pub use link::{Fault, Link};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

fn socket(addr: SocketAddr, flags: SocketFlags) -> io::Result<std::os::fd::OwnedFd> {
    let family = if addr.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = flags | SocketFlags::CLOEXEC;
    Ok(net::socket_with(
        family,
        SocketType::STREAM,
        flags,
        Some(ipproto::TCP),
    )?)
}

/// A socket that holds its port and does not listen yet.
pub(crate) fn bound(addr: SocketAddr) -> io::Result<TcpListener> {
    let first = bind(addr)?;
    if addr.port() != 0 {
        return Ok(first);
    }
    // Linux keeps only a port that was asked for by its number when a listener stops. The first socket holds it meanwhile.
    bind(first.local_addr()?)
}

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(addr, SocketFlags::empty())?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &addr)?;
    Ok(socket.into())
}

/// Starts to listen, or starts again.
pub(crate) fn listen(socket: &TcpListener) -> io::Result<()> {
    Ok(net::listen(socket, BACKLOG)?)
}

/// Stops to listen and keeps the port: Linux does so when a listener's reading side is shut down
/// (and the port was bound by its number, as [`bound`] does).
pub(crate) fn stop_listening(socket: &TcpListener) -> io::Result<()> {
    Ok(net::shutdown(socket, net::Shutdown::Read)?)
}

/// A connection from this address of our own: 127.0.0.2 and so on are other clients.
pub fn connect_from(ip: std::net::IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket(to, SocketFlags::empty())?;
    net::bind(&socket, &SocketAddr::new(ip, 0))?;
    net::connect(&socket, &to)?;
    Ok(socket.into())
}

/// Makes the close of this socket a reset.
pub fn reset_on_close(socket: &TcpStream) {
    // It fails only on what is no socket.
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

/// Whether this machine has ::1.
pub fn has_ipv6() -> bool {
    bound(SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0))).is_ok()
}

/// A port that is surely no one else's and refuses every connection.
#[derive(Debug)]
pub struct RefusedPort(TcpListener);

impl RefusedPort {
    /// On 127.0.0.1.
    pub fn new() -> RefusedPort {
        RefusedPort::on(([127, 0, 0, 1], 0).into())
    }

    /// On this address.
    pub fn on(addr: SocketAddr) -> RefusedPort {
        RefusedPort(bound(addr).expect("a local address has a free port"))
    }

    /// Where it is.
    pub fn addr(&self) -> SocketAddr {
        self.0.local_addr().expect("a bound socket has an address")
    }
}

impl Default for RefusedPort {
    fn default() -> Self {
        RefusedPort::new()
    }
}

/// A port where connecting gets no answer at all: its queue is full, and Linux drops what does not fit.
#[derive(Debug)]
pub struct SilentPort {
    listener: TcpListener,
    _queue: Vec<std::os::fd::OwnedFd>,
}

impl SilentPort {
    /// On 127.0.0.1.
    pub fn new() -> SilentPort {
        SilentPort::on(([127, 0, 0, 1], 0).into())
    }

    /// On this address.
    pub fn on(addr: SocketAddr) -> SilentPort {
        let full = Self::fill(addr);
        full.expect("a queue fills up")
    }

    fn fill(addr: SocketAddr) -> io::Result<SilentPort> {
        let listener = bound(addr)?;
        net::listen(&listener, 0)?;
        let addr = listener.local_addr()?;
        let mut queue = Vec::new();
        // The queue holds one; the first connection that gets no answer in time shows that it is full.
        while queue.len() < 8 {
            let socket = socket(addr, SocketFlags::NONBLOCK)?;
            let connected = match net::connect(&socket, &addr) {
                Ok(()) => true,
                Err(rustix::io::Errno::INPROGRESS) => {
                    let timeout = Timespec {
                        tv_sec: 0,
                        tv_nsec: 100_000_000,
                    };
                    poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&timeout))? != 0
                }
                Err(error) => return Err(error.into()),
            };
            queue.push(socket);
            if !connected {
                return Ok(SilentPort {
                    listener,
                    _queue: queue,
                });
            }
        }
        Err(io::Error::other("the port still answers"))
    }

    /// Where it is.
    pub fn addr(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound socket has an address")
    }
}

impl Default for SilentPort {
    fn default() -> Self {
        SilentPort::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_port_refuses() {
        let port = RefusedPort::new();
        let error = TcpStream::connect(port.addr()).expect_err("it refuses");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn silent_port_does_not_answer() {
        let port = SilentPort::new();
        let error =
            TcpStream::connect_timeout(&port.addr(), Duration::from_millis(300)).expect_err("no answer");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
