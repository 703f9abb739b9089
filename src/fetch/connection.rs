//! A connection and its session, driven by one task: requests go in, answers come out.
//!
//! Promises: a call ends with its answer or with the connection, whichever comes first; a call that is dropped is forgotten at
//! once; while the [`FloodWaitGate`] is closed no request leaves, no matter when it was made.

use crate::answer::Answer;
use crate::call_error::CallError;
use crate::route::Transport;
use crate::salts::Salts;
use crate::session::{Event, RpcError, Session, SessionError};
use mtrelay_core::notify::Notify;
use mtrelay_core::reactor::{Async, Timer};
use mtrelay_core::sys::{clock, random};
use smol::channel::{Receiver, Sender};
use smol::io::{AsyncRead as _, AsyncWrite as _};
use smol::{LocalExecutor, Task};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future as _, poll_fn};
use std::net::TcpStream;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use wire::client::{Channel, Frame};

/// Bytes of the read buffer: two TLS records of the largest size.
const READ_LEN: usize = 32 << 10;
/// Bytes of encrypted output that wait for the socket. Above this no further request is encrypted.
const HIGH_WATER: usize = 64 << 10;
/// Time between two pings.
const PING_INTERVAL: Duration = Duration::from_secs(60);
/// Seconds after which the server closes a connection that sends no further ping: a quarter more than the interval.
const PING_DISCONNECT_DELAY_SECS: i32 = 75;
/// A connection without a call for this long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Reads in one poll, before other tasks run.
const MAX_READS: usize = 8;

/// Holds requests back during a flood wait. All connections to a data centre share one.
#[derive(Default)]
pub(crate) struct FloodWaitGate(Cell<Option<Instant>>);

impl FloodWaitGate {
    /// Closes the gate until this moment, unless it is closed for longer already.
    pub(crate) fn close(&self, until: Instant) {
        self.0.set(self.0.get().max(Some(until)));
    }

    /// The end of the flood wait, if one is running.
    pub(crate) fn closed_until(&self, now: Instant) -> Option<Instant> {
        self.0.get().filter(|until| *until > now)
    }
}

/// Receives the events of a connection.
pub(crate) trait ConnectionEvents {
    /// A request was answered with an error. Called before anything else is sent.
    fn handle_rpc_error(&self, error: &RpcError);
    /// The session has new salts.
    fn handle_salts(&self, salts: &Salts);
    /// The connection has ended.
    fn handle_end(&self, error: &CallError);
}

/// A connection to a data centre.
pub(crate) struct Connection {
    shared: Rc<Shared>,
    _task: Task<()>,
}

struct Shared {
    queue: RefCell<VecDeque<(u32, Vec<u8>)>>,
    waiting: RefCell<BTreeMap<u32, Sender<Result<Answer, CallError>>>>,
    /// Tokens of dropped calls, which the session does not know of yet.
    forgotten: RefCell<Vec<u32>>,
    next_token: Cell<u32>,
    end: RefCell<Option<CallError>>,
    work: Notify,
    last_read: Cell<Instant>,
    last_call: Cell<Instant>,
    /// The server has answered, hence has seen the introduction.
    introduced: Cell<bool>,
    introduction: Rc<[u8]>,
}

