//! A data centre that follows a script and remembers what it saw.
//!
//! Read [`crate::obfuscated2`] first: everything beyond a connection's 64-byte header goes through its AES-256-CTR, with the
//! raw keys, as a real data centre does it. Promises: all waits are on events and have a deadline; connections are numbered
//! in the order in which they were accepted, over all addresses; nothing that is received is stored beyond its first 64 KiB.

mod script;
mod talk;

pub use script::{Pace, Script, Step, Then};

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use smol::{Async, channel};

use crate::clock::{Deadline, Watched};
use crate::obfuscated2::Header;
use crate::tcp;
use crate::worker::{Spawner, Worker};

/// How much of what a connection received is kept for looking at.
const KEEP_LEN: usize = 65_536;

/// How a connection ended, as the data centre saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The other side closed in order.
    Eof,
    /// The other side cut the connection.
    Reset,
    /// The script closed or cut it.
    Script,
    /// Another error of the socket.
    Failed(io::ErrorKind),
}

/// An upload compared with the stream that it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// How many bytes there should be.
    pub expected: u64,
    /// How many came.
    pub came: u64,
    /// The first byte that was another.
    pub wrong_at: Option<u64>,
}

/// What a data centre remembers of a connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its number, from 0.
    pub index: usize,
    /// The data centre's address.
    pub addr: SocketAddr,
    /// The relay's address.
    pub peer: SocketAddr,
    /// The header, once it came.
    pub header: Option<Header>,
    /// Bytes beyond the header.
    pub received: u64,
    /// SHA-256 of those.
    pub sha256: [u8; 32],
    /// The first 64 KiB of those, decrypted.
    pub head: Vec<u8>,
    /// Bytes written.
    pub sent: u64,
    /// The upload's comparison, where the script knows what it should be.
    pub check: Option<Check>,
    /// How it ended, once it did.
    pub ended: Option<Ended>,
}

impl Connection {
    /// The signed DC id of the header.
    ///
    /// # Panics
    /// If no header came.
    #[track_caller]
    pub fn dc(&self) -> i16 {
        self.header.expect("a header came").dc
    }

    /// Panics unless the upload was exactly what the script expected.
    #[track_caller]
    pub fn assert_upload(&self) {
        let Some(check) = self.check else {
            panic!("connection {} expected no upload", self.index)
        };
        let good = check.wrong_at.is_none() && check.came == check.expected;
        assert!(
            good,
            "the upload of connection {} is wrong: {check:?}, {:?}",
            self.index, self.ended
        );
    }
}

/// A connection while it lives: as [`Connection`], with a hash that runs.
struct Record {
    seen: Connection,
    hash: Sha256,
}

impl Record {
    fn snapshot(&self) -> Connection {
        Connection {
            sha256: self.hash.clone().finalize().into(),
            ..self.seen.clone()
        }
    }

