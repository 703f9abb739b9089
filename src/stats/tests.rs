#![allow(clippy::disallowed_methods, reason = "tests start their own clock")]

use super::*;
use crate::metrics::table::{DOWN, UNKNOWN, UP};
use crate::metrics::{DcMetric, RelayMetric, Snapshot, UserMetric};
use mtrelay_core::close::{CloseReason, ConnectFailure, Reject};
use mtrelay_core::dc::DcId;
use std::rc::Rc;
use std::time::{Duration, Instant};

const ADDR: &str = "149.154.167.51:443";

fn dc(raw: i16) -> DcId {
    DcId::new(raw).expect("not 0")
}

fn begin(stats: &Stats, user: &str, raw: i16, now: Instant) -> Rc<SessionStats> {
    SessionStats::begin(
        stats,
        stats.user(user),
        stats.dc(dc(raw)),
        [192, 168, 1, 20].into(),
        now,
    )
}

fn snapshot(stats: &Stats) -> Snapshot {
    stats.snapshot(SnapshotInputs::default())
}

fn created_active_ended(stats: &Stats, raw: i16) -> (u64, u64, u64) {
    let dc = stats.dc(dc(raw));
    (dc.get(DcMetric::Created), dc.get(DcMetric::Active), dc.ended())
}

fn closes(stats: &Stats, reason: CloseReason) -> i64 {
    snapshot(stats).relay.of(RelayMetric::Closes, reason.index())
}

#[test]
fn a_dc_and_a_user_have_one_set_of_counters() {
    let stats = Stats::new();
    let now = Instant::now();
    begin(&stats, "a", -2, now).retried(None);
    begin(&stats, "a", -2, now).retried(None);
    assert_eq!(stats.dc(dc(-2)).get(DcMetric::Retries), 2);
    assert_eq!(stats.dc(dc(2)).get(DcMetric::Retries), 0);
    stats.declare_user("a");
    assert_eq!(stats.user("a").get(UserMetric::Total), 2);
}

#[test]
fn strange_ids_are_never_listed() {
    let stats = Stats::new();
    stats.declare_dc(dc(7));
    for raw in i16::MIN..=i16::MAX {
        if let Some(id) = DcId::new(raw) {
            assert_eq!(stats.dc(id).id(), id);
        }
    }
    // 1 to 5, 203, 10001 to 10005 and the declared 7, each with its media twin.
    assert_eq!(snapshot(&stats).dcs.len(), 24);
}

#[test]
fn rejects_count_in_all_and_for_the_user() {
    let stats = Stats::new();
    let user = stats.user("a");
    stats.reject(Reject::Replay, Some(&user));
    stats.reject(Reject::BadSecret, None);
    let rejects = |reject: Reject| snapshot(&stats).relay.of(RelayMetric::Rejects, reject.index());
    assert_eq!((rejects(Reject::Replay), rejects(Reject::BadSecret)), (1, 1));
    assert_eq!(user.get(UserMetric::Rejects), 1);
}

#[test]
fn guards_raise_their_gauge_while_they_live() {
    let stats = Stats::new();
    let (one, two, front) = (stats.opening(), stats.opening(), stats.fronted());
    assert_eq!(
        (stats.openings_active(), stats.get(RelayMetric::FrontedActive)),
        (2, 1)
    );
    drop((one, two, front));
    assert_eq!(
        (
            stats.openings_active(),
            stats.get(RelayMetric::FrontedActive),
            stats.get(RelayMetric::FrontedTotal)
        ),
        (0, 0, 1)
    );
}

#[test]
fn users_that_a_reload_removed_are_no_longer_listed() {
    let stats = Stats::new();
    stats.declare_user("stays");
    stats.declare_user("goes");
    stats.retain_users(|name| name == "stays");
    assert_eq!(
        stats.users().iter().map(|user| user.name()).collect::<Vec<_>>(),
        ["stays"]
    );
}

#[test]
fn main_dcs_stand_before_media_ones() {
    let stats = Stats::new();
    for raw in [-2, 203, 1, -1, 2, -203] {
        stats.declare_dc(DcId::new(raw).expect("not 0"));
    }
    let ids: Vec<i16> = snapshot(&stats).dcs.iter().map(|dc| dc.id.raw()).collect();
    assert_eq!(ids, [1, 2, 203, -1, -2, -203]);
}

#[test]
fn a_session_that_never_connected_has_no_address() {
    let stats = Stats::new();
    let now = Instant::now();
    let session = SessionStats::begin(
        &stats,
        stats.user("a"),
        stats.dc(dc(9)),
        "::ffff:10.0.0.1".parse().unwrap(),
        now,
    );
    assert_eq!(
        session
            .close_line(CloseReason::UnknownDc, Duration::ZERO)
            .to_string(),
        "close: user=a client=10.0.0.1 dc=9 addr=- secs=0.0 up=0 down=0 by=relay reason=unknown_dc"
    );
}