impl Connection {
    /// Runs a session over `transport`. Until the first answer the `introduction` precedes every request.
    pub(crate) fn start(
        executor: &LocalExecutor<'static>,
        transport: Transport,
        session: Session,
        introduction: Rc<[u8]>,
        flood_wait: Rc<FloodWaitGate>,
        events: Rc<dyn ConnectionEvents>,
    ) -> Connection {
        let now = clock::now();
        let shared = Rc::new(Shared {
            queue: RefCell::default(),
            waiting: RefCell::default(),
            forgotten: RefCell::default(),
            next_token: Cell::new(0),
            end: RefCell::new(None),
            work: Notify::default(),
            last_read: Cell::new(now),
            last_call: Cell::new(now),
            introduced: Cell::new(false),
            introduction,
        });
        let mut driver = Driver {
            stream: transport.stream,
            channel: transport.channel,
            session,
            flood_wait,
            events: events.clone(),
            shared: shared.clone(),
            buffer: vec![0; READ_LEN],
            out: Vec::new(),
            written: 0,
            timer: Timer::never(),
            last_ping: now,
            read_since_ping: false,
        };
        let task = executor.spawn(async move {
            let error = poll_fn(|context| driver.poll(context)).await;
            log::debug!("connection ended: {error:?}");
            let shared = driver.shared.clone();
            // The socket is closed before any caller learns of the end.
            drop(driver);
            shared.finish(&error);
            events.handle_end(&error);
        });
        Connection { shared, _task: task }
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call(&self, body: &[u8]) -> Result<Answer, CallError> {
        let ended = self.shared.end.borrow().clone();
        if let Some(error) = ended {
            return Err(error);
        }
        let token = self.shared.next_token.get();
        self.shared.next_token.set(token.wrapping_add(1));
        let (sender, receiver) = smol::channel::bounded(1);
        self.shared.waiting.borrow_mut().insert(token, sender);
        let call = Call {
            shared: self.shared.clone(),
            token,
            receiver,
        };
        let mut whole = Vec::with_capacity(body.len() + self.shared.introduction.len());
        if !self.shared.introduced.get() {
            whole.extend(&*self.shared.introduction);
        }
        whole.extend(body);
        self.shared.queue.borrow_mut().push_back((token, whole));
        self.shared.last_call.set(clock::now());
        self.shared.work.notify();
        let answer = call.receiver.recv().await;
        answer.unwrap_or_else(|_| Err(CallError::Lost("the connection was closed".into())))
    }

    /// Ends the connection because its answers are overdue.
    pub(crate) fn give_up(&self, why: &str) {
        self.shared.finish(&CallError::Lost(why.into()));
        self.shared.work.notify();
    }

    /// Whether the connection takes calls.
    pub(crate) fn is_open(&self) -> bool {
        self.shared.end.borrow().is_none()
    }

    /// When bytes last arrived.
    pub(crate) fn last_read(&self) -> Instant {
        self.shared.last_read.get()
    }
}

impl Shared {
    fn finish(&self, error: &CallError) {
        self.end.borrow_mut().get_or_insert_with(|| error.clone());
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for sender in waiting.into_values() {
            let _ = sender.try_send(Err(error.clone()));
        }
    }
}

/// A call that waits for its answer. Dropping it withdraws the request.
struct Call {
    shared: Rc<Shared>,
    token: u32,
    receiver: Receiver<Result<Answer, CallError>>,
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.shared.waiting.borrow_mut().remove(&self.token).is_some() {
            self.shared
                .queue
                .borrow_mut()
                .retain(|(token, _)| *token != self.token);
            self.shared.forgotten.borrow_mut().push(self.token);
        }
    }
}

/// The state of the task that drives the connection.
struct Driver {
    stream: Async<TcpStream>,
    channel: Channel,
    session: Session,
    flood_wait: Rc<FloodWaitGate>,
    events: Rc<dyn ConnectionEvents>,
    shared: Rc<Shared>,
    buffer: Vec<u8>,
    out: Vec<u8>,
    written: usize,
    timer: Timer,
    last_ping: Instant,
    /// Bytes have arrived since the last ping.
    read_since_ping: bool,
}

