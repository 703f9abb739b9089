//! The bus of OpenWrt, as far as an object and its callers can tell, on a Unix socket of the test's own.
//!
//! It greets, keeps objects with their signatures, looks them up, carries calls to their owners and answers back (with
//! peers rewritten, as on the real one), tells owners of subscribers and subscribers of notifications. Beyond that it does
//! what a test wants of it: refuses objects, stands still, says nonsense, goes away and comes back.
//!
//! Promises: everything waits with a deadline; a client that does not read loses messages beyond 1 MiB, as on the real one,
//! and holds nobody up.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use crate::clock::{Deadline, Watched};
use crate::relay::TempDir;
use crate::ubus::{Frame, MAX_LEN, UbusClient, attr, kind, split, status};

/// A bus on threads of its own. Dropping it cuts everybody.
#[derive(Debug)]
pub struct FakeUbusd {
    path: PathBuf,
    bus: Arc<Watched<Bus>>,
    accepting: Option<JoinHandle<()>>,
    _dir: TempDir,
}

#[derive(Debug, Default)]
struct Bus {
    /// Nobody is accepted any more.
    stopped: bool,
    /// Objects with names are refused.
    denies: bool,
    /// Nothing is read.
    stalls: bool,
    /// What newcomers get instead of a greeting.
    greeting: Option<Vec<u8>>,
    last_id: u32,
    clients: BTreeMap<u32, Client>,
    objects: BTreeMap<u32, Object>,
    connections: usize,
    offers: usize,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    queue: mpsc::Sender<Vec<u8>>,
    queued: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Object {
    owner: u32,
    path: Option<String>,
    signature: Vec<u8>,
    /// The objects of those who listen.
    subscribers: Vec<u32>,
}

impl FakeUbusd {
    /// One that listens.
    pub fn start() -> FakeUbusd {
        let dir = TempDir::new();
        let mut ubusd = FakeUbusd {
            path: dir.path().join("ubus.sock"),
            bus: Arc::default(),
            accepting: None,
            _dir: dir,
        };
        ubusd.start_again();
        ubusd
    }

    /// Its socket: what `ubus_socket` takes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Cuts everybody and takes the socket away.
    pub fn stop(&mut self) {
        self.bus.change(|bus| {
            (bus.stopped, bus.stalls) = (true, false);
            for client in bus.clients.values() {
                // It may have gone by itself.
                let _ = client.stream.shutdown(Shutdown::Both);
            }
        });
        if let Some(accepting) = self.accepting.take() {
            // Wakes it up; an error means that it has ended already.
            let _ = UnixStream::connect(&self.path);
            let _ = accepting.join();
        }
        let _ = std::fs::remove_file(&self.path);
        self.wait("everybody to be gone", |bus| bus.clients.is_empty().then_some(()));
    }

    /// Listens again, knowing nobody and nothing, after [`FakeUbusd::stop`].
    pub fn start_again(&mut self) {
        let listener = UnixListener::bind(&self.path).expect("the temporary folder takes a socket");
        self.bus.change(|bus| bus.stopped = false);
        let bus = Arc::clone(&self.bus);
        let accepting = std::thread::Builder::new().name("ubusd".into()).spawn(move || {
            for stream in listener.incoming() {
                if bus.lock().stopped {
                    return;
                }
                welcome(stream.expect("a connection"), &bus);
            }
        });
        self.accepting = Some(accepting.expect("a thread starts"));
    }

    /// Goes away and comes back.
    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Whether it refuses objects from now on, as the real one does without an entry in its access list.
    pub fn deny(&self, denies: bool) {
        self.bus.change(|bus| bus.denies = denies);
    }

    /// Whether it stands still: it reads nothing, while connections stay.
    pub fn stall(&self, stalls: bool) {
        self.bus.change(|bus| bus.stalls = stalls);
    }

    /// What newcomers get instead of the greeting.
    pub fn greet_with(&self, bytes: Option<Vec<u8>>) {
        self.bus.change(|bus| bus.greeting = bytes);
    }

    /// Waits until an object of this name is there.
    #[track_caller]
    pub fn wait_object(&self, name: &str) {
        self.wait(name, |bus| bus.find(name).map(drop));
    }

