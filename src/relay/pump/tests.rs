//! Bulk transfers wait in the fair queue.

use super::*;
use crate::pool::BufferPool;
use crate::relay::flow_control::UNCONFIRMED_CHUNK;
use crate::relay::live_sessions::SessionRegistry;
use crate::relay::pipe_pool::PipePool;
use mtrelay_core::reactor::Async;
use mtrelay_core::scheduler::Ticket;
use mtrelay_core::scheduler::block_on;
use smol::future;
use std::cell::Cell;
use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;
use wire::cipher::Stream;
use wire::cipher::StreamKey;

fn pair() -> (Async<TcpStream>, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let ours = listener.accept().unwrap().0;
    ours.set_nodelay(true).unwrap();
    (Async::new(ours).unwrap(), other)
}

/// Polls the pump once, after a look at the reactor.
async fn look(pump: &mut Pump<'_>) {
    future::yield_now().await;
    let end = future::poll_once(poll_fn(|context| pump.poll(context))).await;
    assert!(end.is_none(), "{end:?}");
}

/// Sends these bytes, and returns when all of them have arrived.
fn send(sender: &mut TcpStream, to: &Async<TcpStream>, bytes: &[u8]) {
    sender.write_all(bytes).unwrap();
    let mut room = vec![0; bytes.len()];
    while to.get_ref().peek(&mut room).unwrap_or_default() < bytes.len() {
        std::thread::yield_now();
    }
}

#[test]
fn bulk_transfer_waits_in_the_fair_queue_until_it_has_little_to_move() {
    let (from, mut sender) = pair();
    let (to, mut receiver) = pair();
    receiver.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (pool, pipes) = (BufferPool::new(4, 16 * 1024), PipePool::new(2, 1 << 20));
    let registry = Rc::new(SessionRegistry::default());
    let handle = registry.begin(None, Ipv4Addr::LOCALHOST.into());
    let key = StreamKey {
        key: [1; 32],
        iv: [2; 16],
    };
    let moved = Cell::new(0);
    let count = |len| moved.set(moved.get() + len);
    let mut pump = Pump::new(Direction {
        from: &from,
        to: &to,
        transform: Transform {
            recrypt: Some((Stream::new(&key), Stream::new(&key))),
            ..Transform::default()
        },
        pool: &pool,
        pipes: &pipes,
        handle: &handle,
        moved: &count,
    });
    // A slow processor: one chunk is a whole turn.
    pump.slice = UNCONFIRMED_CHUNK;
    block_on(&smol::LocalExecutor::new(), async {
        send(&mut sender, &from, &[1; UNCONFIRMED_CHUNK]);
        look(&mut pump).await;
        assert_eq!(moved.get(), UNCONFIRMED_CHUNK);
        send(&mut sender, &from, b"more");
        let _other = in_line().await;
        look(&mut pump).await;
        assert_eq!(moved.get(), UNCONFIRMED_CHUNK, "another task was queued before");
        look(&mut pump).await;
        assert_eq!(moved.get(), UNCONFIRMED_CHUNK + 4);
        send(&mut sender, &from, b"little");
        let _other = in_line().await;
        look(&mut pump).await;
        assert_eq!(
            moved.get(),
            UNCONFIRMED_CHUNK + 10,
            "a small transfer does not queue"
        );
    })
    .unwrap();
    receiver.read_exact(&mut [0; UNCONFIRMED_CHUNK + 10]).unwrap();
}

/// Another task in the fair queue.
async fn in_line() -> Ticket {
    let mut ticket = Ticket::default();
    // The first one to queue goes on at once.
    while future::poll_once(poll_fn(|context| ticket.poll(Kind::Other, context)))
        .await
        .is_some()
    {}
    ticket
}
