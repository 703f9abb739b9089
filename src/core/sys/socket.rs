//! TCP and Unix sockets: creation, connecting, and socket options.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Length of a listener's accept queue.
const BACKLOG: i32 = 1024;
/// Time without data after which keepalive probes begin (tcp(7), `TCP_KEEPIDLE`): ten minutes, so that phones can sleep.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(600);
/// Interval of keepalive probes (tcp(7), `TCP_KEEPINTVL`).
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// Time after which unacknowledged bytes or unanswered probes end a connection (RFC 5482). It replaces the number of probes.
const USER_TIMEOUT: Duration = Duration::from_secs(300);
/// Socket option `SO_BUF_LOCK` (socket(7)), which rustix and libc lack on some targets.
const SO_BUF_LOCK: libc::c_int = 72;
/// Flag of `SO_BUF_LOCK` for the receive buffer.
const SOCK_RCVBUF_LOCK: u32 = 2;
const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// A non-blocking listener. An IPv6 listener accepts IPv6 only, so that `0.0.0.0` and `[::]` can share a port.
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

/// Accepts the next connection, non-blocking.
///
/// # Errors
/// As accept(2); `WouldBlock` when no connection waits.
pub fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (socket, address) = net::acceptfrom_with(listener, FLAGS)?;
    let address = address.and_then(|address| SocketAddr::try_from(address).ok());
    Ok((
        TcpStream::from(socket),
        address.ok_or(io::ErrorKind::AddrNotAvailable)?,
    ))
}

