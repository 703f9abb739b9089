//! When a half goes on, by the reactor's looks.

use super::*;
use crate::relay::live_sessions::SessionRegistry;
use mtrelay_core::reactor::block_on;
use smol::future;
use std::cell::Cell;
use std::future::poll_fn;
use std::net::{Ipv4Addr, TcpListener};
use std::rc::Rc;
use wire::cipher::StreamKey;

fn pair() -> (Async<TcpStream>, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let ours = listener.accept().unwrap().0;
    ours.set_nodelay(true).unwrap();
    (Async::new(ours).unwrap(), other)
}

/// Polls the flow once, after a look at the reactor.
async fn look(flow: &mut Flow<'_>) {
    future::yield_now().await;
    let end = future::poll_once(poll_fn(|context| flow.poll(context))).await;
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
fn whoever_moved_much_lets_the_others_go_first_until_it_has_little() {
    let (from, mut sender) = pair();
    let (to, mut receiver) = pair();
    receiver.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (pool, pipes) = (BufferPool::new(4, 16 * 1024), Pipes::new(2, 1 << 20));
    let registry = Rc::new(SessionRegistry::default());
    let pulse = registry.begin(None, Ipv4Addr::LOCALHOST.into());
    let key = StreamKey {
        key: [1; 32],
        iv: [2; 16],
    };
    let moved = Cell::new(0);
    let count = |len| moved.set(moved.get() + len);
    let mut flow = Flow::new(Half {
        from: &from,
        to: &to,
        treatment: Treatment {
            recrypt: Some((Stream::new(&key), Stream::new(&key))),
            ..Treatment::default()
        },
        pool: &pool,
        pipes: &pipes,
        pulse: &pulse,
        moved: &count,
    });
    // A slow processor: this is a whole turn.
    flow.slice = PIECE;
    block_on(async {
        send(&mut sender, &from, &[1; PIECE]);
        look(&mut flow).await;
        assert_eq!(moved.get(), PIECE);
        send(&mut sender, &from, b"more");
        let _other = in_line().await;
        look(&mut flow).await;
        assert_eq!(moved.get(), PIECE, "another one was there before it");
        look(&mut flow).await;
        assert_eq!(moved.get(), PIECE + 4);
        send(&mut sender, &from, b"little");
        let _other = in_line().await;
        look(&mut flow).await;
        assert_eq!(moved.get(), PIECE + 10, "whoever has little does not line up");
    })
    .unwrap();
    receiver.read_exact(&mut [0; PIECE + 10]).unwrap();
}

/// Somebody else in the line.
async fn in_line() -> Place {
    let mut place = Place::default();
    // The first one may go on at once.
    while future::poll_once(poll_fn(|context| place.poll(Kind::Other, context)))
        .await
        .is_some()
    {}
    place
}
