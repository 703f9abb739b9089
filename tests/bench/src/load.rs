//! The load on both sides of a relay: cheap, so that the relay is what limits.
//!
//! Sources write the same bytes over and over, sinks let the kernel throw away what came (MSG_TRUNC). What the bytes
//! are does not matter here: the tests check every one of them.

use mtrelay_test_support::{Client, Mode};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::{RecvFlags, SendFlags};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const CHUNK_LEN: usize = 256 * 1024;
/// What a session says first: as long as a request for a new key.
pub(crate) const QUESTION_LEN: usize = 40;
pub(crate) const ANSWER: [u8; 64] = [0x5a; 64];

/// How a session is opened.
#[derive(Clone, Debug)]
pub(crate) enum Opening {
    /// As Telegram's clients do.
    Telegram(Mode),
    /// With bytes that mean nothing.
    Bare,
}

impl Opening {
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Opening::Telegram(Mode::Ee { .. }))
    }
}

pub(crate) const SECRET: [u8; 16] = *b"\x0f\x1e\x2d\x3c\x4b\x5a\x69\x78\x87\x96\xa5\xb4\xc3\xd2\xe1\xf0";

/// Connects to the relay and asks something.
pub(crate) fn ask(relay: SocketAddr, opening: &Opening) -> TcpStream {
    let socket = match opening {
        Opening::Telegram(mode) => {
            let mut client = Client::connect(mode.clone(), relay, SECRET, 2);
            client
                .send_frame(&[7; QUESTION_LEN])
                .expect("the question goes out");
            client.raw().try_clone().expect("a descriptor is left")
        }
        Opening::Bare => {
            let mut socket = TcpStream::connect(relay).expect("the relay listens");
            socket
                .write_all(&[7; 64 + QUESTION_LEN])
                .expect("the question goes out");
            socket
        }
    };
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("no zero");
    socket
        .set_write_timeout(Some(Duration::from_secs(20)))
        .expect("no zero");
    socket.set_nodelay(true).expect("it is a TCP socket");
    socket
}

/// The DC's end of a session that asks just now.
pub(crate) fn hear(dc: &TcpListener) -> TcpStream {
    loop {
        let (mut socket, _) = dc.accept().expect("a descriptor is left");
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("no zero");
        socket.set_nodelay(true).expect("it is a TCP socket");
        let mut heard = 0;
        while heard < 64 + QUESTION_LEN {
            let len = socket
                .read(&mut [0; 512])
                .expect("the relay passes the question on");
            assert!(len > 0 || heard == 0, "the relay closed");
            if len == 0 {
                break;
            }
            heard += len;
        }
        // A connection that was opened in advance and not used ends without a byte: the session is on a later one.
        if heard > 0 {
            return socket;
        }
    }
}

/// Both ends of a session after its first question and answer.
pub(crate) fn session(relay: SocketAddr, dc: &TcpListener, opening: &Opening) -> (TcpStream, TcpStream) {
    let mut client = ask(relay, opening);
    let mut server = hear(dc);
    server.write_all(&ANSWER).expect("the answer goes out");
    read_answer(&mut client, opening);
    (client, server)
}

pub(crate) fn read_answer(client: &mut TcpStream, opening: &Opening) {
    let len = ANSWER.len() + if opening.is_tls() { 5 } else { 0 };
    client
        .read_exact(&mut vec![0; len])
        .expect("the answer comes back");
}

/// What a client uploads: anything; inside TLS, whole records.
pub(crate) fn upload_bytes(opening: &Opening) -> Vec<u8> {
    if !opening.is_tls() {
        return vec![0xa5; CHUNK_LEN];
    }
    let mut record = vec![0xa5; 5 + 16_384];
    record[..5].copy_from_slice(&[0x17, 0x03, 0x03, 0x40, 0x00]);
    record.repeat(16)
}

pub(crate) fn download_bytes() -> Vec<u8> {
    vec![0xa5; CHUNK_LEN]
}

/// A thread that moves bytes on many sockets.
pub(crate) struct Pump {
    stop: Arc<AtomicBool>,
    moved: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Pump {
    /// Writes `bytes` to all of them, for ever.
    pub(crate) fn source(sockets: Vec<TcpStream>, bytes: Vec<u8>) -> Pump {
        let mut places = vec![0; sockets.len()];
        Pump::start(sockets, EventFlags::OUT, move |index, socket| {
            let at = places[index];
            let len = rustix::net::send(socket, &bytes[at..], SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
            places[index] = (at + len) % bytes.len();
            Ok(len)
        })
    }

    /// Throws away what comes.
    pub(crate) fn sink(sockets: Vec<TcpStream>) -> Pump {
        let mut nowhere = vec![0; 4 << 20];
        Pump::start(sockets, EventFlags::IN, move |_, socket| {
            let flags = RecvFlags::TRUNC | RecvFlags::DONTWAIT;
            Ok(rustix::net::recv(socket, &mut nowhere[..], flags)?.1)
        })
    }

    fn start(
        sockets: Vec<TcpStream>,
        interest: EventFlags,
        mut work: impl FnMut(usize, &TcpStream) -> rustix::io::Result<usize> + Send + 'static,
    ) -> Pump {
        let (stop, moved) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counter) = (stop.clone(), moved.clone());
        let thread = thread::spawn(move || {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor is left");
            for (index, socket) in sockets.iter().enumerate() {
                epoll::add(&epoll, socket, EventData::new_u64(index as u64), interest).expect("a fresh one");
            }
            let mut events: Vec<epoll::Event> = Vec::with_capacity(64);
            let tick = rustix::event::Timespec {
                tv_sec: 0,
                tv_nsec: 50_000_000,
            };
            while !stopped.load(Ordering::Relaxed) {
                events.clear();
                let _ = epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&tick));
                for event in &events {
                    let index = event.data.u64() as usize;
                    match work(index, &sockets[index]) {
                        Ok(len) if len > 0 => drop(counter.fetch_add(len as u64, Ordering::Relaxed)),
                        Ok(_) => drop(epoll::delete(&epoll, &sockets[index])),
                        Err(rustix::io::Errno::AGAIN) => {}
                        Err(_) => drop(epoll::delete(&epoll, &sockets[index])),
                    }
                }
            }
        });
        Pump {
            stop,
            moved,
            thread: Some(thread),
        }
    }

    /// Bytes so far.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic over there has printed itself.
            let _ = thread.join();
        }
    }
}