    fn received(&mut self, bytes: &[u8]) {
        self.seen.received += bytes.len() as u64;
        self.hash.update(bytes);
        let room = KEEP_LEN - self.seen.head.len();
        self.seen.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

type Hook = Arc<dyn Fn(&Connection) + Send + Sync>;

/// What the test's thread and the server's share.
struct State {
    script: Script,
    scripts: BTreeMap<usize, Script>,
    pace: Pace,
    records: Vec<Record>,
    /// Open when the sender is gone.
    gate: Option<channel::Sender<()>>,
    at_gate: channel::Receiver<()>,
}

struct Shared {
    state: Watched<State>,
    hook: Option<Hook>,
}

/// A data centre on a thread of its own. Dropping it cuts all its connections.
pub struct FakeDc {
    shared: Arc<Shared>,
    doors: Vec<Door>,
    _worker: Worker,
}

/// One listening address, as the test's thread holds it.
struct Door {
    socket: TcpListener,
    addr: SocketAddr,
    opened: channel::Sender<()>,
}

/// A data centre about to start.
pub struct Builder {
    script: Script,
    pace: Pace,
    listen: Vec<SocketAddr>,
    hook: Option<Hook>,
}

impl Builder {
    /// Listens here too; without any, on 127.0.0.1:0.
    pub fn listen(mut self, addr: SocketAddr) -> Builder {
        self.listen.push(addr);
        self
    }

    /// Reads and writes at this pace.
    pub fn pace(mut self, pace: Pace) -> Builder {
        self.pace = pace;
        self
    }

    /// Calls this, on the server's thread, for each connection whose header came.
    pub fn on_header(mut self, hook: impl Fn(&Connection) + Send + Sync + 'static) -> Builder {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Binds and starts.
    pub fn start(self) -> io::Result<FakeDc> {
        let Builder {
            script,
            pace,
            mut listen,
            hook,
        } = self;
        if listen.is_empty() {
            listen.push(([127, 0, 0, 1], 0).into());
        }
        let (gate, at_gate) = channel::bounded(1);
        let refuses = matches!(script, Script::Refuse);
        let records = Vec::new();
        let state = State {
            script,
            scripts: BTreeMap::new(),
            pace,
            records,
            gate: Some(gate),
            at_gate,
        };
        let shared = Arc::new(Shared {
            state: Watched::new(state),
            hook,
        });
        let (mut doors, mut inside) = (Vec::new(), Vec::new());
        for addr in listen {
            let socket = tcp::bound(addr)?;
            if !refuses {
                tcp::listen(&socket)?;
            }
            let (opened, orders) = channel::bounded(1);
            inside.push((socket.try_clone()?, orders));
            doors.push(Door {
                addr: socket.local_addr()?,
                socket,
                opened,
            });
        }
        let inner = Arc::clone(&shared);
        let worker = Worker::start("fake DC", move |spawner| {
            for (socket, orders) in inside {
                spawner.spawn(accept(socket, orders, Arc::clone(&inner), spawner.clone()));
            }
        });
        Ok(FakeDc {
            shared,
            doors,
            _worker: worker,
        })
    }
}

/// Takes connections in; while the port refuses, waits to be told that it listens again.
async fn accept(socket: TcpListener, opened: channel::Receiver<()>, shared: Arc<Shared>, spawner: Spawner) {
    let listener = Async::new(socket).expect("a listener can be polled");
    let addr = listener
        .get_ref()
        .local_addr()
        .expect("a bound socket has an address");
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                let talk = register(&shared, socket, addr, peer);
                spawner.spawn(talk.run());
            }
            // The door was shut: accept(2) says EINVAL. Anything else passes (a connection that is gone again).
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                if opened.recv().await.is_err() {
                    return;
                }
            }
            Err(_) => {}
        }
    }
}

fn register(
    shared: &Arc<Shared>,
    socket: Async<TcpStream>,
    addr: SocketAddr,
    peer: SocketAddr,
) -> talk::Talk {
    shared.state.change(|state| {
        let index = state.records.len();
        let seen = Connection {
            index,
            addr,
            peer,
            header: None,
            received: 0,
            sha256: [0; 32],
            head: Vec::new(),
            sent: 0,
            check: None,
            ended: None,
        };
        state.records.push(Record {
            seen,
            hash: Sha256::new(),
        });
        let script = state.scripts.get(&index).unwrap_or(&state.script).clone();
        talk::Talk {
            shared: Arc::clone(shared),
            index,
            socket,
            script,
            pace: state.pace,
            gate: state.at_gate.clone(),
        }
    })
}

impl FakeDc {
    /// One that listens on 127.0.0.1:0.
    pub fn start(script: Script) -> FakeDc {
        FakeDc::builder(script)
            .start()
            .expect("127.0.0.1 has a free port")
    }

    /// For more addresses and other paces.
    pub fn builder(script: Script) -> Builder {
        Builder {
            script,
            pace: Pace::default(),
            listen: Vec::new(),
            hook: None,
        }
    }

    /// The first address.
    pub fn addr(&self) -> SocketAddr {
        self.doors[0].addr
    }

