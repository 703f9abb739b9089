//! A connection with its session, run by a task of its own: calls go in, answers come out.
//!
//! Promises: a call ends with its answer, or when the connection ends, whichever comes first; a call that is dropped is
//! forgotten at once; while the [`Gate`] is closed no request leaves, whoever has made it and whenever.

use crate::answer::Answer;
use crate::salts::Salts;
use crate::session::{Event, RpcError, Session, SessionError};
use crate::signal::Signal;
use crate::way::{Wire, fill};
use mtrelay_core::reactor::{Async, Timer};
use mtrelay_core::sys::clock;
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

/// What is read at once: two of TLS's largest records.
const READ_LEN: usize = 32 << 10;
/// No more is made ready for sending than this.
const HIGH_WATER: usize = 64 << 10;
/// How often the other side is asked whether it is there,
const PING_EVERY: Duration = Duration::from_secs(60);
/// and for how long it waits for the next question.
const PING_DELAY_SECS: i32 = 75;
/// A connection that nobody has used for so long is closed.
const IDLE: Duration = Duration::from_secs(300);
/// Reads in a row before others have their turn.
const READS: usize = 8;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// The server's own words.
    Rpc(RpcError),
    /// The transport's error, which ended the connection.
    Transport(i32),
    /// The connection has ended.
    Lost(String),
    /// The other side is not what it should be. Another try will not help.
    Wrong(String),
    /// Nobody used it.
    Idle,
}

/// Until when no request may leave. One for all connections to a data centre.
#[derive(Default)]
pub(crate) struct Gate(Cell<Option<Instant>>);

impl Gate {
    /// Closes it until then, if it is not closed for longer.
    pub(crate) fn close(&self, until: Instant) {
        self.0.set(self.0.get().max(Some(until)));
    }

    /// Until when it is closed.
    pub(crate) fn closed(&self, now: Instant) -> Option<Instant> {
        self.0.get().filter(|until| *until > now)
    }
}

/// Who wants to know what happens on a connection.
pub(crate) trait Watch {
    /// The server says to wait. Called before anything else is sent.
    fn wait(&self, error: &RpcError);
    /// There are other salts.
    fn salts(&self, salts: &Salts);
    /// It has ended, for this reason.
    fn ended(&self, error: &CallError);
}

/// A connection.
pub(crate) struct Connection {
    shared: Rc<Shared>,
    _task: Task<()>,
}

struct Shared {
    queue: RefCell<VecDeque<(u32, Vec<u8>)>>,
    waiting: RefCell<BTreeMap<u32, Sender<Result<Answer, CallError>>>>,
    forgotten: RefCell<Vec<u32>>,
    next_token: Cell<u32>,
    end: RefCell<Option<CallError>>,
    work: Signal,
    heard: Cell<Instant>,
    used: Cell<Instant>,
    /// An answer has come: the server knows who we are.
    introduced: Cell<bool>,
    introduction: Rc<[u8]>,
}

impl Connection {
    /// Runs a session over `wire`. Before the first answer every request is preceded by the `introduction`.
    pub(crate) fn start(
        executor: &LocalExecutor<'static>,
        wire: Wire,
        session: Session,
        introduction: Rc<[u8]>,
        gate: Rc<Gate>,
        watch: Rc<dyn Watch>,
    ) -> Connection {
        let now = clock::now();
        let shared = Rc::new(Shared {
            queue: RefCell::default(),
            waiting: RefCell::default(),
            forgotten: RefCell::default(),
            next_token: Cell::new(0),
            end: RefCell::new(None),
            work: Signal::default(),
            heard: Cell::new(now),
            used: Cell::new(now),
            introduced: Cell::new(false),
            introduction,
        });
        let mut run = Run {
            stream: wire.stream,
            channel: wire.channel,
            session,
            gate,
            watch: watch.clone(),
            shared: shared.clone(),
            buffer: vec![0; READ_LEN],
            out: Vec::new(),
            written: 0,
            timer: Timer::never(),
            asked: now,
            heard_before: false,
        };
        let task = executor.spawn(async move {
            let error = poll_fn(|context| run.poll(context)).await;
            log::debug!("connection: ended: {error:?}");
            let shared = run.shared.clone();
            // The socket closes before anybody hears of it.
            drop(run);
            shared.finish(&error);
            watch.ended(&error);
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
        self.shared.used.set(clock::now());
        self.shared.work.ring();
        let answer = call.receiver.recv().await;
        answer.unwrap_or_else(|_| Err(CallError::Lost("the connection was closed".into())))
    }

    /// Ends it: nobody believes any more that an answer will come.
    pub(crate) fn give_up(&self, why: &str) {
        self.shared.finish(&CallError::Lost(why.into()));
        self.shared.work.ring();
    }

    /// Whether it can still be used.
    pub(crate) fn is_open(&self) -> bool {
        self.shared.end.borrow().is_none()
    }

    /// When something was last read.
    pub(crate) fn heard(&self) -> Instant {
        self.shared.heard.get()
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

/// One that waits. Dropped, it is forgotten.
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

/// The task's half.
struct Run {
    stream: Async<TcpStream>,
    channel: Channel,
    session: Session,
    gate: Rc<Gate>,
    watch: Rc<dyn Watch>,
    shared: Rc<Shared>,
    buffer: Vec<u8>,
    out: Vec<u8>,
    written: usize,
    timer: Timer,
    /// When the last question whether somebody is there was asked.
    asked: Instant,
    heard_before: bool,
}

impl Run {
    /// Goes on until nothing can be done now, or the connection is over.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<CallError> {
        match self.turn(context) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(error),
        }
    }

    fn turn(&mut self, context: &mut Context<'_>) -> Result<(), CallError> {
        self.shared.work.register(context);
        if let Some(error) = &*self.shared.end.borrow() {
            return Err(error.clone());
        }
        for _ in 0..READS {
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

    /// Turns what waits into bytes.
    fn fill_out(&mut self, now: Instant) {
        for token in std::mem::take(&mut *self.shared.forgotten.borrow_mut()) {
            self.session.forget(token);
        }
        while self.out.len() < HIGH_WATER
            && let Some(packet) = self.next_packet(now)
        {
            self.channel.send(&packet, &mut fill, &mut self.out);
        }
    }

    fn next_packet(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.gate.closed(now).is_none() {
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
        self.shared.heard.set(now);
        self.heard_before = true;
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
                    self.watch.wait(&error);
                    (token, Err(CallError::Rpc(error)))
                }
                Event::Salts => {
                    self.watch.salts(self.session.salts());
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

    /// Whatever is due by the clock. Returns whether something was.
    fn tick(&mut self, context: &mut Context<'_>, now: Instant) -> Result<bool, CallError> {
        let ping_at = self.asked + PING_EVERY;
        if ping_at <= now {
            if self.shared.waiting.borrow().is_empty() && now - self.shared.used.get() > IDLE {
                return Err(CallError::Idle);
            }
            if !std::mem::replace(&mut self.heard_before, false) {
                return Err(CallError::Lost("nobody answers any more".into()));
            }
            self.asked = now;
            let ping = self.session.ping(PING_DELAY_SECS, now);
            self.channel.send(&ping, &mut fill, &mut self.out);
            return Ok(true);
        }
        let gate = self.gate.closed(now);
        let until = gate.map_or(ping_at, |gate| gate.min(ping_at));
        self.timer.set_at(until);
        Ok(Pin::new(&mut self.timer).poll(context).is_ready())
    }
}

fn closed() -> CallError {
    CallError::Lost("the connection was closed".into())
}
