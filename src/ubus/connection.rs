//! A connection to the bus on which the object is registered: calls in, answers and notifications out.

use super::blob;
use super::client::Client;
use super::document::Document;
use super::message::{self, Attributes, Header, Message, Status, attr};
use super::method::{Arguments, METHODS};
use super::notices::{Notice, Notices};
use super::service::{Check, Failure, Service};
use crate::metrics::Emit;
use smol::future;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

/// A connection with the object on it.
pub(super) struct Connection<'a> {
    client: Client,
    object: u32,
    service: &'a dyn Service,
    /// The running check, and the call that it answers.
    check: Option<(Header, Check)>,
    sequence: u16,
}

/// The next event of a connection.
enum Event {
    Message(Message),
    Checked(Header, Document),
    Notice(Notice),
}

impl<'a> Connection<'a> {
    pub(super) fn new(client: Client, object: u32, service: &'a dyn Service) -> Connection<'a> {
        Connection {
            client,
            object,
            service,
            check: None,
            sequence: 0,
        }
    }

    /// Serves until the connection is lost; returns the cause.
    pub(super) async fn run(mut self, notices: &Notices) -> io::Error {
        loop {
            let event = poll_fn(|context| self.poll(notices, context)).await;
            match event {
                Ok(Event::Message(message)) => self.handle_message(&message),
                Ok(Event::Checked(call, document)) => self.answer(call, Ok(document)),
                Ok(Event::Notice(notice)) => self.notify(&notice),
                Err(error) => return error,
            }
            // Sessions run between two calls, however many calls arrive.
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
                // The caller of a message that is too long or malformed waits for an answer, too.
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
            // Subscription changes, and the ends of our own notifications.
            _ => {}
        }
    }

    /// Handles a call. `None`: the answer is deferred.
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

    /// Sends a message; `false` if it is longer than the bus accepts.
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
