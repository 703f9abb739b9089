//! The limits: relays that know no protocol, as lean as they can be. One thread, level-triggered epoll, no timers, no
//! counters. `copy` reads and writes 64 KiB at a time; `splice` moves bytes through pipes and never sees them.

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::pipe::{PipeFlags, SpliceFlags};
use std::io::{self, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

const BUFFER_LEN: usize = 64 * 1024;
const LISTENER: u64 = u64::MAX;

/// How bytes are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Through user space.
    Copy,
    /// Through a pipe of this many bytes for each direction.
    Splice(usize),
}

/// One connection, and what it could not take yet.
struct Side {
    socket: TcpStream,
    waiting: Vec<u8>,
    pipe: Option<(OwnedFd, OwnedFd)>,
    in_pipe: usize,
    /// The other side has finished, or nothing more can be written here.
    ended: bool,
}

type Pair = [Side; 2];

/// Relays everything that connects to `to`; prints its own address first.
pub(crate) fn run(way: Way, listen: IpAddr, to: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind((listen, 0))?;
    listener.set_nonblocking(true)?;
    println(&listener.local_addr()?.to_string())?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut pairs: Vec<Option<Pair>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let key = event.data.u64();
            if key == LISTENER {
                while let Ok((client, _)) = listener.accept() {
                    let index = free.pop().unwrap_or_else(|| {
                        pairs.push(None);
                        pairs.len() - 1
                    });
                    pairs[index] = Some(open(&epoll, index, way, client, to)?);
                }
                continue;
            }
            let (index, side) = ((key >> 1) as usize, (key & 1) as usize);
            let Some(pair) = &mut pairs[index] else { continue };
            let flags = event.flags;
            let alive = (|| -> io::Result<bool> {
                if flags.contains(EventFlags::OUT) {
                    flush(&epoll, index, pair, side)?;
                }
                if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                    forward(&epoll, index, pair, side, &mut buffer)?;
                }
                Ok(!(pair[0].ended && pair[1].ended))
            })();
            if !alive.unwrap_or(false) {
                pairs[index] = None;
                free.push(index);
            }
        }
    }
}

fn println(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn open(epoll: &OwnedFd, index: usize, way: Way, client: TcpStream, to: SocketAddr) -> io::Result<Pair> {
    let dc = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    match rustix::net::connect(&dc, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    client.set_nonblocking(true)?;
    let side = |socket: TcpStream| -> io::Result<Side> {
        socket.set_nodelay(true)?;
        let pipe = match way {
            Way::Copy => None,
            Way::Splice(size) => {
                let pipe = rustix::pipe::pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
                rustix::pipe::fcntl_setpipe_size(&pipe.1, size)?;
                Some(pipe)
            }
        };
        Ok(Side {
            socket,
            waiting: Vec::new(),
            pipe,
            in_pipe: 0,
            ended: false,
        })
    };
    let pair = [side(client)?, side(TcpStream::from(dc))?];
    for (at, side) in pair.iter().enumerate() {
        epoll::add(epoll, &side.socket, data(index, at), EventFlags::IN)?;
    }
    Ok(pair)
}

fn data(index: usize, side: usize) -> EventData {
    EventData::new_u64((index as u64) << 1 | side as u64)
}

/// What each side is to be watched for: readable unless its receiver is behind, writable if it is behind itself.
fn watch(epoll: &OwnedFd, index: usize, pair: &Pair, finished: usize) -> io::Result<()> {
    let behind = |side: &Side| !side.waiting.is_empty() || side.in_pipe > 0;
    for at in 0..2 {
        let mut flags = EventFlags::empty();
        if !behind(&pair[1 - at]) && !pair[1 - at].ended && at != finished {
            flags |= EventFlags::IN;
        }
        if behind(&pair[at]) {
            flags |= EventFlags::OUT;
        }
        epoll::modify(epoll, &pair[at].socket, data(index, at), flags)?;
    }
    Ok(())
}

fn flush(epoll: &OwnedFd, index: usize, pair: &mut Pair, at: usize) -> io::Result<()> {
    let side = &mut pair[at];
    if side.in_pipe > 0 {
        drain(side)?;
    } else if !side.waiting.is_empty() {
        match rustix::net::send(&side.socket, &side.waiting, SendFlags::NOSIGNAL) {
            Ok(len) => drop(side.waiting.drain(..len)),
            Err(Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if side.waiting.is_empty() && side.in_pipe == 0 {
        watch(epoll, index, pair, usize::MAX)?;
    }
    Ok(())
}

fn drain(side: &mut Side) -> io::Result<()> {
    let Some(pipe) = &side.pipe else { return Ok(()) };
    while side.in_pipe > 0 {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match rustix::pipe::splice(pipe.0.as_fd(), None, &side.socket, None, side.in_pipe, flags) {
            Ok(len) => side.in_pipe -= len,
            Err(Errno::AGAIN) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Moves what `from` has to the other side, once.
fn forward(epoll: &OwnedFd, index: usize, pair: &mut Pair, from: usize, buffer: &mut [u8]) -> io::Result<()> {
    let (left, right) = pair.split_at_mut(1);
    let (source, sink) = if from == 0 {
        (&left[0], &mut right[0])
    } else {
        (&right[0], &mut left[0])
    };
    if sink.in_pipe > 0 || !sink.waiting.is_empty() {
        return Ok(());
    }
    let len = match &sink.pipe {
        Some(pipe) => {
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            match rustix::pipe::splice(&source.socket, None, pipe.1.as_fd(), None, 1 << 20, flags) {
                Ok(len) => {
                    sink.in_pipe = len;
                    drain(sink)?;
                    len
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        None => match rustix::net::recv(&source.socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((len, _)) => {
                let written = if len > 0 {
                    match rustix::net::send(&sink.socket, &buffer[..len], SendFlags::NOSIGNAL) {
                        Ok(written) => written,
                        Err(Errno::AGAIN) => 0,
                        Err(error) => return Err(error.into()),
                    }
                } else {
                    0
                };
                sink.waiting.extend_from_slice(&buffer[written..len]);
                len
            }
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        },
    };
    if len == 0 {
        sink.ended = true;
        sink.socket.shutdown(Shutdown::Write)?;
        return watch(epoll, index, pair, from);
    }
    if sink.in_pipe > 0 || !sink.waiting.is_empty() {
        watch(epoll, index, pair, usize::MAX)?;
    }
    Ok(())
}