    /// All addresses, in the builder's order.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.doors.iter().map(|door| door.addr).collect()
    }

    /// The script of connections that come from now on. `Script::Refuse` shuts the port before this returns, any other opens it.
    pub fn set_script(&self, script: Script) {
        let refuses = matches!(script, Script::Refuse);
        let refused = self.shared.state.change(|state| {
            let before = std::mem::replace(&mut state.script, script);
            matches!(before, Script::Refuse)
        });
        for door in &self.doors {
            match (refused, refuses) {
                (false, true) => tcp::stop_listening(&door.socket).expect("a listener stops"),
                (true, false) => {
                    tcp::listen(&door.socket).expect("the port is still ours");
                    // Full means that it was told and has not looked yet.
                    let _ = door.opened.try_send(());
                }
                _ => {}
            }
        }
    }

    /// The script of the connection with this number, if it has not come yet. (`Refuse` cannot be one connection's.)
    pub fn set_script_of(&self, index: usize, script: Script) {
        self.shared
            .state
            .change(|state| state.scripts.insert(index, script));
    }

    /// The pace of connections that come from now on.
    pub fn set_pace(&self, pace: Pace) {
        self.shared.state.change(|state| state.pace = pace);
    }

    /// Lets everything go on that waits at [`Step::Gate`] or in [`Script::Stall`], now and later.
    pub fn open_gate(&self) {
        self.shared.state.change(|state| state.gate = None);
    }

    /// How many connections were accepted.
    pub fn count(&self) -> usize {
        self.shared.state.lock().records.len()
    }

    /// All connections, in the order in which they came.
    pub fn connections(&self) -> Vec<Connection> {
        self.shared
            .state
            .lock()
            .records
            .iter()
            .map(Record::snapshot)
            .collect()
    }

    /// Waits until `n` connections were accepted.
    #[track_caller]
    pub fn wait_connections(&self, n: usize) -> Vec<Connection> {
        self.wait(&format!("{n} connections"), |records| records.len() >= n)
    }

    /// Waits until `n` connections were accepted or `time` has passed. Returns how many there are.
    pub fn connections_within(&self, n: usize, time: Duration) -> usize {
        let enough = |state: &mut State| (state.records.len() >= n).then_some(());
        self.shared.state.wait(Deadline::after(time), enough);
        self.count()
    }

    /// Waits until `n` connections sent their header.
    #[track_caller]
    pub fn wait_headers(&self, n: usize) -> Vec<Connection> {
        self.wait(&format!("{n} headers"), |records| {
            count(records, |seen| seen.header.is_some()) >= n
        })
    }

    /// Waits until `n` connections ended.
    #[track_caller]
    pub fn wait_ended(&self, n: usize) -> Vec<Connection> {
        self.wait(&format!("{n} ends"), |records| {
            count(records, |seen| seen.ended.is_some()) >= n
        })
    }

    /// Waits until connection `index` received `bytes` beyond its header.
    #[track_caller]
    pub fn wait_received(&self, index: usize, bytes: u64) -> Connection {
        let what = format!("{bytes} bytes of connection {index}");
        let enough = |record: &Record| record.seen.received >= bytes;
        self.wait(&what, |records| records.get(index).is_some_and(enough))
            .swap_remove(index)
    }

    #[track_caller]
    fn wait(&self, what: &str, reached: impl Fn(&[Record]) -> bool) -> Vec<Connection> {
        let found = self.shared.state.wait(Deadline::patient(), |state| {
            reached(&state.records).then(|| state.records.iter().map(Record::snapshot).collect())
        });
        match found {
            Some(connections) => connections,
            None => panic!("the fake DC waited for {what} in vain: {self:?}"),
        }
    }
}

fn count(records: &[Record], is: impl Fn(&Connection) -> bool) -> usize {
    records.iter().filter(|record| is(&record.seen)).count()
}

impl fmt::Debug for FakeDc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.lock();
        let ended = count(&state.records, |seen| seen.ended.is_some());
        write!(f, "{} connections, {ended} ended", state.records.len())?;
        for record in state.records.iter().take(40) {
            let Connection {
                index,
                header,
                received,
                sent,
                check,
                ended,
                ..
            } = &record.seen;
            let dc = header.map(|header| header.dc);
            write!(
                f,
                "\n  {index}: dc {dc:?}, received {received}, sent {sent}, {check:?}, {ended:?}"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
