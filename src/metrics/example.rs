//! A snapshot in which each metric has a value, with names that need escaping; for the tests of every output.

use super::snapshot::{Address, Dc, Snapshot, User};
use super::table::{
    AddressMetric, AddressState, DOWN, DcMetric, DcValues, RelayMetric, RelayValues, UNKNOWN, UP, UserMetric,
    UserValues,
};
use mtrelay_core::close::{CloseReason, ConnectFailure, Reject};
use mtrelay_core::dc::DcId;
use std::time::Duration;

/// A relay that has just started, without DCs and users.
pub(crate) fn empty() -> Snapshot {
    let mut relay = RelayValues::default();
    relay.set(RelayMetric::StartTime, UNKNOWN);
    Snapshot {
        version: env!("CARGO_PKG_VERSION"),
        relay,
        dc: DcValues::default(),
        dcs: Vec::new(),
        users: Vec::new(),
    }
}

/// A DC without any event.
pub(crate) fn dc(raw: i16) -> Dc {
    Dc {
        id: DcId::new(raw).expect("not 0"),
        values: DcValues::default(),
        addresses: Vec::new(),
    }
}

/// A user without any event.
pub(crate) fn user(name: &str) -> User {
    let mut values = UserValues::default();
    values.set(UserMetric::Quota, UNKNOWN);
    User {
        name: name.to_owned(),
        expires: None,
        values,
    }
}

/// A snapshot in which something happened everywhere.
// long: a table of values, one for each metric.
pub(crate) fn example() -> Snapshot {
    use RelayMetric as M;
    let mut snapshot = empty();
    for (metric, value) in [
        (M::Uptime, 93_784),
        (M::StartTime, 1_700_000_000),
        (M::ClockSynced, 1),
        (M::ClockTrusted, 1),
        (M::ClockRefused, 1),
        (M::ClockLastOffset, -86_400),
        (M::FrontedActive, 1),
        (M::FrontedTotal, 1),
        (M::FrontedBytes, 77),
        (M::SessionsActive, 1),
        (M::SessionsTotal, 2),
        (M::SessionsPeak, 2),
        (M::BuffersSize, 16_384),
        (M::BuffersCount, 64),
        (M::BuffersInUse, 2),
        (M::BuffersHighWater, 5),
        (M::BuffersWaits, 1),
        (M::BuffersHeld, 1),
        (M::PipesCount, 16),
        (M::PipesInUse, 1),
        (M::PipesHighWater, 3),
        (M::PipesMisses, 2),
        (M::MemoryRss, 1536),
        (M::ConfigRejected, 1),
        (M::OpeningsActive, 1),
    ] {
        snapshot.relay.set(metric, value);
    }
    let relay = &mut snapshot.relay.0;
    relay[M::Bytes.slot() + UP] = 2048;
    relay[M::Bytes.slot() + DOWN] = 5_001_000;
    relay[M::Closes.slot() + CloseReason::DcClosed.index()] = 1;
    relay[M::ConnectFailures.slot() + ConnectFailure::Timeout.index()] = 1;
    relay[M::Rejects.slot() + Reject::Replay.index()] = 1;

    let (mut two, mut media) = (dc(2), dc(-2));
    for (metric, value) in [
        (DcMetric::Created, 1),
        (DcMetric::Active, 1),
        (DcMetric::Retries, 1),
        (DcMetric::Ipv6Fallbacks, 1),
    ] {
        two.values.set(metric, value);
    }
    two.values.0[DcMetric::Failed.slot() + ConnectFailure::Timeout.index()] = 1;
    two.values.0[DcMetric::Bytes.slot() + UP] = 2048;
    two.values.0[DcMetric::Bytes.slot() + DOWN] = 5_000_000;
    media.values.set(DcMetric::Created, 1);
    media.values.set(DcMetric::DcClosed, 1);
    media.values.0[DcMetric::Bytes.slot() + DOWN] = 1000;
    let mut good = Address::untried("149.154.167.51:443".parse().expect("an address"));
    good.set_state(AddressState::Ok, Some(Duration::from_micros(41_900)), None);
    let mut bad = Address::untried("[2001:67c:4e8:f002::a]:443".parse().expect("an address"));
    bad.set_state(AddressState::Cooling, None, Some(Duration::from_millis(8_200)));
    bad.values.set(AddressMetric::Failures, 3);
    bad.values.set(AddressMetric::DcTimeouts, 1);
    bad.last_error = Some(ConnectFailure::Timeout);
    two.addresses = vec![good, bad];
    snapshot.dcs = vec![dc(1), two, dc(3), dc(203), media];
    for dc in &snapshot.dcs {
        for (sum, value) in snapshot.dc.0.iter_mut().zip(dc.values.0) {
            *sum += value;
        }
    }

    let (mut odd, mut family) = (user("a\"b\\c\nd\te\u{1}"), user("family"));
    odd.values.set(UserMetric::Total, 1);
    odd.values.set(UserMetric::Rejects, 1);
    odd.values.set(UserMetric::QuotaUsed, 1000);
    odd.values.0[UserMetric::Bytes.slot() + DOWN] = 1000;
    for (metric, value) in [
        (UserMetric::Active, 1),
        (UserMetric::Total, 1),
        (UserMetric::QuotaUsed, 5_002_048),
        (UserMetric::Quota, 10_000_000),
    ] {
        family.values.set(metric, value);
    }
    family.values.0[UserMetric::Bytes.slot() + UP] = 2048;
    family.values.0[UserMetric::Bytes.slot() + DOWN] = 5_000_000;
    family.expires = Some("2030-12-31".to_owned());
    snapshot.users = vec![odd, family];
    snapshot
}
