//! Sockets as the relay wants them.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const BACKLOG: i32 = 1024;
/// A peer that is silent for this long is asked whether it still lives: long enough for phones to sleep.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(600);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// Unacknowledged bytes end a connection after this long (RFC 5482), and an unanswered probe: their number no longer counts then.
const USER_TIMEOUT: Duration = Duration::from_secs(300);
/// What rustix and libc do not know on every target.
const SO_BUF_LOCK: libc::c_int = 72;
const SOCK_RCVBUF_LOCK: u32 = 2;
const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// A non-blocking listener. An IPv6 one takes IPv6 only, so that `0.0.0.0` and `[::]` can share a port.
///
/// # Errors
/// As bind(2) and listen(2).
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = net::socket_with(family(address), SocketType::STREAM, FLAGS, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// The next connection, non-blocking.
///
/// # Errors
/// As accept(2); `WouldBlock` when there is none.
pub fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (socket, address) = net::acceptfrom_with(listener, FLAGS)?;
    let address = address.and_then(|address| SocketAddr::try_from(address).ok());
    Ok((
        TcpStream::from(socket),
        address.ok_or(io::ErrorKind::AddrNotAvailable)?,
    ))
}

/// A socket for a connection to `address` that leaves by this interface and with this mark (`SO_BINDTODEVICE` and
/// `SO_MARK`, socket(7)).
///
/// # Errors
/// As socket(2) and setsockopt(2), with words for the owner where the options are to blame. None of them is the fault of
/// `address`.
pub fn open(address: SocketAddr, bind_interface: Option<&str>, fwmark: Option<u32>) -> io::Result<OwnedFd> {
    let socket = net::socket_with(family(address), SocketType::STREAM, FLAGS, None)?;
    if let Some(name) = bind_interface {
        // The kernel would cut a longer name, and might then find another device.
        let bound = if name.len() < libc::IFNAMSIZ {
            set(&socket, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name.as_bytes())
        } else {
            Err(io::Error::from_raw_os_error(libc::ENODEV))
        };
        bound.map_err(|error| explain(&error, &format!("bind_interface '{name}'"), "CAP_NET_RAW"))?;
    }
    if let Some(mark) = fwmark {
        set_u32(&socket, libc::SOL_SOCKET, libc::SO_MARK, mark)
            .map_err(|error| explain(&error, &format!("fwmark {mark:#x}"), "CAP_NET_ADMIN"))?;
    }
    Ok(socket)
}

/// Begins to connect. The socket becomes writable when that has ended; [`outcome`] tells how.
///
/// # Errors
/// As connect(2), when the failure is known at once.
pub fn connect(socket: OwnedFd, address: SocketAddr) -> io::Result<TcpStream> {
    match net::connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}

/// A non-blocking connection to another program on this machine.
///
/// # Errors
/// As connect(2); `WouldBlock` when too many others are waiting to be accepted.
pub fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let address = net::SocketAddrUnix::new(path)?;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
    net::connect(&socket, &address)?;
    Ok(UnixStream::from(socket))
}

