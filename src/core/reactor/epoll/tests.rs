//! What the reactor keeps, and for how long.

use super::event_loop::Reactor;
use super::*;
use crate::reactor::Async;
use smol::future;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

fn pair() -> (Async<TcpStream>, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Async::new(listener.accept().unwrap().0).unwrap(), other)
}

#[test]
fn timers_leave_the_reactor_when_they_fire_and_when_they_are_dropped() {
    let after = |ms| Timer::after(Duration::from_millis(ms));
    block_on(future::or(after(5), after(5000))).unwrap();
    assert!(Reactor::with(|reactor| reactor.timers.borrow().is_empty()).unwrap());
}

#[test]
fn places_are_used_again() {
    let (first, _other) = pair();
    let key = first.source.key;
    drop(first);
    let (second, _other) = pair();
    assert_eq!(second.source.key, key);
}
