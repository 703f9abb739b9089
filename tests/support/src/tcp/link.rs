//! A link between two sides of a test that is slow, cuts segments, breaks or goes dead.
//!
//! Put its address where the target's would stand. Promises: without a fault it passes every byte and every half-close on.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Timer, future};

use crate::clock::{Deadline, Watched};
use crate::tcp;
use crate::worker::{Spawner, Worker};

const BUFFER_LEN: usize = 16_384;

/// What is wrong with one direction of a link. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// Bytes a second.
    pub rate: Option<u32>,
    /// At most this many bytes a segment.
    pub segment: Option<usize>,
    /// Cuts both sides after this many bytes.
    pub reset_at: Option<u64>,
    /// After this many bytes nothing is read or passed on, for ever, and nobody is told.
    pub dead_at: Option<u64>,
}

/// What the link has passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Connections accepted.
    pub connections: usize,
    /// Bytes towards the target.
    pub up: u64,
    /// Bytes from it.
    pub down: u64,
}

/// A link on a thread of its own. Dropping it cuts what goes over it.
#[derive(Debug)]
pub struct Link {
    addr: SocketAddr,
    passed: Arc<Watched<Passed>>,
    _worker: Worker,
}

impl Link {
    /// A link to `target` with these faults towards it and from it.
    pub fn start(target: SocketAddr, up: Fault, down: Fault) -> Link {
        let socket = tcp::bound(([127, 0, 0, 1], 0).into()).expect("127.0.0.1 has a free port");
        tcp::listen(&socket).expect("a bound socket listens");
        let addr = socket.local_addr().expect("a bound socket has an address");
        let passed = Arc::new(Watched::new(Passed::default()));
        let noted = Arc::clone(&passed);
        let worker = Worker::start("link", move |spawner| {
            spawner.spawn(accept(socket, target, up, down, noted, spawner.clone()));
        });
        Link {
            addr,
            passed,
            _worker: worker,
        }
    }

    /// Where to connect instead of the target.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What has gone over it.
    pub fn passed(&self) -> Passed {
        *self.passed.lock()
    }

    /// Waits until enough has gone over it.
    #[track_caller]
    pub fn wait(&self, enough: impl Fn(&Passed) -> bool) -> Passed {
        match self
            .passed
            .wait(Deadline::patient(), |passed| enough(passed).then_some(*passed))
        {
            Some(passed) => passed,
            None => panic!("the link waited in vain: {:?}", self.passed()),
        }
    }
}

async fn accept(
    socket: TcpListener,
    target: SocketAddr,
    up: Fault,
    down: Fault,
    passed: Arc<Watched<Passed>>,
    spawner: Spawner,
) {
    let listener = Async::new(socket).expect("a listener can be polled");
    loop {
        let Ok((near, _)) = listener.accept().await else {
            continue;
        };
        passed.change(|passed| passed.connections += 1);
        let passed = Arc::clone(&passed);
        spawner.spawn(async move {
            // When the target refuses, so does the link, as well as it can: by a reset.
            let Ok(far) = Async::<TcpStream>::connect(target).await else {
                tcp::reset_on_close(near.get_ref());
                return;
            };
            let towards = carry(&near, &far, up, |len| passed.change(|passed| passed.up += len));
            let back = carry(&far, &near, down, |len| {
                passed.change(|passed| passed.down += len)
            });
            if future::try_zip(towards, back).await.is_err() {
                tcp::reset_on_close(near.get_ref());
                tcp::reset_on_close(far.get_ref());
            }
        });
    }
}

/// Carries one direction to its end; an error means that both sides are to be cut.
async fn carry(
    from: &Async<TcpStream>,
    to: &Async<TcpStream>,
    fault: Fault,
    passed: impl Fn(u64),
) -> io::Result<()> {
    to.get_ref().set_nodelay(true)?;
    let mut bytes = vec![0; BUFFER_LEN.min(fault.segment.unwrap_or(BUFFER_LEN).max(1))];
    let mut total = 0u64;
    loop {
        let until = |limit: Option<u64>| limit.map_or(u64::MAX, |limit| limit - total);
        if until(fault.reset_at) == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if until(fault.dead_at) == 0 {
            future::pending::<()>().await;
        }
        let most = until(fault.reset_at)
            .min(until(fault.dead_at))
            .min(bytes.len() as u64) as usize;
        let (mut reader, mut writer) = (from, to);
        let len = reader.read(&mut bytes[..most]).await?;
        if len == 0 {
            return to.get_ref().shutdown(Shutdown::Write);
        }
        writer.write_all(&bytes[..len]).await?;
        total += len as u64;
        passed(len as u64);
        if let Some(rate) = fault.rate {
            Timer::after(Duration::from_secs_f64(len as f64 / f64::from(rate.max(1)))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Client, End};
    use crate::fake_dc::{FakeDc, Script, Then};
    use crate::obfuscated2::Tag;
    use crate::rng::Stream;

    #[test]
    fn link_passes_everything_on_in_small_segments() {
        let dc = FakeDc::start(Script::sink(1, 5000));
        let link = Link::start(
            dc.addr(),
            Fault {
                segment: Some(7),
                ..Fault::default()
            },
            Fault::default(),
        );
        let mut client = Client::direct(link.addr(), Tag::PADDED, 1);
        client
            .writer
            .send_stream(&mut Stream::new(1), 5000)
            .expect("it reads");
        client.finish().expect("a connection");
        assert_eq!(client.recv_to_end().1, End::Eof);
        dc.wait_ended(1)[0].assert_upload();
        assert_eq!(link.passed().up, 5064);
    }

    #[test]
    fn link_breaks_where_it_should() {
        let dc = FakeDc::start(Script::source(1, 5000, Then::Stay));
        let link = Link::start(
            dc.addr(),
            Fault::default(),
            Fault {
                reset_at: Some(1234),
                ..Fault::default()
            },
        );
        let mut client = Client::direct(link.addr(), Tag::PADDED, 1);
        let (count, end) = client.reader.stream_to_end(&mut Stream::new(1));
        assert!(count <= 1234);
        assert_eq!(end, End::Reset);
        assert_eq!(dc.wait_ended(1).len(), 1);
    }

    #[test]
    fn link_goes_dead_and_tells_nobody() {
        let dc = FakeDc::start(Script::source(1, 5000, Then::Close));
        let link = Link::start(
            dc.addr(),
            Fault::default(),
            Fault {
                dead_at: Some(100),
                ..Fault::default()
            },
        );
        let mut client = Client::direct(link.addr(), Tag::PADDED, 1);
        client.reader.expect_stream(&mut Stream::new(1), 100);
        link.wait(|passed| passed.down == 100);
        client
            .raw()
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("a positive time");
        assert_eq!(client.recv_to_end(), (Vec::new(), End::Timeout));
    }
}