/// A socket for a connection to `address`, bound to an interface (`SO_BINDTODEVICE`, socket(7)) and with a packet mark (`SO_MARK`).
///
/// # Errors
/// As socket(2) and setsockopt(2). An error of an option names the option. All errors are local and not the address's.
pub fn open(address: SocketAddr, bind_interface: Option<&str>, fwmark: Option<u32>) -> io::Result<OwnedFd> {
    let socket = net::socket_with(family(address), SocketType::STREAM, FLAGS, None)?;
    if let Some(name) = bind_interface {
        // The kernel would truncate a longer name, which might then match another device.
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

/// Begins to connect. The socket becomes writable when the attempt has ended; [`outcome`] returns the result.
///
/// # Errors
/// As connect(2), when the attempt fails at once.
pub fn connect(socket: OwnedFd, address: SocketAddr) -> io::Result<TcpStream> {
    match net::connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}

/// A non-blocking connection to a Unix socket.
///
/// # Errors
/// As connect(2); `WouldBlock` when the listener's accept queue is full.
pub fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let address = net::SocketAddrUnix::new(path)?;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
    net::connect(&socket, &address)?;
    Ok(UnixStream::from(socket))
}

/// Whether an error means that no descriptor is left in the process or in the system.
#[must_use]
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Whether an unused connection is still open: the peer has neither closed it nor sent anything.
#[must_use]
pub fn is_open_and_silent(socket: &TcpStream) -> bool {
    matches!(socket.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Whether `ip` is an address of this machine, which only then can be bound.
#[must_use]
pub fn is_local(ip: std::net::IpAddr) -> bool {
    std::net::UdpSocket::bind((ip, 0)).is_ok()
}

/// The result of an attempt to connect to `address`. A second connect(2) returns it in one call.
///
/// # Errors
/// As connect(2); `WouldBlock` when the attempt has not ended yet.
pub fn outcome(socket: &TcpStream, address: SocketAddr) -> io::Result<()> {
    match net::connect(socket, &address) {
        Ok(()) | Err(rustix::io::Errno::ISCONN) => Ok(()),
        Err(rustix::io::Errno::ALREADY | rustix::io::Errno::INPROGRESS) => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Sets TCP_NODELAY, keepalive and the user timeout. Errors are ignored, because the connection works without them.
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

/// Makes the next close send a reset (SO_LINGER zero). Unsent bytes are then lost, so check [`unacknowledged`] first.
pub fn reset_on_close(socket: &TcpStream) {
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

/// Whether the socket is writable now: a third of its send buffer is free, or a write fails at once.
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

/// Buffer and congestion options of clients' sockets. Accepted sockets inherit them from their listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    /// Bytes that may wait unsent before the socket counts as full (tcp(7), `TCP_NOTSENT_LOWAT`).
    pub notsent_lowat: Option<u32>,
    /// Size of the send buffer in bytes; `None` leaves it to the kernel.
    pub sndbuf: Option<u32>,
    /// The congestion control algorithm.
    pub congestion: Option<String>,
}

/// Length of the queue of TCP Fast Open connections that are not accepted yet (RFC 7413).
const FAST_OPEN_QUEUE: u32 = 64;

/// Sets the options of all connections that `listener` accepts from now on, so that no accepted socket needs a call of its own.
///
/// # Errors
/// When the kernel does not have the congestion control algorithm. All other options are set.
pub fn tune_accepted(listener: &TcpListener, tuning: &Tuning) -> io::Result<()> {
    tune_any(listener);
    // The kernel may have been built without it.
    let _ = set_u32(listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, FAST_OPEN_QUEUE);
    // Zero restores the system's default after a reload.
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

/// Bounds the send buffer (`SO_SNDBUF`). The kernel doubles the value, for its own overhead.
pub fn bound_send_buffer(socket: &TcpStream, bytes: u32) {
    let _ = set_u32(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, bytes);
}

/// Locks the receive buffer's size (socket(7), `SO_BUF_LOCK`, since Linux 5.14). Older kernels always tune it.
pub fn keep_receive_buffer(socket: &TcpStream) {
    let _ = set_u32(socket, libc::SOL_SOCKET, SO_BUF_LOCK, SOCK_RCVBUF_LOCK);
}

/// Unlocks a receive buffer's size, so that the kernel tunes it again.
///
/// The kernel grows the buffer only when more is read in a round trip than before. Reading was already limited by the locked
/// window, so the buffer is doubled once to start the growth.
pub fn free_receive_buffer(socket: &TcpStream) {
    if set_u32(socket, libc::SOL_SOCKET, SO_BUF_LOCK, SOCK_RCVBUF_LOCK).is_err() {
        return;
    }
    // The kernel reports the real size and doubles the size that is set.
    if let Ok(bytes) = sockopt::socket_recv_buffer_size(socket) {
        let _ = set_u32(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes as u32);
        clamp_window(socket, ANY_WINDOW);
    }
    let _ = set_u32(socket, libc::SOL_SOCKET, SO_BUF_LOCK, 0);
}

/// Sets the receive buffer to twice `bytes`, or locks its size if it is larger already.
pub fn bound_receive_buffer(socket: &TcpStream, bytes: u32) {
    // The buffer is never made smaller: bytes that fit into the announced window would be dropped.
    if sockopt::socket_recv_buffer_size(socket).is_ok_and(|now| now < 2 * bytes as usize) {
        let _ = set_u32(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes);
        clamp_window(socket, ANY_WINDOW);
    } else {
        keep_receive_buffer(socket);
    }
}

/// Window clamp in bytes that bounds nothing.
pub const ANY_WINDOW: u32 = 1 << 30;

/// Bounds the window that is announced to the peer (tcp(7), `TCP_WINDOW_CLAMP`). The kernel grows the window again once the clamp is
/// raised.
pub fn clamp_window(socket: &TcpStream, bytes: u32) {
    let _ = set_u32(socket, libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, bytes);
}

/// The peer's latest announced window in bytes (tcp(7), `TCP_INFO`), since Linux 5.4.
#[must_use]
pub fn peer_window(socket: &TcpStream) -> Option<u32> {
    // Offset of `tcpi_snd_wnd`, which libc's structure lacks.
    info(socket, 228)
}

/// The minimum round-trip time that the kernel measured recently (tcp(7), `TCP_INFO`), since Linux 4.6.
#[must_use]
pub fn round_trip(socket: &TcpStream) -> Option<Duration> {
    // Offset of `tcpi_min_rtt`. Before the first measurement the field has its highest value.
    let micros = info(socket, 148).filter(|micros| *micros != u32::MAX)?;
    Some(Duration::from_micros(micros.into()))
}

/// A 32-bit field of the kernel's `tcp_info`, at this offset in bytes.
fn info(socket: &TcpStream, at: usize) -> Option<u32> {
    let mut info = [0; 232];
    let len = get(socket, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info).ok()?;
    let field = info.get(..len)?.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*field))
}

/// Bytes that may wait unsent before the socket counts as full (tcp(7), `TCP_NOTSENT_LOWAT`); zero means no bound.
#[must_use]
pub fn notsent_lowat(socket: &TcpStream) -> Option<u32> {
    let mut bytes = [0; 4];
    let len = get(socket, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, &mut bytes).ok()?;
    (len == bytes.len()).then_some(u32::from_ne_bytes(bytes))
}

/// Sets the value of [`notsent_lowat`].
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

/// Reads a socket option into `value`, and returns the number of bytes that the kernel wrote.
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
#[allow(
    clippy::disallowed_methods,
    reason = "the tests connect to their own listeners"
)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, other)
    }

    /// Regression: an unlocked buffer did not grow, because the kernel grows it only when more is read in a round trip than before,
    /// and the locked window had limited reading. A download from far away got 4 MB a second instead of 25.
    #[test]
    fn an_unlocked_receive_buffer_begins_to_grow() {
        let (socket, _peer) = pair();
        let mut locks = [0; 4];
        if get(&socket, libc::SOL_SOCKET, SO_BUF_LOCK, &mut locks).is_err() {
            return mtrelay_test_support::require::skip("the kernel has no SO_BUF_LOCK (Linux 5.14)");
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
        let (Some(window), Some(round_trip)) = (peer_window(&socket), round_trip(&socket)) else {
            return mtrelay_test_support::require::skip(
                "the kernel's tcp_info lacks the window or the round trip",
            );
        };
        assert!(window > 0);
        assert!(round_trip < Duration::from_secs(60));
    }
}