/// Whether an error means that no descriptor is left, here or in the whole system.
#[must_use]
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Whether a connection on which nothing was sent yet is still open: its peer has neither closed it nor said anything.
#[must_use]
pub fn is_open_and_silent(socket: &TcpStream) -> bool {
    matches!(socket.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Whether `ip` is an address of this machine: only such ones can be bound.
#[must_use]
pub fn is_local(ip: std::net::IpAddr) -> bool {
    std::net::UdpSocket::bind((ip, 0)).is_ok()
}

/// How the attempt to connect to `address` ended. To ask for the same once more tells that, in one call.
///
/// # Errors
/// As connect(2); `WouldBlock` when it has not ended yet.
pub fn outcome(socket: &TcpStream, address: SocketAddr) -> io::Result<()> {
    match net::connect(socket, &address) {
        Ok(()) | Err(rustix::io::Errno::ISCONN) => Ok(()),
        Err(rustix::io::Errno::ALREADY | rustix::io::Errno::INPROGRESS) => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// No delay for small segments, and an end to connections whose peer is gone. Errors do not matter: the connection
/// works without.
pub fn tune(socket: &TcpStream) {
    tune_any(socket);
}

fn tune_any(socket: impl AsFd + Copy) {
    let _ = sockopt::set_tcp_nodelay(socket, true);
    let _ = sockopt::set_socket_keepalive(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE);
    let _ = sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL);
    let _ = sockopt::set_tcp_user_timeout(socket, USER_TIMEOUT.as_millis() as u32);
}

/// Makes the next close a reset. Whatever is still unsent is then lost, so look at [`unacknowledged`] first.
pub fn reset_on_close(socket: &TcpStream) {
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

/// Whether the socket takes more without waiting: a third of its send buffer is free, or writing fails at once.
#[must_use]
pub fn has_room(socket: &TcpStream) -> bool {
    let mut poll = [PollFd::new(socket, PollFlags::OUT)];
    !matches!(rustix::event::poll(&mut poll, Some(&Timespec::default())), Ok(0))
}

/// Bytes that the peer has not acknowledged yet (tcp(7), `SIOCOUTQ`).
#[must_use]
#[expect(unsafe_code, reason = "SIOCOUTQ has no safe wrapper")]
pub fn unacknowledged(socket: &TcpStream) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and the kernel writes one int.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done == 0 {
        usize::try_from(bytes).unwrap_or(0)
    } else {
        0
    }
}

/// What clients' sockets hold and how they send: options that the accepted ones inherit from their listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    /// Bytes that may wait unsent before the socket counts as full (tcp(7), `TCP_NOTSENT_LOWAT`).
    pub notsent_lowat: Option<u32>,
    /// Bytes of the send buffer, in place of the kernel's own choice.
    pub sndbuf: Option<u32>,
    /// The congestion control algorithm.
    pub congestion: Option<String>,
}

/// Connections that may open with data (TCP Fast Open, RFC 7413) and are not accepted yet.
const FAST_OPEN_QUEUE: u32 = 64;

/// Prepares what `listener` will accept. Whoever is accepted needs no system call then.
///
/// # Errors
/// When the kernel does not know the congestion control algorithm; the rest is done all the same.
pub fn tune_accepted(listener: &TcpListener, tuning: &Tuning) -> io::Result<()> {
    tune_any(listener);
    // The kernel may have been built without it.
    let _ = set_u32(listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, FAST_OPEN_QUEUE);
    // Zero is the system's own again, after a reload.
    let lowat = tuning.notsent_lowat.unwrap_or(0);
    let _ = set_u32(listener, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, lowat);
    if let Some(sndbuf) = tuning.sndbuf {
        let _ = set_u32(listener, libc::SOL_SOCKET, libc::SO_SNDBUF, sndbuf);
    }
    match &tuning.congestion {
        Some(name) => set(listener, libc::IPPROTO_TCP, libc::TCP_CONGESTION, name.as_bytes()),
        None => Ok(()),
    }
}

/// Bounds the send buffer (`SO_SNDBUF`; the kernel doubles it, for its own overhead).
pub fn bound_send_buffer(socket: &TcpStream, bytes: u32) {
    let _ = set_u32(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, bytes);
}

/// Keeps the receive buffer as it is (socket(7), `SO_BUF_LOCK`, since Linux 5.14; before, the kernel always tunes it).
pub fn keep_receive_buffer(socket: &TcpStream) {
    let _ = set_u32(socket, libc::SOL_SOCKET, SO_BUF_LOCK, SOCK_RCVBUF_LOCK);
}

/// Lets the kernel tune a receive buffer again that it had to keep.
///
/// It does so when more is read in a round trip than ever before, and meanwhile as much was read as the window allows: it would
/// not begin by itself. So it gets a buffer twice as large to begin with.
pub fn free_receive_buffer(socket: &TcpStream) {
    if set_u32(socket, libc::SOL_SOCKET, SO_BUF_LOCK, SOCK_RCVBUF_LOCK).is_err() {
        return;
    }
    // The kernel tells what there is, and doubles what it is told.
    if let Ok(bytes) = sockopt::socket_recv_buffer_size(socket) {
        let _ = set_u32(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes as u32);
        clamp_window(socket, ANY_WINDOW);
    }
    let _ = set_u32(socket, libc::SOL_SOCKET, SO_BUF_LOCK, 0);
}

/// Lets the receive buffer grow to twice `bytes` at once, but no further than that, or than it has grown already.
pub fn bound_receive_buffer(socket: &TcpStream, bytes: u32) {
    // It never shrinks: what the peer was promised room for would be thrown away.
    if sockopt::socket_recv_buffer_size(socket).is_ok_and(|now| now < 2 * bytes as usize) {
        let _ = set_u32(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes);
        clamp_window(socket, ANY_WINDOW);
    } else {
        keep_receive_buffer(socket);
    }
}

/// No bound of a window at all.
pub const ANY_WINDOW: u32 = 1 << 30;

/// Bounds the window that the peer may fill (tcp(7), `TCP_WINDOW_CLAMP`). The kernel's own growth of it begins anew when the
/// bound is lifted with a large one.
pub fn clamp_window(socket: &TcpStream, bytes: u32) {
    let _ = set_u32(socket, libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, bytes);
}

/// The window that the peer announced last (tcp(7), `TCP_INFO`), since Linux 5.4.
#[must_use]
pub fn peer_window(socket: &TcpStream) -> Option<u32> {
    // `tcpi_snd_wnd`, which libc's structure does not have.
    info(socket, 228)
}

/// The shortest round trip of late (tcp(7), `TCP_INFO`), since Linux 4.6.
#[must_use]
pub fn round_trip(socket: &TcpStream) -> Option<Duration> {
    // `tcpi_min_rtt`. Before the first measurement it is the largest number.
    let micros = info(socket, 148).filter(|micros| *micros != u32::MAX)?;
    Some(Duration::from_micros(micros.into()))
}

/// A field of the kernel's structure.
fn info(socket: &TcpStream, at: usize) -> Option<u32> {
    let mut info = [0; 232];
    let len = get(socket, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info).ok()?;
    let field = info.get(..len)?.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*field))
}

