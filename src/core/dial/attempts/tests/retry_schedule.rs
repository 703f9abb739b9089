//! A session's schedule over several dialings.

use super::*;
use ConnectFailure::{Refused, Timeout};

const AT_ONCE: NextDial = NextDial::Dial {
    after: Duration::ZERO,
};

fn after(ms: u64) -> NextDial {
    NextDial::Dial {
        after: Duration::from_millis(ms),
    }
}

#[test]
fn the_next_address_is_dialled_at_once_and_a_full_round_waits() {
    let all = addresses("4.1 4.2");
    let mut schedule = RetrySchedule::default();
    assert!(schedule.is_first());
    for expected in [AT_ONCE, after(200), after(400), after(800)] {
        assert_eq!(schedule.poll_next(&all, 0), expected);
        schedule.handle_connected(address("4.1"));
        assert!(!schedule.is_first());
        assert_eq!(schedule.poll_next(&all, 0), AT_ONCE);
        assert_eq!(schedule.tried(), addresses("4.1"));
        schedule.handle_failed(address("4.2"), Timeout);
    }
    assert_eq!(schedule.poll_next(&all, 0), NextDial::Exhausted);
}

#[test]
fn the_wait_is_jittered() {
    let mut schedule = RetrySchedule::default();
    schedule.handle_failed(address("4.1"), Timeout);
    let NextDial::Dial { after } = schedule.poll_next(&addresses("4.1"), u32::MAX) else {
        panic!("it goes on");
    };
    let range = Duration::from_millis(150)..Duration::from_millis(152);
    assert!(range.contains(&after), "{after:?}");
}

#[test]
fn where_every_address_refuses_it_ends_at_once() {
    let all = addresses("4.1 4.2");
    let mut schedule = RetrySchedule::default();
    schedule.handle_failed(address("4.1"), Refused);
    assert_eq!(schedule.poll_next(&all, 0), AT_ONCE);
    schedule.handle_failed(address("4.2"), Refused);
    assert_eq!(schedule.poll_next(&all, 0), NextDial::Refused);
}

#[test]
fn an_address_that_refuses_after_it_had_connected_counts_as_refusing() {
    let all = addresses("4.1");
    let mut schedule = RetrySchedule::default();
    schedule.handle_connected(address("4.1"));
    assert_eq!(schedule.poll_next(&all, 0), after(200));
    schedule.handle_failed(address("4.1"), Refused);
    assert_eq!(schedule.poll_next(&all, 0), NextDial::Refused);
}

#[test]
fn one_that_does_not_refuse_is_worth_another_round() {
    let all = addresses("4.1 4.2");
    let mut schedule = RetrySchedule::default();
    schedule.handle_failed(address("4.1"), Refused);
    schedule.handle_failed(address("4.2"), Timeout);
    assert_eq!(schedule.poll_next(&all, 0), after(200));
}

#[test]
fn a_warm_connection_that_was_stale_takes_no_turn() {
    let mut schedule = RetrySchedule::default();
    schedule.handle_warm();
    assert!(!schedule.is_first());
    assert!(schedule.has_other(&addresses("4.1")));
    assert_eq!(schedule.poll_next(&addresses("4.1"), 0), AT_ONCE);
}

#[test]
fn an_address_that_was_only_overtaken_may_still_answer() {
    let all = addresses("4.1 6.1");
    let mut schedule = RetrySchedule::default();
    schedule.handle_connected(address("4.1"));
    assert!(schedule.has_other(&all));
    schedule.handle_connected(address("6.1"));
    assert!(!schedule.has_other(&all));
}

#[test]
fn rounds_end_whatever_wins() {
    for seed in 1..=500 {
        let mut random = Random(seed);
        let all = addresses("4.1 4.2 6.1");
        let mut schedule = RetrySchedule::default();
        let mut dialled = 0;
        while let NextDial::Dial { .. } = schedule.poll_next(&all, 0) {
            dialled += 1;
            assert!(dialled <= all.len() * (BACKOFF.len() + 2), "seed {seed}");
            let picked = all[random.below(3) as usize];
            let tried = schedule.tried();
            let untried = all
                .iter()
                .filter(|address| !tried.contains(address))
                .copied()
                .collect::<Vec<_>>();
            match random.below(3) {
                0 => schedule.handle_connected(picked),
                1 => schedule.handle_connected(untried[0]),
                _ => untried
                    .into_iter()
                    .for_each(|address| schedule.handle_failed(address, Timeout)),
            }
        }
    }
}
