//! The values of all metrics at one moment, as plain data.
//!
//! A snapshot owns what it holds, so that an output that is slow to send does not hold up a counter.

use std::net::SocketAddr;
use std::time::Duration;

use super::table::{AddressMetric, AddressState, AddressValues, DcValues, RelayValues, UNKNOWN, UserValues};
use mtrelay_core::close::ConnectFailure;
use mtrelay_core::dc::DcId;

/// All metrics at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The version of the program.
    pub version: &'static str,
    /// The metrics of the whole relay.
    pub relay: RelayValues,
    /// The sums over all DCs.
    pub dc: DcValues,
    /// The DCs: main ones first, then media ones, each by number.
    pub dcs: Vec<Dc>,
    /// The users, by name.
    pub users: Vec<User>,
}

/// One DC and its addresses.
#[derive(Clone, Debug)]
pub struct Dc {
    /// The signed id, negative for media.
    pub id: DcId,
    /// Its metrics.
    pub values: DcValues,
    /// Its addresses, in the order of the table of data centres.
    pub addresses: Vec<Address>,
}

/// One address of a DC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Address and port.
    pub address: SocketAddr,
    /// The kind of the last failed attempt.
    pub last_error: Option<ConnectFailure>,
    /// Its metrics.
    pub values: AddressValues,
}

/// One user.
#[derive(Clone, Debug)]
pub struct User {
    /// The name in the configuration: any text.
    pub name: String,
    /// The last day as `YYYY-MM-DD`; `None` without one.
    pub expires: Option<String>,
    /// The user's metrics.
    pub values: UserValues,
}

impl Address {
    /// An address that was not tried yet.
    pub fn untried(address: SocketAddr) -> Address {
        let mut values = AddressValues::default();
        values.set(AddressMetric::Rtt, UNKNOWN);
        values.set(AddressMetric::RetryIn, UNKNOWN);
        Address {
            address,
            last_error: None,
            values,
        }
    }

    /// Sets the state, the smoothed connect time (`None` before the first connect) and the rest of the cool-down (`None` outside of one).
    pub fn set_state(&mut self, state: AddressState, rtt: Option<Duration>, retry_in: Option<Duration>) {
        self.values.set(AddressMetric::State, state as i64);
        self.values.set(
            AddressMetric::Rtt,
            rtt.map_or(UNKNOWN, |rtt| rtt.as_millis() as i64),
        );
        self.values
            .set(AddressMetric::RetryIn, retry_in.map_or(UNKNOWN, whole_seconds));
    }

    /// `ipv4` or `ipv6`.
    pub fn family(&self) -> &'static str {
        if self.address.is_ipv4() { "ipv4" } else { "ipv6" }
    }
}

/// Rounded up, so that a cool-down that is not over does not read as 0.
fn whole_seconds(time: Duration) -> i64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_is_not_over_never_reads_as_zero() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
        assert_eq!(whole_seconds(Duration::ZERO), 0);
    }
}