#[test]
fn a_session_moves_every_counter_it_belongs_to() {
    let stats = Stats::new();
    let now = Instant::now();
    let session = begin(&stats, "a", 2, now);
    let other = begin(&stats, "b", 2, now);
    assert_eq!(
        (stats.sessions_active(), stats.get(RelayMetric::SessionsPeak)),
        (2, 2)
    );
    assert_eq!(created_active_ended(&stats, 2), (0, 0, 0));
    session.connect_failed(ConnectFailure::Refused);
    session.connected(ADDR.parse().unwrap());
    assert_eq!(created_active_ended(&stats, 2), (1, 1, 0));
    session.moved_up(3);
    session.moved_down(5);
    other.moved_down(7);
    let shown = snapshot(&stats);
    assert_eq!(
        [UP, DOWN].map(|way| shown.relay.of(RelayMetric::Bytes, way)),
        [3, 12]
    );
    assert_eq!([UP, DOWN].map(|way| shown.dc.of(DcMetric::Bytes, way)), [3, 12]);
    let user = &shown.users[0];
    assert_eq!(
        [UP, DOWN].map(|way| user.values.of(UserMetric::Bytes, way)),
        [3, 5]
    );
    assert_eq!(user.values.get(UserMetric::QuotaUsed), 8);
    assert_eq!(user.values.get(UserMetric::Quota), UNKNOWN);
    session.end(CloseReason::ClientReset, now);
    other.end(CloseReason::ConnectFailed, now);
    assert_eq!(created_active_ended(&stats, 2), (1, 0, 1));
    assert_eq!(stats.dc(dc(2)).get(DcMetric::ClientClosed), 1);
    assert_eq!(stats.dc(dc(2)).failed(ConnectFailure::Refused), 1);
    assert_eq!(
        (
            stats.sessions_active(),
            stats.get(RelayMetric::SessionsTotal),
            stats.get(RelayMetric::SessionsPeak)
        ),
        (0, 2, 2)
    );
    assert_eq!(
        (stats.user("a").active(), stats.user("a").get(UserMetric::Total)),
        (0, 1)
    );
}

#[test]
fn a_second_connection_of_a_session_ends_the_first() {
    let stats = Stats::new();
    let now = Instant::now();
    let session = begin(&stats, "a", 2, now);
    session.connected(ADDR.parse().unwrap());
    session.connected("[::1]:443".parse().unwrap());
    assert_eq!(created_active_ended(&stats, 2), (2, 1, 1));
    session.end(CloseReason::DcReset, now);
    assert_eq!(created_active_ended(&stats, 2), (2, 0, 2));
    session.connected(ADDR.parse().unwrap());
    assert_eq!(created_active_ended(&stats, 2), (2, 0, 2));
    assert_eq!(stats.dc(dc(2)).get(DcMetric::DcClosed), 1);
}

#[test]
fn an_end_counts_once_and_keeps_its_first_reason() {
    let stats = Stats::new();
    let now = Instant::now();
    let session = begin(&stats, "a", 1, now);
    session.end(CloseReason::Quota, now);
    session.end(CloseReason::Error, now);
    drop(session);
    assert_eq!(
        CloseReason::ALL
            .map(|reason| closes(&stats, reason))
            .iter()
            .sum::<i64>(),
        1
    );
    assert_eq!(closes(&stats, CloseReason::Quota), 1);
}

#[test]
fn a_dropped_session_ends_as_error_and_leaks_no_gauge() {
    let stats = Stats::new();
    let session = begin(&stats, "a", 1, Instant::now());
    session.connected(ADDR.parse().unwrap());
    drop(session);
    assert_eq!(closes(&stats, CloseReason::Error), 1);
    assert_eq!((stats.sessions_active(), stats.user("a").active()), (0, 0));
    assert_eq!(created_active_ended(&stats, 1), (1, 0, 1));
    assert_eq!(stats.sessions(0, 10).1, 0);
}

#[test]
fn live_sessions_are_paged_and_their_places_used_again() {
    let stats = Stats::new();
    let now = Instant::now();
    let mut sessions: Vec<_> = (1..=5).map(|raw| begin(&stats, "a", raw, now)).collect();
    sessions.remove(1).end(CloseReason::Shutdown, now);
    let ids = |offset, limit| -> Vec<i16> {
        stats
            .sessions(offset, limit)
            .0
            .iter()
            .map(|session| session.dc().raw())
            .collect()
    };
    assert_eq!(ids(0, 2), [1, 3]);
    assert_eq!(ids(2, 9), [4, 5]);
    sessions.push(begin(&stats, "a", 203, now));
    assert_eq!(ids(0, 9), [1, 203, 3, 4, 5]);
    assert_eq!(stats.sessions(4, 1).1, 5);
    sessions.clear();
    assert_eq!(stats.sessions(0, 9).1, 0);
}

#[test]
fn totals_are_the_sums_of_their_parts() {
    let stats = Stats::new();
    let now = Instant::now();
    let live = begin(&stats, "a", 2, now);
    live.connect_failed(ConnectFailure::Timeout);
    live.connected(ADDR.parse().unwrap());
    live.ipv6_fallback();
    live.moved_down(5);
    let over = begin(&stats, "b", -2, now);
    over.connected(ADDR.parse().unwrap());
    over.moved_down(7);
    over.end(CloseReason::DcClosed, now);
    let snapshot = snapshot(&stats);
    let sums = [
        DcMetric::Created,
        DcMetric::Active,
        DcMetric::DcClosed,
        DcMetric::Ipv6Fallbacks,
    ];
    assert_eq!(sums.map(|metric| snapshot.dc.get(metric)), [2, 1, 1, 1]);
    let kind = ConnectFailure::Timeout.index();
    assert_eq!(snapshot.dc.of(DcMetric::Failed, kind), 1);
    assert_eq!(snapshot.relay.of(RelayMetric::ConnectFailures, kind), 1);
    let down = snapshot.relay.of(RelayMetric::Bytes, DOWN);
    assert_eq!((snapshot.dc.of(DcMetric::Bytes, DOWN), down), (12, 12));
    let users = snapshot.users.iter();
    assert_eq!(
        users
            .map(|user| user.values.of(UserMetric::Bytes, DOWN))
            .sum::<i64>(),
        down
    );
    let ended: i64 = CloseReason::ALL.map(|reason| closes(&stats, reason)).iter().sum();
    let begun = snapshot.relay.get(RelayMetric::SessionsTotal);
    assert_eq!(ended, begun - snapshot.relay.get(RelayMetric::SessionsActive));
}
