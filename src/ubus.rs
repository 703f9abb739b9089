//! The object `mtrelay` on ubus, OpenWrt's bus: what LuCI, scripts and `ubus call` ask and are told.
//!
//! Read docs/ubus.md first. The methods are a table (`method`); what they answer is [`crate::stats`]' own shape, so that `/status` and
//! the bus cannot drift apart. [`serve`] connects, offers the object, answers, and begins anew whenever the bus is absent,
//! refuses, restarts or talks nonsense: for ever, with backoff.
//!
//! Promises: the relay works without any bus and never waits for it; what is held for one is bounded
//! (`client`, `document`, `NOTICES`); no bytes from it make anything panic.

pub mod blob;
mod client;
mod document;
pub mod message;
mod method;

pub use document::Document;
pub use message::Status;

use crate::metrics::{Emit, Snapshot};
use blob::kind;
use client::Client;
use message::{Attributes, Header, Message, attr};
use method::{Arguments, METHODS};
use mtrelay_core::reactor::Timer;
use mtrelay_core::sys::{clock, random};
use smol::future;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The object's name.
const OBJECT: &str = "mtrelay";
/// Where the bus listens, in today's releases of OpenWrt and in old ones.
const SOCKETS: [&str; 2] = ["/var/run/ubus/ubus.sock", "/var/run/ubus.sock"];
/// How long the bus may take to greet and to accept the object.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long until the next attempt, and at most: connecting to a socket that is not there costs next to nothing, and an owner who
/// has just installed the access list wants to see the object.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How many notices are kept until they are sent; with more of them the oldest are lost.
const NOTICES: usize = 32;
/// What the object's methods need.
pub trait Service {
    /// The counters.
    fn snapshot(&self) -> Snapshot;
    /// The fields of `sessions`: a page of those that live, and how many there are.
    fn emit_sessions(&self, offset: usize, limit: usize, out: &mut dyn Emit);
    /// The fields of `link`: the links of a user.
    ///
    /// # Errors
    /// With what the caller is told.
    fn emit_links(&self, user: &str, host: Option<&str>, out: &mut dyn Emit) -> Result<(), Failure>;
    /// Begins to try the addresses of a data centre.
    ///
    /// # Errors
    /// With what the caller is told.
    fn check(&self, id: i64) -> Result<Check, Failure>;
    /// As SIGHUP.
    ///
    /// # Errors
    /// With what the caller is told.
    fn reload(&self) -> Result<(), Failure>;
}

/// An answer that comes later.
pub type Check = Pin<Box<dyn Future<Output = Document>>>;

/// A call that did not succeed.
#[derive(Debug)]
pub struct Failure {
    /// In the bus's words.
    pub status: Status,
    /// In ours: the answer's `error`, if anything can be said.
    pub error: Option<String>,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Failure {
        Failure { status, error: None }
    }
}

/// What subscribers are told.
#[derive(Clone, Debug)]
pub enum Notice {
    /// An address of a data centre does not work any more.
    DcDown {
        /// The data centre's number.
        id: i16,
        /// The address.
        address: SocketAddr,
        /// Why.
        error: &'static str,
    },
    /// It works again.
    DcUp {
        /// The data centre's number.
        id: i16,
        /// The address.
        address: SocketAddr,
    },
    /// A reload was refused.
    ConfigRejected {
        /// The mistakes, a line each.
        error: String,
    },
}

/// The notices that wait for the bus.
#[derive(Default)]
pub struct Notices {
    waiting: RefCell<VecDeque<Notice>>,
    waker: Cell<Option<Waker>>,
}

impl Notices {
    /// Adds one; the bus is told when it can be.
    pub fn push(&self, notice: Notice) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= NOTICES {
            waiting.pop_front();
        }
        waiting.push_back(notice);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll_next(&self, context: &Context<'_>) -> Poll<Notice> {
        if let Some(notice) = self.waiting.borrow_mut().pop_front() {
            return Poll::Ready(notice);
        }
        self.waker.set(Some(context.waker().clone()));
        Poll::Pending
    }
}

/// Why there is no connection.
enum Lost {
    /// There is nobody at any of these places.
    Absent,
    /// The bus does not want the object.
    Refused(Status),
    Failed(io::Error),
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Lost {
        match error.kind() {
            // The second: a socket that somebody left behind.
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => Lost::Absent,
            _ => Lost::Failed(error),
        }
    }
}

