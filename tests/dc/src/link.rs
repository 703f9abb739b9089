//! A connection: the header, frames in, and frames out when they are due and as fast as they may go.

use crate::state::{Out, State};
use mtrelay_test_support::frames::{Frames, frame};
use mtrelay_test_support::obfuscated2::{self, Cipher, HEADER_LEN, Tag};
use mtrelay_test_support::rng::Rng;
use smol::channel::{self, Receiver};
use smol::future::FutureExt as _;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::{Async, Timer};
use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is written at once when the rate is bounded.
const PIECE: usize = 16 << 10;
/// So much of a rate may be caught up after a delay of our own.
const MOST_LATE: Duration = Duration::from_millis(50);

/// All of them.
pub(crate) type Shared = Arc<Mutex<State>>;

/// Looks at the state. A poisoned lock is taken anyway: a test that failed must not hide why.
pub(crate) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one connection until it ends.
pub(crate) async fn serve(state: Shared, socket: Async<TcpStream>, dc: i32) {
    let (out, orders) = channel::unbounded();
    let number = lock(&state).open_link(dc, out);
    // However it ends is no matter of ours.
    let _ = talk(&state, &socket, dc, number, orders).await;
    lock(&state).close_link(number);
}

async fn talk(
    state: &Shared,
    socket: &Async<TcpStream>,
    dc: i32,
    number: usize,
    orders: Receiver<Out>,
) -> io::Result<()> {
    socket.get_ref().set_nodelay(true)?;
    let mut input = socket;
    let mut raw = [0; HEADER_LEN];
    input.read_exact(&mut raw).await?;
    let (header, up, down) = obfuscated2::open(&raw, None);
    if !Tag::ALL.contains(&header.tag) {
        lock(state).violation(number, format!("the tag {}", header.tag));
        return Ok(());
    }
    if i32::from(header.dc.unsigned_abs()) % 10_000 != dc {
        lock(state).violation(number, format!("the header asks for DC {}", header.dc));
    }
    if let Some(what) = header.violation {
        lock(state).violation(number, format!("the header {what}"));
    }
    let reading = read(state, socket, number, header.tag, up);
    let writing = Writer {
        state,
        socket,
        number,
        tag: header.tag,
        down,
        rng: Rng::new(number as u64),
        sent: 0,
        free: Instant::now(),
    };
    reading.or(writing.run(orders)).await
}

async fn read(
    state: &Shared,
    mut socket: &Async<TcpStream>,
    number: usize,
    tag: Tag,
    mut up: Cipher,
) -> io::Result<()> {
    let (mut frames, mut bytes) = (Frames::new(tag), vec![0; 16 << 10]);
    loop {
        let len = socket.read(&mut bytes).await?;
        if len == 0 {
            return Ok(());
        }
        up.apply(&mut bytes[..len]);
        frames.push(&bytes[..len]);
        loop {
            match frames.next_frame() {
                Ok(Some(frame)) => lock(state).handle_frame(number, &frame.payload),
                Ok(None) => break,
                Err(_) => {
                    lock(state).violation(number, "what it sends is no frames");
                    return Ok(());
                }
            }
        }
    }
}

struct Writer<'a> {
    state: &'a Shared,
    socket: &'a Async<TcpStream>,
    number: usize,
    tag: Tag,
    down: Cipher,
    rng: Rng,
    sent: u64,
    /// When the line is free again, if the rate is bounded.
    free: Instant,
}

impl Writer<'_> {
    async fn run(mut self, orders: Receiver<Out>) -> io::Result<()> {
        while let Ok(order) = orders.recv().await {
            match order {
                Out::Frame {
                    due,
                    payload,
                    is_part,
                } => {
                    if due > Instant::now() {
                        Timer::at(due).await;
                    }
                    let mut bytes = frame(self.tag, &payload, &mut self.rng);
                    self.down.apply(&mut bytes);
                    if is_part {
                        lock(self.state).counters.in_flight -= 1;
                    }
                    if !self.write(&bytes).await? {
                        break;
                    }
                }
                Out::End { reset: false } => break,
                Out::End { reset: true } => {
                    reset(self.socket);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Writes, as fast as it may go. False: the connection has had its bytes, and is cut.
    async fn write(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (rate, most) = {
                let state = lock(self.state);
                let slow = state.faults.slow.filter(|(number, _)| *number == self.number);
                let rate = slow.map(|(_, rate)| rate).or(state.faults.rate);
                (rate, state.faults.kill_after_bytes)
            };
            let piece_len = if rate.is_some() || most.is_some() {
                PIECE
            } else {
                rest.len()
            };
            let (piece, after) = rest.split_at(piece_len.min(rest.len()));
            if let Some(rate) = rate {
                let now = Instant::now();
                if self.free > now {
                    Timer::at(self.free).await;
                }
                let from = now
                    .checked_sub(MOST_LATE)
                    .map_or(self.free, |late| self.free.max(late));
                self.free = from + Duration::from_secs_f64(piece.len() as f64 / f64::from(rate));
            }
            if most.is_some_and(|most| self.sent + piece.len() as u64 > most) {
                let mut socket = self.socket;
                let _ = socket.write_all(&piece[..piece.len() / 2]).await;
                reset(self.socket);
                return Ok(false);
            }
            let mut socket = self.socket;
            socket.write_all(piece).await?;
            self.sent += piece.len() as u64;
            rest = after;
        }
        Ok(true)
    }
}

/// Makes the coming close a reset.
fn reset(socket: &Async<TcpStream>) {
    // If it cannot be set, the connection is gone already.
    let _ = rustix::net::sockopt::set_socket_linger(socket.get_ref(), Some(Duration::ZERO));
}
