//! Descriptors, timers and threads against the real kernel.

use super::*;
use smol::future;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use std::cell::RefCell;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::pin::pin;
use std::time::Duration;

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
        ours.ready(Interest::Read).await.unwrap();
        assert_eq!(ours.get_ref().read(&mut [0; 9]).unwrap(), 1);
        let mut readable = pin!(ours.ready(Interest::Read));
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
}
