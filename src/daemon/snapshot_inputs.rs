//! The numbers of a snapshot that live outside the counters: pool levels, address health, process and clock.

use super::build;
use super::instance::Daemon;
use crate::metrics::table::AddressState;
use crate::metrics::{Address, AddressMetric, RelayMetric, Snapshot};
use crate::stats::SnapshotInputs;
use mtrelay_core::dial::{AddressHealth, HealthState};
use mtrelay_core::sys::{clock, process};
use std::net::SocketAddr;

impl Daemon {
    /// Every number that the outputs show, at this moment.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.relay.was_busy.set(true);
        let active = self.relay.active();
        let shared = &self.relay.shared;
        let now = clock::now();
        let dcs = &active.config.dcs;
        // A media DC without addresses of its own uses those of its main DC.
        let ids = dcs.iter().flat_map(|(id, _)| [id, id.media()]);
        let address = |address: &SocketAddr| address_of(*address, &shared.dialer.report(*address, now));
        shared.stats.snapshot(SnapshotInputs {
            gauges: self.gauges(),
            addresses: ids
                .filter_map(|id| Some((id, dcs.lookup(id)?.iter().map(address).collect())))
                .collect(),
            expires: build::expiries(&active.config),
        })
    }

    fn gauges(&self) -> Vec<(RelayMetric, i64)> {
        use RelayMetric as M;
        let shared = &self.relay.shared;
        let buffers = shared.pool.levels();
        let pipes = shared.pipes.levels();
        let uptime = clock::now().saturating_duration_since(self.started);
        vec![
            (M::Uptime, uptime.as_secs() as i64),
            (M::StartTime, self.started_at.into()),
            (M::ClockSynced, clock::is_synchronised().into()),
            (M::ClockTrusted, shared.clock_trusted.get().into()),
            (M::BuffersSize, buffers.size as i64),
            (M::BuffersCount, buffers.count as i64),
            (M::BuffersInUse, buffers.in_use as i64),
            (M::BuffersHighWater, buffers.high_water as i64),
            (M::BuffersWaits, buffers.waits as i64),
            (M::BuffersHeld, shared.retry_buffers.blocks() as i64),
            (M::PipesCount, pipes.count as i64),
            (M::PipesInUse, pipes.in_use as i64),
            (M::PipesHighWater, pipes.high_water as i64),
            (M::PipesMisses, pipes.misses as i64),
            (M::MemoryRss, process::rss_kib() as i64),
        ]
    }
}

fn address_of(address: SocketAddr, report: &AddressHealth) -> Address {
    let state = match report.state {
        HealthState::Healthy => AddressState::Ok,
        HealthState::Untried => AddressState::Untried,
        HealthState::Probation | HealthState::Cooling => AddressState::Cooling,
    };
    let mut address = Address::untried(address);
    address.set_state(state, report.rtt, report.retry_in);
    address.last_error = report.last_error;
    address
        .values
        .set(AddressMetric::Failures, report.failures.into());
    address
        .values
        .set(AddressMetric::DcTimeouts, report.dc_timeouts as i64);
    address
}