    /// Waits until no object of this name is there.
    #[track_caller]
    pub fn wait_gone(&self, name: &str) {
        self.wait(name, |bus| bus.find(name).is_none().then_some(()));
    }

    /// Whether an object of this name is there.
    pub fn has_object(&self, name: &str) -> bool {
        self.bus.lock().find(name).is_some()
    }

    /// Waits until objects with names were offered this often, refused ones too.
    #[track_caller]
    pub fn wait_offers(&self, count: usize) {
        self.wait("offers", |bus| (bus.offers >= count).then_some(()));
    }

    /// Waits until there were this many connections.
    #[track_caller]
    pub fn wait_connections(&self, count: usize) {
        self.wait("connections", |bus| (bus.connections >= count).then_some(()));
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.bus.lock().connections
    }

    /// Sends any bytes to the owner of an object.
    #[track_caller]
    pub fn inject(&self, name: &str, bytes: &[u8]) {
        let bus = self.bus.lock();
        let (_, object) = bus.find(name).expect("the object is there");
        bus.send_bytes(object.owner, bytes.to_vec());
    }

    /// The number of an object.
    #[track_caller]
    pub fn object_id(&self, name: &str) -> u32 {
        self.bus.lock().find(name).expect("the object is there").0
    }

    /// A caller.
    #[track_caller]
    pub fn client(&self) -> UbusClient {
        UbusClient::connect(&self.path).expect("the bus greets")
    }

    #[track_caller]
    fn wait<R>(&self, what: &str, mut found: impl FnMut(&Bus) -> Option<R>) -> R {
        match self.bus.wait(Deadline::patient(), |bus| found(bus)) {
            Some(found) => found,
            None => panic!("the bus waited in vain for {what}: {:?}", self.bus.lock()),
        }
    }
}

impl Drop for FakeUbusd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Takes a newcomer in: one thread reads, one writes.
fn welcome(stream: UnixStream, bus: &Arc<Watched<Bus>>) {
    let (queue, queued_messages) = mpsc::channel::<Vec<u8>>();
    let queued = Arc::new(AtomicUsize::new(0));
    let mut writing = stream.try_clone().expect("descriptors are left");
    let mut reading = stream.try_clone().expect("descriptors are left");
    let count = Arc::clone(&queued);
    std::thread::spawn(move || {
        for message in queued_messages {
            // An error shows to the reader as well.
            if writing.write_all(&message).is_err() {
                return;
            }
            count.fetch_sub(message.len(), Ordering::Relaxed);
        }
    });
    let id = bus.change(|bus| {
        let id = bus.new_id();
        bus.connections += 1;
        bus.clients.insert(
            id,
            Client {
                stream,
                queue,
                queued,
            },
        );
        match bus.greeting.clone() {
            Some(bytes) => bus.send_bytes(id, bytes),
            None => bus.send(id, &Frame::new(kind::HELLO, 0, id)),
        }
        id
    });
    let bus = Arc::clone(bus);
    std::thread::spawn(move || {
        while let Ok(frame) = Frame::read(&mut reading) {
            // However long it stands still.
            while bus
                .wait(Deadline::patient(), |bus| (!bus.stalls).then_some(()))
                .is_none()
            {}
            bus.change(|bus| bus.handle(id, frame));
        }
        bus.change(|bus| bus.forget(id));
    });
}

impl Bus {
    fn new_id(&mut self) -> u32 {
        // Scattered, so that nobody gets by with one number for another.
        self.last_id = self.last_id.wrapping_mul(0x0001_0dcd).wrapping_add(0x0123_4567);
        self.last_id
    }

    fn find(&self, path: &str) -> Option<(u32, &Object)> {
        let named = |object: &&Object| object.path.as_deref() == Some(path);
        let found = self.objects.iter().find(|(_, object)| named(object));
        found.map(|(id, object)| (*id, object))
    }

    fn send(&self, client: u32, frame: &Frame) {
        self.send_bytes(client, frame.to_bytes());
    }

    fn send_bytes(&self, client: u32, bytes: Vec<u8>) {
        if let Some(client) = self.clients.get(&client)
            && client.queued.fetch_add(bytes.len(), Ordering::Relaxed) <= MAX_LEN
        {
            // Its writer ends only with the connection.
            let _ = client.queue.send(bytes);
        }
    }

