use super::connection_pace::{ConnectionPace, TRIAL_INTERVAL};
use super::*;

const MS: Duration = Duration::from_millis(1);

fn start() -> Instant {
    mtrelay_core::sys::clock::now()
}

fn open(lines: usize) -> Pace {
    let mut pace = Pace::new(lines);
    (0..lines).for_each(|line| pace.handle_opened(line));
    pace
}

fn take(pace: &mut Pace, now: Instant) -> Vec<Permit> {
    let next = || match pace.poll_permit(now) {
        Grant::Go(permit) => Some(permit),
        Grant::Wait(_) => None,
    };
    std::iter::from_fn(next).collect()
}

/// Takes all permits and answers them after `took`. Returns their number.
fn round(pace: &mut Pace, now: &mut Instant, took: Duration) -> usize {
    let permits = take(pace, *now);
    *now += took;
    permits
        .iter()
        .for_each(|permit| pace.handle_answer(permit, 1 << 18, *now));
    permits.len()
}

#[test]
fn the_limit_grows_with_answers() {
    let (mut pace, mut now) = (open(2), start());
    assert_eq!(take(&mut pace, now).len(), 4);
    let mut pace = open(2);
    for _ in 0..100 {
        round(&mut pace, &mut now, 100 * MS);
    }
    let permits = take(&mut pace, now);
    assert_eq!(permits.len(), 16);
    assert_eq!(permits.iter().filter(|permit| permit.slot == 0).count(), 8);
}

#[test]
fn slow_answers_lower_the_limit() {
    let (mut pace, mut now) = (open(1), start());
    for _ in 0..50 {
        round(&mut pace, &mut now, 200 * MS);
    }
    assert_eq!(round(&mut pace, &mut now, 200 * MS), 8);
    round(&mut pace, &mut now, 5000 * MS);
    assert!(round(&mut pace, &mut now, 200 * MS) < 8);
}

#[test]
fn a_wait_holds_for_all_connections_and_halves_the_limit_once() {
    let (mut pace, mut now) = (open(4), start());
    let permits = take(&mut pace, now);
    assert_eq!(permits.len(), 8);
    for (permit, secs) in permits.iter().zip([3, 2, 5, 1, 1, 1, 1, 1]) {
        pace.handle_wait(Duration::from_secs(secs), 250 * MS, now);
        pace.handle_failed(permit);
    }
    let until = now + 5250 * MS;
    assert_eq!(pace.poll_permit(now), Grant::Wait(Some(until)));
    assert_eq!(pace.poll_permit(until - MS), Grant::Wait(Some(until)));
    now = until;
    assert_eq!(take(&mut pace, now).len(), 4);
    // Down to one, never to zero.
    for _ in 0..10 {
        pace.handle_wait(Duration::from_secs(1), Duration::ZERO, now);
        now += Duration::from_secs(1);
    }
    let mut pace_at_one = pace;
    pace_at_one.slots.iter_mut().for_each(|line| line.in_flight = 0);
    assert_eq!(take(&mut pace_at_one, now).len(), 1);
}

#[test]
fn after_a_slow_answer_growth_is_careful() {
    let (mut pace, mut now) = (open(1), start());
    // Every answer raises the limit by one, until one is slow; then a whole round raises it by one.
    let counts: Vec<usize> = [100, 100, 5000, 100, 100, 100, 100]
        .iter()
        .map(|took| round(&mut pace, &mut now, *took * MS))
        .collect();
    assert_eq!(counts[..3], [2, 4, 8]);
    assert!(counts[3] <= 4, "{counts:?}");
    let grown = counts[3..].windows(2).all(|pair| pair[1] - pair[0] <= 1);
    assert!(grown, "{counts:?}");
}

/// Answers requests of both connections, each after its time.
fn work(pace: &mut Pace, now: &mut Instant, took: [Duration; 2], rounds: usize) -> [usize; 2] {
    let mut in_flight: Vec<(Instant, Permit)> = Vec::new();
    let mut free = [*now; 2];
    let mut counts = [0; 2];
    for _ in 0..rounds {
        for permit in take(pace, *now) {
            counts[permit.slot] += 1;
            free[permit.slot] = free[permit.slot].max(*now) + took[permit.slot];
            in_flight.push((free[permit.slot], permit));
        }
        in_flight.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let (at, permit) = in_flight.pop().expect("a request is in flight");
        *now = at;
        pace.handle_answer(&permit, 1 << 18, at);
    }
    for (_, permit) in in_flight {
        pace.handle_failed(&permit);
    }
    counts
}

