//! Descriptors, timers and threads against the real kernel.

use super::*;
use smol::future;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

fn pair() -> (Async<TcpStream>, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Async::new(listener.accept().unwrap().0).unwrap(), other)
}

#[test]
fn a_reader_is_woken_by_what_arrives_and_by_the_end() {
    let (mut ours, mut theirs) = pair();
    let read = async {
        let mut all = Vec::new();
        ours.read_to_end(&mut all).await.unwrap();
        all
    };
    let write = async {
        for piece in [b"ab", b"cd"] {
            future::yield_now().await;
            theirs.write_all(piece).unwrap();
            Timer::after(Duration::from_millis(2)).await;
        }
        drop(theirs);
    };
    assert_eq!(block_on(future::zip(read, write)).unwrap().0, b"abcd");
}

#[test]
fn a_writer_waits_for_room() {
    const LEN: usize = 32 << 20;
    let (mut ours, theirs) = pair();
    let reader = std::thread::spawn(move || io::copy(&mut &theirs, &mut io::sink()).unwrap());
    block_on(async move { ours.write_all(&vec![7; LEN]).await.unwrap() }).unwrap();
    assert_eq!(reader.join().unwrap(), LEN as u64);
}

#[test]
fn level_and_hint_agree_however_the_bytes_were_taken() {
    let (ours, mut theirs) = pair();
    block_on(async {
        theirs.write_all(b"x").unwrap();
        ours.readable().await.unwrap();
        assert_eq!(ours.get_ref().read(&mut [0; 9]).unwrap(), 1);
        let mut readable = pin!(ours.readable());
        assert!(
            future::poll_once(&mut readable).await.is_none(),
            "nothing is left"
        );
        theirs.write_all(b"y").unwrap();
        readable.await.unwrap();
    })
    .unwrap();
}

#[test]
fn another_thread_wakes_us() {
    let (sender, receiver) = smol::channel::bounded(1);
    let other = std::thread::spawn(move || sender.send_blocking(5).unwrap());
    assert_eq!(block_on(receiver.recv()).unwrap(), Ok(5));
    other.join().unwrap();
}

#[test]
fn timers_fire_in_their_order_and_not_after_they_are_dropped() {
    let order = RefCell::new(Vec::new());
    let wait = |ms| {
        let order = &order;
        async move {
            Timer::after(Duration::from_millis(ms)).await;
            order.borrow_mut().push(ms);
        }
    };
    block_on(async {
        // Polled in the order in which they are due: on a machine that was held up they may be due together.
        future::zip(wait(1), future::zip(future::or(wait(10), wait(5000)), wait(20))).await;
    })
    .unwrap();
    assert_eq!(order.into_inner(), [1, 10, 20]);
    assert!(Reactor::with(|reactor| reactor.timers.borrow().is_empty()).unwrap());
}

#[test]
fn places_are_used_again() {
    let (first, _other) = pair();
    let key = first.key;
    drop(first);
    let (second, _other) = pair();
    assert_eq!(second.key, key);
}

/// Whoever is woken by a look comes before whoever has much to do, of whom one goes on at each look.
#[test]
fn the_line_goes_on_by_one_at_each_look_and_after_all_others() {
    const ROUNDS: usize = 3;
    let (ours, theirs) = pair();
    let order = RefCell::new(Vec::new());
    let (order, theirs) = (&order, &theirs);
    let executor = smol::LocalExecutor::new();
    for name in ["first", "second", "third"] {
        let much = async move {
            let mut place = Place::default();
            for _ in 0..ROUNDS {
                std::future::poll_fn(|context| place.poll(Kind::Other, context)).await;
                order.borrow_mut().push(name);
                (&mut &*theirs).write_all(b"?").unwrap();
            }
        };
        executor.spawn(much).detach();
    }
    let little = async {
        for _ in 0..3 * ROUNDS {
            ours.read_with(|mut socket| socket.read_exact(&mut [0]))
                .await
                .unwrap();
            order.borrow_mut().push("little");
        }
    };
    block_on(executor.run(little)).unwrap();
    // The first one meets nobody and goes on at once, and then lines up before the others have begun.
    let line = "first first second third first second third second third";
    let expected: Vec<&str> = line.split(' ').flat_map(|name| [name, "little"]).collect();
    assert_eq!(*order.borrow(), expected);
}

/// The names of those who line up, in the order in which they are called.
fn order_of_calls(line: &[(&'static str, Kind)]) -> Vec<&'static str> {
    let order = RefCell::new(Vec::new());
    let order = &order;
    let executor = smol::LocalExecutor::new();
    let come = |(name, kind)| async move {
        let mut place = Place::default();
        std::future::poll_fn(|context| place.poll(kind, context)).await;
        order.borrow_mut().push(name);
    };
    let all: Vec<_> = line.iter().map(|who| executor.spawn(come(*who))).collect();
    block_on(executor.run(async {
        for task in all {
            task.await;
        }
    }))
    .unwrap();
    order.take()
}

#[test]
fn whoever_holds_what_others_lack_comes_before_them() {
    let line = [
        ("at once", Kind::Other),
        ("first other", Kind::Other),
        ("second other", Kind::Other),
        ("first holder", Kind::Holder),
        ("second holder", Kind::Holder),
    ];
    let called = [
        "at once",
        "first holder",
        "second holder",
        "first other",
        "second other",
    ];
    assert_eq!(order_of_calls(&line), called);
}

/// A task that is gone leaves its place to the next one, and who is called late has the place still.
#[test]
fn a_place_in_the_line_is_neither_inherited_nor_lost() {
    let mut places = [Place::default(), Place::default(), Place::default()];
    block_on(async {
        std::future::poll_fn(|context| Place::default().poll(Kind::Other, context)).await;
        for place in &mut places {
            let poll = std::future::poll_fn(|context| place.poll(Kind::Other, context));
            let called = future::poll_once(poll).await;
            assert!(called.is_none(), "everybody waits for the next look");
        }
        places[1] = Place::default();
        for look in 0..3 {
            future::yield_now().await;
            let waiting = [places[0].is_waiting(), places[2].is_waiting()];
            assert_eq!(waiting, [false, look < 2], "look {look}");
        }
    })
    .unwrap();
}