impl Driver {
    /// Reads, writes and pings until the socket would block or the connection ends.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<CallError> {
        match self.advance(context) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(error),
        }
    }

    fn advance(&mut self, context: &mut Context<'_>) -> Result<(), CallError> {
        self.shared.work.register(context);
        if let Some(error) = &*self.shared.end.borrow() {
            return Err(error.clone());
        }
        for _ in 0..MAX_READS {
            let now = clock::now();
            self.fill_out(now);
            let wrote = self.write(context)?;
            let read = self.read(context, now)?;
            if !wrote && !read && !self.tick(context, now)? {
                return Ok(());
            }
        }
        context.waker().wake_by_ref();
        Ok(())
    }

    /// Encrypts waiting requests up to [`HIGH_WATER`].
    fn fill_out(&mut self, now: Instant) {
        for token in std::mem::take(&mut *self.shared.forgotten.borrow_mut()) {
            self.session.forget(token);
        }
        while self.out.len() < HIGH_WATER
            && let Some(packet) = self.next_packet(now)
        {
            self.channel.send(&packet, &mut random::fill, &mut self.out);
        }
    }

    fn next_packet(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.flood_wait.closed_until(now).is_none() {
            if let Some(packet) = self.session.poll_again(now) {
                return Some(packet);
            }
            let next = self.shared.queue.borrow_mut().pop_front();
            if let Some((token, body)) = next {
                return Some(self.session.push(token, body, now));
            }
        }
        self.session.poll_service(now)
    }

    fn write(&mut self, context: &mut Context<'_>) -> Result<bool, CallError> {
        let mut wrote = false;
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut &self.stream).poll_write(context, rest) {
                Poll::Ready(Ok(0)) => return Err(closed()),
                Poll::Ready(Ok(len)) => {
                    self.written += len;
                    wrote = true;
                }
                Poll::Ready(Err(error)) => return Err(CallError::Lost(error.to_string())),
                Poll::Pending => break,
            }
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        Ok(wrote)
    }

    fn read(&mut self, context: &mut Context<'_>, now: Instant) -> Result<bool, CallError> {
        let len = match Pin::new(&mut &self.stream).poll_read(context, &mut self.buffer) {
            Poll::Ready(Ok(0)) => return Err(closed()),
            Poll::Ready(Ok(len)) => len,
            Poll::Ready(Err(error)) => return Err(CallError::Lost(error.to_string())),
            Poll::Pending => return Ok(false),
        };
        self.shared.last_read.set(now);
        self.read_since_ping = true;
        let mut frames = Vec::new();
        let received = self.channel.receive(&mut self.buffer[..len], &mut frames);
        for frame in frames {
            match frame {
                Frame::Message(packet) => self.handle_packet(packet, now)?,
                Frame::Error(code) => return Err(CallError::Transport(code)),
                Frame::QuickAck(_) => {}
            }
        }
        received.map_err(|error| CallError::Lost(error.to_string()))?;
        Ok(true)
    }

    fn handle_packet(&mut self, packet: Vec<u8>, now: Instant) -> Result<(), CallError> {
        let lost = |error: SessionError| CallError::Lost(error.to_string());
        for event in self.session.handle_packet(packet, now).map_err(lost)? {
            let (token, result) = match event {
                Event::Answer(token, answer) => (token, Ok(answer)),
                Event::Refused(token, error) => {
                    self.events.handle_rpc_error(&error);
                    (token, Err(CallError::Rpc(error)))
                }
                Event::Salts => {
                    self.events.handle_salts(self.session.salts());
                    continue;
                }
            };
            self.shared.introduced.set(true);
            if let Some(sender) = self.shared.waiting.borrow_mut().remove(&token) {
                let _ = sender.try_send(result);
            }
        }
        Ok(())
    }

    /// Pings, and ends an idle or silent connection. Returns whether the timer or a ping was due.
    fn tick(&mut self, context: &mut Context<'_>, now: Instant) -> Result<bool, CallError> {
        let ping_at = self.last_ping + PING_INTERVAL;
        if ping_at <= now {
            if self.shared.waiting.borrow().is_empty() && now - self.shared.last_call.get() > IDLE_TIMEOUT {
                return Err(CallError::Idle);
            }
            if !std::mem::replace(&mut self.read_since_ping, false) {
                return Err(CallError::Lost("no answer to a ping".into()));
            }
            self.last_ping = now;
            let ping = self.session.ping(PING_DISCONNECT_DELAY_SECS, now);
            self.channel.send(&ping, &mut random::fill, &mut self.out);
            return Ok(true);
        }
        let flood_wait = self.flood_wait.closed_until(now);
        let until = flood_wait.map_or(ping_at, |until| until.min(ping_at));
        self.timer.set_at(until);
        Ok(Pin::new(&mut self.timer).poll(context).is_ready())
    }
}

fn closed() -> CallError {
    CallError::Lost("the connection was closed".into())
}
