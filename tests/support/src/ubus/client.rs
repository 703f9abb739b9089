//! A client of the bus: it looks objects up, calls their methods and hears their notifications.

use super::{Frame, Value, attr, kind, status};
use crate::clock::patience;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// One of [`status`].
    pub status: u32,
    /// What was answered; a table, empty if nothing was.
    pub data: Value,
}

impl Answer {
    /// The answer of a call that has to succeed.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn good(self) -> Value {
        assert_eq!(self.status, status::OK, "{}", self.data);
        self.data
    }
}

/// A connection of a caller. Every wait ends after [`patience`] with an error.
#[derive(Debug)]
pub struct UbusClient {
    stream: UnixStream,
    seq: u16,
    /// What came while something else was waited for.
    unread: VecDeque<Frame>,
}

impl UbusClient {
    /// Connects and is greeted.
    pub fn connect(path: &Path) -> io::Result<UbusClient> {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(patience()))?;
        stream.set_write_timeout(Some(patience()))?;
        let hello = Frame::read(&mut stream)?;
        if hello.kind != kind::HELLO {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("greeted with {hello:?}"),
            ));
        }
        Ok(UbusClient {
            stream,
            seq: 0,
            unread: VecDeque::new(),
        })
    }

    /// The number of an object and its signature.
    ///
    /// # Errors
    /// With the status, `NOT_FOUND` most likely.
    #[track_caller]
    pub fn lookup(&mut self, path: &str) -> Result<(u32, Value), u32> {
        let seq = self.request(Frame::new(kind::LOOKUP, 0, 0).with_str(attr::OBJPATH, path));
        let mut found = None;
        loop {
            let frame = self.answer(seq);
            match frame.kind {
                kind::DATA => {
                    let signature = Value::from_fields(frame.attr(attr::SIGNATURE).unwrap_or_default());
                    found = Some((
                        frame.u32(attr::OBJID).expect("it has a number"),
                        signature.expect("blobmsg"),
                    ));
                }
                _ => return found.ok_or(frame.u32(attr::STATUS).expect("a status")),
            }
        }
    }

    /// Calls a method and waits for the end of the call.
    ///
    /// # Panics
    /// If the object is not there, or no answer comes.
    #[track_caller]
    pub fn call(&mut self, path: &str, method: &str, arguments: &Value) -> Answer {
        let seq = self.invoke(path, method, arguments);
        self.wait(seq)
    }

    /// Calls a method; [`UbusClient::wait`] gives its answer.
    #[track_caller]
    pub fn invoke(&mut self, path: &str, method: &str, arguments: &Value) -> u16 {
        self.invoke_raw(path, method, &arguments.to_fields())
    }

    /// Calls a method with any bytes for its arguments.
    #[track_caller]
    pub fn invoke_raw(&mut self, path: &str, method: &str, arguments: &[u8]) -> u16 {
        let (object, _) = match self.lookup(path) {
            Ok(object) => object,
            Err(status) => panic!("{path} is not there: status {status}"),
        };
        let invoke = Frame::new(kind::INVOKE, 0, object).with_u32(attr::OBJID, object);
        self.request(invoke.with_str(attr::METHOD, method).with(attr::DATA, arguments))
    }

    /// Waits for the end of a call.
    #[track_caller]
    pub fn wait(&mut self, seq: u16) -> Answer {
        let mut data = Value::table([]);
        loop {
            let frame = self.answer(seq);
            if frame.kind == kind::DATA {
                let read = Value::from_fields(frame.attr(attr::DATA).expect("data"));
                data = read.unwrap_or_else(|wrong| panic!("not blobmsg: {wrong}"));
                continue;
            }
            let status = frame.u32(attr::STATUS).expect("a status");
            return Answer { status, data };
        }
    }

    /// Subscribes to what an object tells.
    #[track_caller]
    pub fn subscribe(&mut self, path: &str) {
        let (target, _) = self.lookup(path).expect("it is there");
        let seq = self.request(Frame::new(kind::ADD_OBJECT, 0, 0));
        let own = self.answer(seq).u32(attr::OBJID).expect("a number");
        self.answer(seq);
        let seq = self.request(
            Frame::new(kind::SUBSCRIBE, 0, 0)
                .with_u32(attr::OBJID, own)
                .with_u32(attr::TARGET, target),
        );
        let ended = self.answer(seq);
        assert_eq!(ended.u32(attr::STATUS), Some(status::OK));
    }

    /// The next notification: its name and its table.
    #[track_caller]
    pub fn notification(&mut self) -> (String, Value) {
        let frame = self.next(|frame| frame.kind == kind::INVOKE);
        let name = frame.str(attr::METHOD).expect("a name").to_string();
        let data = Value::from_fields(frame.attr(attr::DATA).expect("data"));
        (name, data.expect("blobmsg"))
    }

    fn request(&mut self, mut frame: Frame) -> u16 {
        self.seq = self.seq.wrapping_add(1);
        frame.seq = self.seq;
        self.stream.write_all(&frame.to_bytes()).expect("the bus reads");
        self.seq
    }

    #[track_caller]
    fn answer(&mut self, seq: u16) -> Frame {
        self.next(|frame| frame.seq == seq && matches!(frame.kind, kind::DATA | kind::STATUS))
    }

    #[track_caller]
    fn next(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        if let Some(at) = self.unread.iter().position(&wanted) {
            return self.unread.remove(at).expect("just found");
        }
        loop {
            match Frame::read(&mut self.stream) {
                Ok(frame) if wanted(&frame) => return frame,
                Ok(frame) => self.unread.push_back(frame),
                Err(error) => panic!("the bus does not answer: {error}"),
            }
        }
    }
}
