//! Health over time that the tests supply.

use super::*;
use crate::sys::clock;

const REFUSED: AddressFailure = AddressFailure::Connect(ConnectFailure::Refused);

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], 443))
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn the_round_trip_is_smoothed() {
    let (mut health, now) = (Health::default(), clock::now());
    health.handle_connected(address(1), Duration::from_millis(80), now);
    health.handle_connected(address(1), Duration::from_millis(160), now);
    assert_eq!(
        health.report(address(1), now).rtt,
        Some(Duration::from_millis(90))
    );
}

#[test]
fn cool_downs_double_up_to_five_minutes_and_one_success_ends_them() {
    let (mut health, mut now) = (Health::default(), clock::now());
    for expected in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        health.handle_failure(address(1), REFUSED, now, 0);
        let report = health.report(address(1), now);
        assert_eq!(report.retry_in, Some(secs(expected)));
        now += secs(expected);
        assert_eq!(health.state(address(1), now), HealthState::Probation);
    }
    assert_eq!(health.report(address(1), now).failures, 10);
    health.handle_connected(address(1), secs(1), now);
    let report = health.report(address(1), now);
    assert_eq!(
        (report.state, report.failures, report.retry_in),
        (HealthState::Healthy, 0, None)
    );
    assert_eq!(report.last_error, Some(ConnectFailure::Refused));
    health.handle_failure(address(1), REFUSED, now, 0);
    assert_eq!(health.report(address(1), now).retry_in, Some(secs(2)));
}

#[test]
fn a_failure_that_many_sessions_meet_is_one() {
    let (mut health, now) = (Health::default(), clock::now());
    for _ in 0..200 {
        health.handle_failure(address(1), REFUSED, now, u32::MAX);
    }
    let report = health.report(address(1), now);
    assert_eq!(report.failures, 200);
    assert!(
        report
            .retry_in
            .is_some_and(|span| span <= secs(2) && span >= secs(1))
    );
}

#[test]
fn jitter_takes_away_a_quarter_at_most() {
    assert_eq!(jittered(secs(4), 0), secs(4));
    let shortest = jittered(secs(4), u32::MAX);
    assert!(
        shortest >= secs(3) && shortest < Duration::from_millis(3010),
        "{shortest:?}"
    );
}

#[test]
fn accepting_does_not_heal_an_address_that_did_not_answer() {
    let (mut health, now) = (Health::default(), clock::now());
    health.handle_connected(address(1), secs(1), now);
    health.handle_failure(address(1), AddressFailure::Unanswered, now, 0);
    health.handle_failure(address(1), AddressFailure::Overtaken, now, 0);
    health.handle_connected(address(1), secs(1), now);
    assert_eq!(health.state(address(1), now), HealthState::Cooling);
    assert_eq!(health.poll_probe(&[address(1)], now + secs(3), 0), None);
    health.handle_answered(address(1), now);
    assert_eq!(health.state(address(1), now), HealthState::Healthy);
}

#[test]
fn an_address_that_cooled_down_is_probed_once_per_cool_down() {
    let (mut health, now) = (Health::default(), clock::now());
    health.handle_failure(address(1), AddressFailure::Overtaken, now, 0);
    let all = [address(2), address(1)];
    assert_eq!(health.poll_probe(&all, now, 0), None, "still cooling");
    assert_eq!(health.poll_probe(&all, now + secs(2), 0), Some(address(1)));
    assert_eq!(health.poll_probe(&all, now + secs(5), 0), None);
    assert_eq!(health.poll_probe(&all, now + secs(6), 0), Some(address(1)));
}

#[test]
fn a_route_change_forgets_failures_and_keeps_healthy_addresses() {
    let (mut health, now) = (Health::default(), clock::now());
    health.handle_failure(address(1), REFUSED, now, 0);
    health.handle_connected(address(2), secs(1), now);
    health.forget();
    assert_eq!(health.state(address(1), now), HealthState::Untried);
    assert_eq!(health.state(address(2), now), HealthState::Healthy);
    health.retain(|_| false);
    assert_eq!(health.state(address(2), now), HealthState::Untried);
}

#[test]
fn changes_are_failures_and_recoveries_in_order() {
    let (mut health, now) = (Health::default(), clock::now());
    let change = |address, failure| HealthChange { address, failure };
    health.handle_connected(address(1), secs(1), now);
    health.handle_failure(address(1), AddressFailure::Overtaken, now, 0);
    for _ in 0..5 {
        health.handle_failure(address(1), REFUSED, now, 0);
    }
    health.handle_failure(address(2), AddressFailure::Unanswered, now, 0);
    health.handle_connected(address(2), secs(1), now);
    health.handle_connected(address(1), secs(1), now);
    let changes: Vec<HealthChange> = health.take_changes().collect();
    let expected = [
        change(address(1), None),
        change(address(1), Some(REFUSED)),
        change(address(2), Some(AddressFailure::Unanswered)),
        change(address(1), None),
    ];
    assert_eq!(changes, expected);
    assert_eq!(health.take_changes().count(), 0);
}

#[test]
fn memory_is_bounded_and_the_oldest_record_goes_first() {
    let (mut health, now) = (Health::default(), clock::now());
    for n in 0..2000_u16 {
        let at = now + Duration::from_millis(n.into());
        let [high, low] = n.to_be_bytes();
        health.handle_connected(SocketAddr::from(([127, 1, high, low], 1)), secs(1), at);
        health.handle_connected(address(1), secs(1), at);
    }
    assert_eq!(
        (health.records.len(), health.changes.len()),
        (MAX_RECORDS, MAX_CHANGES)
    );
    assert_eq!(health.state(address(1), now), HealthState::Healthy);
}