/// Bytes that may wait unsent before the socket counts as full (tcp(7), `TCP_NOTSENT_LOWAT`); zero is no bound.
#[must_use]
pub fn notsent_lowat(socket: &TcpStream) -> Option<u32> {
    let mut bytes = [0; 4];
    let len = get(socket, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, &mut bytes).ok()?;
    (len == bytes.len()).then_some(u32::from_ne_bytes(bytes))
}

/// Sets what [`notsent_lowat`] tells.
pub fn set_notsent_lowat(socket: &TcpStream, bytes: u32) {
    let _ = set_u32(socket, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, bytes);
}

fn set_u32(socket: impl AsFd, level: libc::c_int, option: libc::c_int, value: u32) -> io::Result<()> {
    set(socket, level, option, &value.to_ne_bytes())
}

#[expect(unsafe_code, reason = "these options have no safe wrapper")]
fn set(socket: impl AsFd, level: libc::c_int, option: libc::c_int, value: &[u8]) -> io::Result<()> {
    let len = libc::socklen_t::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and the kernel reads `len` bytes of `value`.
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            value.as_ptr().cast(),
            len,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Returns how many bytes of `value` the kernel wrote.
#[expect(unsafe_code, reason = "these options have no safe wrapper")]
fn get(socket: &TcpStream, level: libc::c_int, option: libc::c_int, value: &mut [u8]) -> io::Result<usize> {
    let mut len = libc::socklen_t::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and the kernel writes at most `len` bytes to `value`.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            value.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if done == 0 {
        Ok(len as usize)
    } else {
        Err(io::Error::last_os_error())
    }
}

fn explain(error: &io::Error, what: &str, right: &str) -> io::Error {
    let text = match error.kind() {
        io::ErrorKind::PermissionDenied => format!("{what} needs the right {right} ({error})"),
        _ => format!("{what}: {error}"),
    };
    io::Error::other(text)
}

fn family(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests are their own peers")]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, other)
    }

    /// It once stayed as it was for ever: the kernel makes it larger when more is read in a round trip than ever before, and what was
    /// read before was as much as it allowed. A download from far away got 4 MB a second instead of 25.
    #[test]
    fn a_receive_buffer_that_was_kept_begins_to_grow_when_it_is_free() {
        let (socket, _peer) = pair();
        let mut locks = [0; 4];
        if get(&socket, libc::SOL_SOCKET, SO_BUF_LOCK, &mut locks).is_err() {
            // Before Linux 5.14 there is nothing to be freed.
            return;
        }
        let size = || sockopt::socket_recv_buffer_size(&socket).unwrap();
        let before = size();
        keep_receive_buffer(&socket);
        get(&socket, libc::SOL_SOCKET, SO_BUF_LOCK, &mut locks).unwrap();
        assert_eq!((u32::from_ne_bytes(locks), size()), (SOCK_RCVBUF_LOCK, before));
        free_receive_buffer(&socket);
        get(&socket, libc::SOL_SOCKET, SO_BUF_LOCK, &mut locks).unwrap();
        assert_eq!(u32::from_ne_bytes(locks), 0);
        // `net.core.rmem_max` may be less than the double.
        assert!(size() > before, "{before} → {}", size());
    }

    #[test]
    fn a_bound_receive_buffer_never_shrinks() {
        let (socket, _peer) = pair();
        let size = || sockopt::socket_recv_buffer_size(&socket).unwrap();
        let before = size();
        bound_receive_buffer(&socket, before as u32);
        let bound = size();
        // `net.core.rmem_max` may be less than the double.
        assert!(bound > before && bound <= 2 * before, "{before} → {bound}");
        bound_receive_buffer(&socket, 4096);
        assert_eq!(size(), bound);
    }

    #[test]
    fn what_may_wait_unsent_is_what_was_set() {
        let (socket, _peer) = pair();
        set_notsent_lowat(&socket, 12_345);
        assert_eq!(notsent_lowat(&socket), Some(12_345));
        assert!(peer_window(&socket).is_none_or(|window| window > 0));
        assert!(round_trip(&socket).is_none_or(|round_trip| round_trip < Duration::from_secs(60)));
    }
}