    fn handle(&mut self, from: u32, frame: Frame) {
        let ended = match frame.kind {
            kind::PING => {
                let pong = Frame {
                    kind: kind::DATA,
                    ..frame.clone()
                };
                self.send(from, &pong);
                status::OK
            }
            kind::STATUS | kind::DATA => return self.handle_answer(from, frame),
            kind::LOOKUP => self.handle_lookup(from, &frame),
            kind::INVOKE => match self.handle_invoke(from, &frame) {
                Ok(()) => return,
                Err(status) => status,
            },
            kind::ADD_OBJECT => self.handle_add(from, &frame),
            kind::REMOVE_OBJECT => match frame.u32(attr::OBJID) {
                None => status::INVALID_ARGUMENT,
                Some(id) if self.objects.get(&id).is_some_and(|object| object.owner == from) => {
                    self.remove(id);
                    let removed = Frame::new(kind::DATA, frame.seq, frame.peer).with_u32(attr::OBJID, id);
                    self.send(from, &removed);
                    status::OK
                }
                Some(_) => status::NOT_FOUND,
            },
            kind::SUBSCRIBE | kind::UNSUBSCRIBE => self.handle_subscribe(from, &frame),
            kind::NOTIFY => match self.handle_notify(from, &frame) {
                Ok(()) => return,
                Err(status) => status,
            },
            _ => status::INVALID_COMMAND,
        };
        self.end(from, (frame.seq, frame.peer), ended);
    }

    fn end(&self, client: u32, (seq, peer): (u16, u32), status: u32) {
        self.send(
            client,
            &Frame::new(kind::STATUS, seq, peer).with_u32(attr::STATUS, status),
        );
    }

    fn handle_lookup(&self, from: u32, frame: &Frame) -> u32 {
        let Some(path) = frame.str(attr::OBJPATH) else {
            return status::INVALID_ARGUMENT;
        };
        let matches = |object: &str| match path.strip_suffix('*') {
            Some(start) => object.starts_with(start),
            None => object == path,
        };
        let mut found = status::NOT_FOUND;
        for (id, object) in &self.objects {
            if let Some(path) = object.path.as_deref().filter(|path| matches(path)) {
                found = status::OK;
                let data = Frame::new(kind::DATA, frame.seq, frame.peer)
                    .with_str(attr::OBJPATH, path)
                    .with_u32(attr::OBJID, *id)
                    .with_u32(attr::OBJTYPE, *id ^ 1)
                    .with(attr::SIGNATURE, &object.signature);
                self.send(from, &data);
            }
        }
        found
    }

    fn handle_add(&mut self, from: u32, frame: &Frame) -> u32 {
        let path = frame.str(attr::OBJPATH).map(str::to_owned);
        self.offers += usize::from(path.is_some());
        let taken = |path: &String| self.find(path).is_some();
        if path.as_ref().is_some_and(|path| self.denies || taken(path)) {
            // What the real one says to both.
            return status::INVALID_ARGUMENT;
        }
        let signature = frame.attr(attr::SIGNATURE).unwrap_or_default().to_vec();
        if split(&signature).is_err() {
            return status::INVALID_ARGUMENT;
        }
        let id = self.new_id();
        self.objects.insert(
            id,
            Object {
                owner: from,
                path,
                signature,
                subscribers: Vec::new(),
            },
        );
        let added = Frame::new(kind::DATA, frame.seq, frame.peer);
        self.send(
            from,
            &added.with_u32(attr::OBJID, id).with_u32(attr::OBJTYPE, id ^ 1),
        );
        status::OK
    }

    /// The owner answers; only its refusal to be found is answered here.
    fn handle_invoke(&self, from: u32, frame: &Frame) -> Result<(), u32> {
        let (Some(id), Some(method)) = (frame.u32(attr::OBJID), frame.str(attr::METHOD)) else {
            return Err(status::INVALID_ARGUMENT);
        };
        let object = self.objects.get(&id).ok_or(status::NOT_FOUND)?;
        let call = Frame::new(kind::INVOKE, frame.seq, from).with_u32(attr::OBJID, id);
        self.send(object.owner, &call_of(call, method, frame));
        Ok(())
    }

