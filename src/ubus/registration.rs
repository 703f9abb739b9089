//! Registration: connecting to the bus and offering the object.

use super::blob::kind;
use super::client::Client;
use super::message::{self, Attributes, Header, Message, Status, attr};
use super::method::METHODS;
use mtrelay_core::reactor::Timer;
use std::future::{Future as _, poll_fn};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// The object's name.
pub(super) const OBJECT: &str = "mtrelay";
/// The socket of the bus, in current releases of OpenWrt and in old ones.
const SOCKETS: [&str; 2] = ["/var/run/ubus/ubus.sock", "/var/run/ubus.sock"];
/// The time in which the bus must greet and accept the object.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects and registers the object; returns the connection and the object's number.
pub(super) async fn offer(socket: Option<&Path>) -> Result<(Client, u32), Lost> {
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

/// Why a registration failed.
pub(super) enum Lost {
    /// No bus listens on any of the sockets.
    Absent,
    /// The bus refused the object.
    Refused(Status),
    /// Any other error.
    Failed(io::Error),
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Lost {
        match error.kind() {
            // Connection refused: the socket file of a bus that has ended.
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => Lost::Absent,
            _ => Lost::Failed(error),
        }
    }
}

impl Lost {
    /// The level and text of the log line.
    pub(super) fn reason(&self, socket: Option<&Path>) -> (log::Level, String) {
        match (self, socket) {
            // Normal on systems other than OpenWrt.
            (Lost::Absent, None) => (log::Level::Debug, "no bus".into()),
            (Lost::Absent, Some(path)) => (
                log::Level::Warn,
                format!("no bus at {}; trying again", path.display()),
            ),
            // The bus gives the same status if another process has an object of this name.
            (Lost::Refused(Status(code)), _) => (
                log::Level::Warn,
                format!(
                    "the object '{OBJECT}' is refused (status {code}): its access list (acl.d) does not name this user, or \
                     another mtrelay runs; trying again"
                ),
            ),
            (Lost::Failed(error), _) => (
                log::Level::Warn,
                format!("cannot connect ({}); trying again", Reason(error)),
            ),
        }
    }
}

/// An error of the connection, as the log names it.
pub(super) struct Reason<'a>(pub(super) &'a io::Error);

impl std::fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.kind() {
            ErrorKind::UnexpectedEof => f.write_str("closed"),
            ErrorKind::TimedOut => f.write_str("timeout"),
            _ => self.0.fmt(f),
        }
    }
}