/// Keeps the object on the bus, for ever. `socket` is where the bus listens if not at the usual places.
pub async fn serve(socket: Option<&Path>, service: &dyn Service, notices: &Notices) {
    let mut pause = FIRST_PAUSE;
    // A reason is told once, not at each attempt.
    let mut told = String::new();
    loop {
        match offer(socket).await {
            Ok((client, object)) => {
                log::info!("ubus: the object '{OBJECT}' is there");
                told.clear();
                // Nobody can have subscribed to what happened before.
                notices.waiting.take();
                let connection = Connection {
                    client,
                    object,
                    service,
                    check: None,
                    sequence: 0,
                };
                let begun = clock::now();
                let error = connection.run(notices).await;
                log::info!(
                    "ubus: connection lost ({}); the object will come back",
                    Reason(&error)
                );
                if clock::now().saturating_duration_since(begun) > LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
            }
            Err(lost) => {
                let (level, reason) = lost.reason(socket);
                if reason != told {
                    log::log!(level, "ubus: {reason}");
                    told = reason;
                }
            }
        }
        let jitter = random::u32();
        Timer::after(jittered(pause, jitter)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Lost {
    fn reason(&self, socket: Option<&Path>) -> (log::Level, String) {
        match (self, socket) {
            // On other systems than OpenWrt that is as it should be.
            (Lost::Absent, None) => (log::Level::Debug, "there is none".into()),
            (Lost::Absent, Some(path)) => (
                log::Level::Warn,
                format!("there is none at {}; trying on", path.display()),
            ),
            // The bus says the same when another process has an object of this name.
            (Lost::Refused(Status(code)), _) => (
                log::Level::Warn,
                format!(
                    "the object '{OBJECT}' is refused (status {code}): its access list (acl.d) does not name this user, or \
                     another mtrelay runs; trying on"
                ),
            ),
            (Lost::Failed(error), _) => (
                log::Level::Warn,
                format!("cannot connect ({}); trying on", Reason(error)),
            ),
        }
    }
}

/// Between three quarters of `pause` and all of it: whatever else lost the bus does not come back at the same moment.
fn jittered(pause: Duration, random: u32) -> Duration {
    pause - pause / 4 / 256 * (random >> 24)
}

/// An error in the words of this place.
struct Reason<'a>(&'a io::Error);

impl std::fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.kind() {
            ErrorKind::UnexpectedEof => f.write_str("closed"),
            ErrorKind::TimedOut => f.write_str("it is stuck"),
            _ => self.0.fmt(f),
        }
    }
}

/// Connects and offers the object; gives its number.
async fn offer(socket: Option<&Path>) -> Result<(Client, u32), Lost> {
    let mut deadline = Timer::after(GREETING_TIMEOUT);
    let greeting = async {
        let mut client = match socket {
            Some(path) => Client::connect(path)?,
            None => match Client::connect(Path::new(SOCKETS[0])) {
                Err(error) if error.kind() == ErrorKind::NotFound => Client::connect(Path::new(SOCKETS[1]))?,
                connected => connected?,
            },
        };
        let greeting = poll_fn(|context| client.poll_message(context)).await?;
        if greeting.header.kind != message::kind::HELLO {
            return Err(io::Error::new(ErrorKind::InvalidData, "no greeting").into());
        }
        client.send(&add_object());
        let mut object = None;
        loop {
            let Message { header, body } = poll_fn(|context| client.poll_message(context)).await?;
            let attributes = body
                .as_deref()
                .and_then(|body| Attributes::parse(body).ok())
                .unwrap_or_default();
            match (header.kind, attributes.status) {
                (message::kind::DATA, _) => object = attributes.objid,
                (message::kind::STATUS, Some(0)) => {
                    let nameless = || io::Error::new(ErrorKind::InvalidData, "the object got no number");
                    return Ok((client, object.ok_or_else(nameless)?));
                }
                (message::kind::STATUS, status) => {
                    return Err(Lost::Refused(Status(status.unwrap_or_default())));
                }
                _ => {}
            }
        }
    };
    let mut greeting = std::pin::pin!(greeting);
    poll_fn(|context| {
        if Pin::new(&mut deadline).poll(context).is_ready() {
            return Poll::Ready(Err(Lost::Failed(ErrorKind::TimedOut.into())));
        }
        greeting.as_mut().poll(context)
    })
    .await
}

fn add_object() -> Vec<u8> {
    let mut writer = message::begin(Header {
        kind: message::kind::ADD_OBJECT,
        seq: 1,
        peer: 0,
    });
    writer.put_str(attr::OBJPATH, OBJECT);
    writer.open(attr::SIGNATURE);
    for method in &METHODS {
        writer.open_field(kind::TABLE, method.name);
        for (name, kind) in method.arguments {
            writer.put_field(kind::INT32, name, &u32::from(*kind).to_be_bytes());
        }
        writer.close();
    }
    message::finish(writer).expect("the table of methods is short")
}

/// A connection with the object on it.
struct Connection<'a> {
    client: Client,
    object: u32,
    service: &'a dyn Service,
    /// The check that runs, and whom its answer is for.
    check: Option<(Header, Check)>,
    sequence: u16,
}

/// What happens next on a connection.
enum Event {
    Message(Message),
    Checked(Header, Document),
    Notice(Notice),
}