    fn handle_answer(&self, from: u32, frame: Frame) {
        let object = frame
            .u32(attr::OBJID)
            .filter(|id| self.objects.get(id).is_some_and(|object| object.owner == from));
        let carried = if frame.kind == kind::DATA {
            attr::DATA
        } else {
            attr::STATUS
        };
        if let (Some(object), Some(_)) = (object, frame.attr(carried)) {
            self.send(
                frame.peer,
                &Frame {
                    peer: object,
                    ..frame.clone()
                },
            );
        }
    }

    fn handle_subscribe(&mut self, from: u32, frame: &Frame) -> u32 {
        let (Some(own), Some(target)) = (frame.u32(attr::OBJID), frame.u32(attr::TARGET)) else {
            return status::INVALID_ARGUMENT;
        };
        if self.objects.get(&own).is_none_or(|own| own.owner != from) {
            return status::NOT_FOUND;
        }
        let Some(object) = self.objects.get_mut(&target) else {
            return status::NOT_FOUND;
        };
        let before = object.subscribers.len();
        object.subscribers.retain(|subscriber| *subscriber != own);
        if frame.kind == kind::SUBSCRIBE {
            object.subscribers.push(own);
        } else if before == object.subscribers.len() {
            return status::NOT_FOUND;
        }
        if (before == 0) != object.subscribers.is_empty() {
            self.tell_active(target);
        }
        status::OK
    }

    fn tell_active(&self, id: u32) {
        if let Some(object) = self.objects.get(&id) {
            let active = u8::from(!object.subscribers.is_empty());
            let told = Frame::new(kind::NOTIFY, 1, 0)
                .with_u32(attr::OBJID, id)
                .with(attr::ACTIVE, &[active]);
            self.send(object.owner, &told);
        }
    }

    fn handle_notify(&self, from: u32, frame: &Frame) -> Result<(), u32> {
        let (Some(id), Some(method)) = (frame.u32(attr::OBJID), frame.str(attr::METHOD)) else {
            return Err(status::INVALID_ARGUMENT);
        };
        let object = self.objects.get(&id).ok_or(status::NOT_FOUND)?;
        if object.owner != from {
            return Err(status::PERMISSION_DENIED);
        }
        let no_reply = frame.attr(attr::NO_REPLY).is_some_and(|value| value != [0]);
        if !no_reply {
            let told = Frame::new(kind::STATUS, frame.seq, frame.peer).with_u32(attr::OBJID, id);
            self.send(
                from,
                &told
                    .with(attr::SUBSCRIBERS, &[])
                    .with_u32(attr::STATUS, status::OK),
            );
        }
        for subscriber in &object.subscribers {
            if let Some(listener) = self.objects.get(subscriber) {
                let mut call = Frame::new(kind::INVOKE, frame.seq, from);
                if no_reply {
                    call = call.with(attr::NO_REPLY, &[1]);
                }
                self.send(
                    listener.owner,
                    &call_of(call.with_u32(attr::OBJID, *subscriber), method, frame),
                );
            }
        }
        Ok(())
    }

    fn remove(&mut self, id: u32) {
        self.objects.remove(&id);
        let watched: Vec<u32> = self
            .objects
            .iter()
            .filter(|(_, object)| object.subscribers == [id])
            .map(|(id, _)| *id)
            .collect();
        for object in self.objects.values_mut() {
            object.subscribers.retain(|subscriber| *subscriber != id);
        }
        watched.into_iter().for_each(|id| self.tell_active(id));
    }

    fn forget(&mut self, client: u32) {
        let own: Vec<u32> = self
            .objects
            .iter()
            .filter(|(_, object)| object.owner == client)
            .map(|(id, _)| *id)
            .collect();
        own.into_iter().for_each(|id| self.remove(id));
        if let Some(client) = self.clients.remove(&client) {
            // The writer may wait for it to read.
            let _ = client.stream.shutdown(Shutdown::Both);
        }
    }
}

/// What the bus carries on of a call or a notification, with whom it comes from.
fn call_of(call: Frame, method: &str, from: &Frame) -> Frame {
    let call = call
        .with_str(attr::METHOD, method)
        .with_str(attr::USER, "root")
        .with_str(attr::GROUP, "root");
    match from.attr(attr::DATA) {
        Some(data) => call.with(attr::DATA, data),
        None => call,
    }
}
