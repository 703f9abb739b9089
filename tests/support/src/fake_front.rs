//! The site that strangers are sent to, as far as a relay can tell: it records every byte and answers by a fixed rule.
//!
//! Promises: what it received is kept byte for byte, up to 1 MiB a visit; all waits have a deadline.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use smol::Async;
use smol::io::{AsyncReadExt, AsyncWriteExt};

use crate::clock::{Deadline, Watched};
use crate::fake_dc::{Ended, Then};
use crate::tcp;
use crate::worker::{Spawner, Worker};

const KEEP_LEN: usize = 1 << 20;

/// What a real server says to garbage: a fatal alert, decode_error.
pub const TLS_ALERT: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x32];

/// What a web server says to garbage.
pub const HTTP_BAD_REQUEST: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// The rule by which a front answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// It waits for this many bytes first (or for the visitor's end).
    pub after: usize,
    /// Then it sends these.
    pub bytes: Vec<u8>,
    /// And then does this.
    pub then: Then,
}

impl Answer {
    /// An alert to the first byte, then the end: what a TLS server does with what it cannot read.
    pub fn alert() -> Answer {
        Answer {
            after: 1,
            bytes: TLS_ALERT.to_vec(),
            then: Then::Close,
        }
    }
}

/// One visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// What came, byte for byte, up to 1 MiB.
    pub bytes: Vec<u8>,
    /// How it ended, once it did.
    pub ended: Option<Ended>,
}

/// A front on a thread of its own. Dropping it cuts all visits.
#[derive(Debug)]
pub struct FakeFront {
    addr: SocketAddr,
    visits: Arc<Watched<Vec<Visit>>>,
    _worker: Worker,
}

impl FakeFront {
    /// One that listens on 127.0.0.1:0.
    pub fn start(answer: Answer) -> FakeFront {
        FakeFront::start_on(([127, 0, 0, 1], 0).into(), answer)
    }

    /// One that listens here.
    pub fn start_on(addr: SocketAddr, answer: Answer) -> FakeFront {
        let socket = tcp::bound(addr).expect("a local address has a free port");
        tcp::listen(&socket).expect("a bound socket listens");
        let addr = socket.local_addr().expect("a bound socket has an address");
        let visits = Arc::new(Watched::new(Vec::new()));
        let noted = Arc::clone(&visits);
        let worker = Worker::start("front", move |spawner| {
            spawner.spawn(accept(socket, answer, noted, spawner.clone()));
        });
        FakeFront {
            addr,
            visits,
            _worker: worker,
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// All visits so far.
    pub fn visits(&self) -> Vec<Visit> {
        self.visits.lock().clone()
    }

    /// Waits until this many visits have come.
    #[track_caller]
    pub fn wait_visits(&self, count: usize) -> Vec<Visit> {
        self.wait(&format!("{count} visits"), |visits| visits.len() >= count)
    }

    /// Waits until this many visits have ended.
    #[track_caller]
    pub fn wait_ended(&self, count: usize) -> Vec<Visit> {
        let ended = |visits: &[Visit]| visits.iter().filter(|visit| visit.ended.is_some()).count();
        self.wait(&format!("{count} ends"), |visits| ended(visits) >= count)
    }

    /// Waits until visit `index` has received this many bytes.
    #[track_caller]
    pub fn wait_received(&self, index: usize, bytes: usize) -> Visit {
        let enough = |visits: &[Visit]| visits.get(index).is_some_and(|visit| visit.bytes.len() >= bytes);
        self.wait(&format!("{bytes} bytes of visit {index}"), enough)
            .swap_remove(index)
    }

    #[track_caller]
    fn wait(&self, what: &str, reached: impl Fn(&[Visit]) -> bool) -> Vec<Visit> {
        let found = self.visits.wait(Deadline::patient(), |visits| {
            reached(visits).then(|| visits.clone())
        });
        match found {
            Some(visits) => visits,
            None => panic!(
                "the front waited for {what} in vain: {} visits",
                self.visits().len()
            ),
        }
    }
}

async fn accept(socket: TcpListener, answer: Answer, visits: Arc<Watched<Vec<Visit>>>, spawner: Spawner) {
    let listener = Async::new(socket).expect("a listener can be polled");
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        let index = visits.change(|visits| {
            visits.push(Visit {
                bytes: Vec::new(),
                ended: None,
            });
            visits.len() - 1
        });
        let (visits, answer) = (Arc::clone(&visits), answer.clone());
        spawner.spawn(async move {
            let ended = match serve(&socket, &answer, &visits, index).await {
                Ok(ended) => ended,
                Err(error) => match error.kind() {
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ended::Reset,
                    kind => Ended::Failed(kind),
                },
            };
            drop(socket);
            visits.change(|visits| visits[index].ended = Some(ended));
        });
    }
}

async fn serve(
    mut socket: &Async<TcpStream>,
    answer: &Answer,
    visits: &Watched<Vec<Visit>>,
    index: usize,
) -> io::Result<Ended> {
    let mut piece = vec![0; 16_384];
    let (mut received, mut end) = (0, false);
    while received < answer.after && !end {
        let len = socket.read(&mut piece).await?;
        keep(visits, index, &piece[..len]);
        received += len;
        end = len == 0;
    }
    socket.write_all(&answer.bytes).await?;
    match answer.then {
        Then::Close => {
            // Unread bytes would turn the close into a reset.
            while let Ok(len @ 1..) = io::Read::read(&mut socket.get_ref(), &mut piece) {
                keep(visits, index, &piece[..len]);
            }
            return Ok(Ended::Script);
        }
        Then::Reset => {
            tcp::reset_on_close(socket.get_ref());
            return Ok(Ended::Script);
        }
        Then::HalfClose => socket.get_ref().shutdown(Shutdown::Write)?,
        Then::Stay => {}
    }
    while !end {
        let len = socket.read(&mut piece).await?;
        keep(visits, index, &piece[..len]);
        end = len == 0;
    }
    Ok(Ended::Eof)
}

fn keep(visits: &Watched<Vec<Visit>>, index: usize, bytes: &[u8]) {
    visits.change(|visits| {
        let kept = &mut visits[index].bytes;
        kept.extend_from_slice(&bytes[..bytes.len().min(KEEP_LEN - kept.len())]);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn front_keeps_what_came_and_answers_by_its_rule() {
        let front = FakeFront::start(Answer {
            after: 5,
            ..Answer::alert()
        });
        let mut socket = TcpStream::connect(front.addr()).expect("it listens");
        socket.write_all(b"hello").expect("it reads");
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).expect("an end, no reset");
        assert_eq!(answer, TLS_ALERT);
        let visit = front.wait_ended(1).swap_remove(0);
        assert_eq!(
            (visit.bytes.as_slice(), visit.ended),
            (&b"hello"[..], Some(Ended::Script))
        );
    }

    #[test]
    fn front_that_stays_reads_until_the_visitor_ends() {
        let front = FakeFront::start(Answer {
            after: 0,
            bytes: b"hi".to_vec(),
            then: Then::Stay,
        });
        let mut socket = TcpStream::connect(front.addr()).expect("it listens");
        let mut answer = [0; 2];
        socket.read_exact(&mut answer).expect("it answers unasked");
        socket.write_all(b"bye").expect("it reads");
        drop(socket);
        let visit = front.wait_ended(1).swap_remove(0);
        assert_eq!(
            (visit.bytes.as_slice(), visit.ended),
            (&b"bye"[..], Some(Ended::Eof))
        );
    }
}
