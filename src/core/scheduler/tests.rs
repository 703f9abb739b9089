//! The order in which tasks and bulk transfers run.

use super::*;
use crate::reactor::{Async, Interest, Timer};
use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::rc::Rc;

fn pair() -> (Async<TcpStream>, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Async::new(listener.accept().unwrap().0).unwrap(), other)
}

#[test]
fn busy_tasks_delay_the_main_one_by_a_few_turns_only() {
    let executor = LocalExecutor::new();
    let turns = Rc::new(std::cell::Cell::new(0));
    for _ in 0..100 {
        let turns = turns.clone();
        let busy = async move {
            loop {
                turns.set(turns.get() + 1);
                future::yield_now().await;
            }
        };
        executor.spawn(busy).detach();
    }
    let main = async {
        for _ in 0..100 {
            let before = turns.get();
            future::yield_now().await;
            let passed = turns.get() - before;
            assert!(passed <= TASKS_PER_LOOK, "{passed} turns");
        }
        // Timers of the reactor fire meanwhile.
        Timer::after(Duration::from_millis(1)).await;
    };
    block_on(&executor, main).expect("descriptors are left");
    assert!(turns.get() >= 100, "the others have their turns: {}", turns.get());
}

/// Tasks that a look has woken run before bulk tasks, one of which runs after each look.
#[test]
fn one_bulk_task_runs_after_each_look_behind_all_others() {
    const ROUNDS: usize = 3;
    let (ours, theirs) = pair();
    let order = RefCell::new(Vec::new());
    let (order, theirs) = (&order, &theirs);
    let executor = LocalExecutor::new();
    for name in ["first", "second", "third"] {
        let much = async move {
            let mut ticket = Ticket::default();
            for _ in 0..ROUNDS {
                std::future::poll_fn(|context| ticket.poll(Kind::Other, context)).await;
                order.borrow_mut().push(name);
                (&mut &*theirs).write_all(b"?").unwrap();
            }
        };
        executor.spawn(much).detach();
    }
    let little = async {
        for _ in 0..3 * ROUNDS {
            ours.try_io(Interest::Read, |mut socket| socket.read_exact(&mut [0]))
                .await
                .unwrap();
            order.borrow_mut().push("little");
        }
    };
    block_on(&executor, little).unwrap();
    // The first one runs at once, since the queue is empty, and then joins it before the others have begun.
    let bulk = "first first second third first second third second third".split(' ');
    let order = order.take();
    if cfg!(feature = "async-io") {
        // A look brings no events while the helper thread of async-io holds the reactor, so only the bulk tasks have a fixed order.
        let found = order.iter().copied().filter(|name| *name != "little");
        assert!(found.eq(bulk), "{order:?}");
    } else {
        let expected: Vec<&str> = bulk.flat_map(|name| [name, "little"]).collect();
        assert_eq!(order, expected);
    }
}

/// The names of the tasks that queue, in the order in which they are called.
fn order_of_calls(queue: &[(&'static str, Kind)]) -> Vec<&'static str> {
    let order = RefCell::new(Vec::new());
    let order = &order;
    let executor = LocalExecutor::new();
    let come = |(name, kind)| async move {
        let mut ticket = Ticket::default();
        std::future::poll_fn(|context| ticket.poll(kind, context)).await;
        order.borrow_mut().push(name);
    };
    let all: Vec<_> = queue.iter().map(|task| executor.spawn(come(*task))).collect();
    block_on(&executor, async {
        for task in all {
            task.await;
        }
    })
    .unwrap();
    order.take()
}

#[test]
fn holders_of_a_shared_resource_are_called_first() {
    let queue = [
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
    assert_eq!(order_of_calls(&queue), called);
}

/// A dropped ticket passes its turn, and a ticket that is polled late has kept it.
#[test]
fn a_turn_is_neither_inherited_nor_lost() {
    let mut tickets = [Ticket::default(), Ticket::default(), Ticket::default()];
    block_on(&LocalExecutor::new(), async {
        std::future::poll_fn(|context| Ticket::default().poll(Kind::Other, context)).await;
        for ticket in &mut tickets {
            let poll = std::future::poll_fn(|context| ticket.poll(Kind::Other, context));
            let called = future::poll_once(poll).await;
            assert!(called.is_none(), "each waits for the next look");
        }
        tickets[1] = Ticket::default();
        for look in 0..3 {
            future::yield_now().await;
            let waiting = [tickets[0].is_waiting(), tickets[2].is_waiting()];
            assert_eq!(waiting, [false, look < 2], "look {look}");
        }
    })
    .unwrap();
}