impl Connection<'_> {
    /// Until the connection is lost, and why it was.
    async fn run(mut self, notices: &Notices) -> io::Error {
        loop {
            let event = poll_fn(|context| self.poll(notices, context)).await;
            match event {
                Ok(Event::Message(message)) => self.handle_message(&message),
                Ok(Event::Checked(call, document)) => self.answer(call, Ok(document)),
                Ok(Event::Notice(notice)) => self.notify(&notice),
                Err(error) => return error,
            }
            // However many calls come, sessions have their turns between them.
            future::yield_now().await;
        }
    }

    fn poll(&mut self, notices: &Notices, context: &mut Context<'_>) -> Poll<io::Result<Event>> {
        if let Some((call, check)) = &mut self.check
            && let Poll::Ready(document) = check.as_mut().poll(context)
        {
            let call = *call;
            self.check = None;
            return Poll::Ready(Ok(Event::Checked(call, document)));
        }
        if let Poll::Ready(notice) = notices.poll_next(context) {
            return Poll::Ready(Ok(Event::Notice(notice)));
        }
        self.client.poll_message(context).map_ok(Event::Message)
    }

    fn handle_message(&mut self, Message { header, body }: &Message) {
        match header.kind {
            message::kind::INVOKE => {
                let attributes = body.as_deref().map(Attributes::parse);
                // Too long or malformed: there is a caller all the same, and he waits.
                let Some(Ok(attributes)) = attributes else {
                    return self.answer(*header, Err(Status::INVALID_ARGUMENT.into()));
                };
                match self.call(*header, &attributes) {
                    Ok(None) => {}
                    _ if attributes.no_reply => {}
                    Ok(Some(document)) => self.answer(*header, Ok(document)),
                    Err(failure) => self.answer(*header, Err(failure)),
                }
            }
            message::kind::PING => {
                let pong = message::begin(Header {
                    kind: message::kind::DATA,
                    ..*header
                });
                self.send(pong);
            }
            // Whether anybody has subscribed; ends of our own notices.
            _ => {}
        }
    }

    /// `None`: the answer comes later.
    fn call(&mut self, header: Header, attributes: &Attributes<'_>) -> Result<Option<Document>, Failure> {
        if attributes.objid != Some(self.object) {
            return Err(Status::NOT_FOUND.into());
        }
        let name = attributes.method.ok_or(Status::INVALID_ARGUMENT)?;
        let method = METHODS.iter().find(|method| method.name.as_bytes() == name);
        let method = method.ok_or(Status::METHOD_NOT_FOUND)?;
        let arguments = Arguments::parse(method.arguments, attributes.data.unwrap_or_default())?;
        let mut document = Document::new();
        let Some(check) = (method.call)(self.service, &arguments, &mut document)? else {
            return Ok(Some(document));
        };
        if self.check.is_some() {
            return Err(Failure {
                status: Status::UNKNOWN_ERROR,
                error: Some("another check is running".into()),
            });
        }
        self.check = Some((header, check));
        Ok(None)
    }

    fn answer(&mut self, call: Header, answer: Result<Document, Failure>) {
        let (document, mut status) = match answer {
            Ok(document) => (Some(document), Status::OK),
            Err(Failure { status, error }) => {
                let said = error.map(|error| {
                    let mut document = Document::new();
                    document.str("error", &error);
                    document
                });
                (said, status)
            }
        };
        if let Some(document) = document {
            let mut data = message::begin(Header {
                kind: message::kind::DATA,
                ..call
            });
            data.put_u32(attr::OBJID, self.object);
            data.put(attr::DATA, &document.finish());
            if !self.send(data) {
                status = Status::NO_MEMORY;
            }
        }
        let mut end = message::begin(Header {
            kind: message::kind::STATUS,
            ..call
        });
        end.put_u32(attr::STATUS, status.0);
        end.put_u32(attr::OBJID, self.object);
        self.send(end);
    }

    fn notify(&mut self, notice: &Notice) {
        if !self.client.has_room() {
            return log::debug!("ubus: no room for a notification: the bus is slow");
        }
        let mut document = Document::new();
        let name = match notice {
            Notice::DcDown { id, address, error } => {
                document.int("id", (*id).into());
                document.str("address", &address.to_string());
                document.str("error", error);
                "dc.down"
            }
            Notice::DcUp { id, address } => {
                document.int("id", (*id).into());
                document.str("address", &address.to_string());
                document.null("error");
                "dc.up"
            }
            Notice::ConfigRejected { error } => {
                document.str("error", error);
                "config.rejected"
            }
        };
        self.sequence = self.sequence.wrapping_add(1);
        let mut notify = message::begin(Header {
            kind: message::kind::NOTIFY,
            seq: self.sequence,
            peer: self.object,
        });
        notify.put_u32(attr::OBJID, self.object);
        notify.put_str(attr::METHOD, name);
        notify.put(attr::DATA, &document.finish());
        notify.put(attr::NO_REPLY, &[1]);
        self.send(notify);
    }

    /// Whether the message is of a length that the bus takes.
    fn send(&mut self, writer: blob::Writer) -> bool {
        match message::finish(writer) {
            Some(message) => {
                self.client.send(&message);
                true
            }
            None => false,
        }
    }
}