#[test]
fn load_moves_off_a_slow_connection_and_comes_back_to_try() {
    let (mut pace, mut now) = (open(2), start());
    work(&mut pace, &mut now, [100 * MS, 3000 * MS], 60);
    let counts = work(&mut pace, &mut now, [100 * MS, 3000 * MS], 60);
    assert!(counts[1] <= 1, "{counts:?}");
    // A trial request shows whether it has recovered.
    now += TRIAL_INTERVAL;
    assert!(take(&mut pace, now).iter().any(|permit| permit.slot == 1));
    let mut pace = open(2);
    work(&mut pace, &mut now, [100 * MS, 3000 * MS], 60);
    now += TRIAL_INTERVAL;
    work(&mut pace, &mut now, [100 * MS; 2], 200);
    let counts = work(&mut pace, &mut now, [100 * MS; 2], 60);
    assert!(counts[1] >= 20, "{counts:?}");
}

#[test]
fn connections_share_by_their_speed() {
    let (mut pace, mut now) = (open(2), start());
    work(&mut pace, &mut now, [100 * MS; 2], 60);
    let counts = work(&mut pace, &mut now, [100 * MS; 2], 60);
    assert!(counts[0].abs_diff(counts[1]) <= 6, "{counts:?}");
    let counts = work(&mut pace, &mut now, [100 * MS, 200 * MS], 300);
    assert!((150..=250).contains(&counts[0]), "{counts:?}");
}

#[test]
fn answers_that_arrive_together_do_not_make_a_connection_look_fast() {
    let (begun, latency) = (start(), 50 * MS);
    let rate = |together: u32| {
        let mut line = ConnectionPace::new();
        line.open();
        for turn in 1..=100 {
            line.begin(begun + (turn - 1) * 100 * MS);
            if turn % together == 0 {
                for answer in (0..together).rev() {
                    let since = begun + (turn - answer - 1) * 100 * MS;
                    line.end(1 << 18, since, latency, begun + turn * 100 * MS);
                }
            }
        }
        line.rate.expect("ten seconds are enough")
    };
    let (single, pairs) = (rate(1), rate(2));
    assert!(
        pairs <= single * 2 && pairs >= single / 2,
        "{single} and {pairs} B/s"
    );
}

#[test]
fn a_connection_that_falls_silent_gets_no_requests() {
    let (mut pace, mut now) = (open(2), start());
    work(&mut pace, &mut now, [100 * MS; 2], 60);
    let stuck: Vec<Permit> = take(&mut pace, now);
    let (stuck, others): (Vec<_>, Vec<_>) = stuck.into_iter().partition(|permit| permit.slot == 1);
    assert!(!stuck.is_empty());
    now += 100 * MS;
    others
        .iter()
        .for_each(|permit| pace.handle_answer(permit, 1 << 18, now));
    now += 900 * MS;
    assert!(take(&mut pace, now).iter().all(|permit| permit.slot == 0));
}

#[test]
fn lateness_is_measured_against_the_best_connection() {
    let (mut pace, mut now) = (open(2), start());
    assert_eq!(pace.hedge_at(0, now, 1 << 18), Some(now + Duration::from_secs(2)));
    work(&mut pace, &mut now, [100 * MS; 2], 60);
    let sent = now;
    let permits = take(&mut pace, now);
    assert!(permits.iter().any(|permit| permit.slot == 0));
    let late = |pace: &Pace| pace.hedge_at(0, sent, 1 << 18).expect("a time") - sent;
    let soon = late(&pace);
    assert!(soon > 300 * MS && soon < 600 * MS, "{soon:?}");
    // An answer on the same connection shows that it is alive.
    let first = permits.iter().find(|permit| permit.slot == 0).expect("one");
    now += 100 * MS;
    pace.handle_answer(first, 1 << 18, now);
    assert!(late(&pace) > soon);
    // A single connection is not hedged before the timeout.
    pace.handle_closed(1);
    assert_eq!(late(&pace), pace.answer_timeout(0));
}

#[test]
fn the_next_connection_is_wanted_as_soon_as_the_open_ones_have_two_requests() {
    let (mut pace, mut now) = (Pace::new(2), start());
    assert!(pace.wants_connection());
    pace.handle_opened(0);
    for _ in 0..50 {
        round(&mut pace, &mut now, 100 * MS);
    }
    assert!(!pace.wants_connection());
    for wanted in [false, true, true] {
        assert!(matches!(pace.poll_permit(now), Grant::Go(_)));
        assert_eq!(pace.wants_connection(), wanted);
    }
    pace.handle_opened(1);
    assert!(!pace.wants_connection());
}

#[test]
fn permits_of_a_lost_connection_are_ignored() {
    let (mut pace, now) = (open(2), start());
    let permits = take(&mut pace, now);
    pace.handle_closed(0);
    assert!(take(&mut pace, now).is_empty());
    pace.handle_opened(0);
    assert_eq!(take(&mut pace, now).len(), 2);
    permits
        .iter()
        .filter(|permit| permit.slot == 0)
        .for_each(|permit| pace.handle_failed(permit));
    assert!(take(&mut pace, now).is_empty());
    assert!(!pace.wants_connection());
}
