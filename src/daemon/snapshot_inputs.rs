//! The numbers of a snapshot that live outside the counters: pool levels, address health, process and clock.

use super::build;
use super::instance::Daemon;
use crate::stats::snapshot::{Address, AddressState, Buffers, Outside, Pipes, Snapshot};
use mtrelay_core::dial::health::HealthState;
use mtrelay_core::sys::{clock, process};
use std::net::SocketAddr;

impl Daemon {
    /// Every number that the outputs show, at this moment.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.relay.was_busy.set(true);
        let active = self.relay.active();
        let shared = &self.relay.shared;
        let levels = shared.pool.levels();
        let pipes = shared.pipes.levels();
        let now = clock::now();
        let report = |address: &SocketAddr| {
            let report = shared.dialer.report(*address, now);
            Address {
                address: *address,
                state: match report.state {
                    HealthState::Healthy => AddressState::Ok,
                    HealthState::Untried => AddressState::Untried,
                    HealthState::Probation | HealthState::Cooling => AddressState::Cooling,
                },
                rtt: report.rtt,
                failures: u64::from(report.failures),
                last_error: report.last_error,
                retry_in: report.retry_in,
                dc_timeouts: report.dc_timeouts,
            }
        };
        let dcs = &active.config.dcs;
        // A media DC without addresses of its own uses those of its main DC.
        let ids = dcs.iter().flat_map(|(id, _)| [id, id.media()]);
        shared.stats.snapshot(Outside {
            uptime: now.saturating_duration_since(self.started),
            start_time_s: Some(u64::from(self.started_at)),
            synced: clock::is_synchronised(),
            trusted: shared.clock_trusted.get(),
            buffers: Buffers {
                size: levels.size as u64,
                count: levels.count as u64,
                in_use: levels.in_use as u64,
                high_water: levels.high_water as u64,
                waits: levels.waits,
                held: shared.holder.blocks() as u64,
            },
            pipes: Pipes {
                count: pipes.count as u64,
                in_use: pipes.in_use as u64,
                high_water: pipes.high_water as u64,
                misses: pipes.misses,
            },
            rss_kib: process::rss_kib(),
            addresses: ids
                .filter_map(|id| Some((id, dcs.lookup(id)?.iter().map(report).collect())))
                .collect(),
            expires: build::expiries(&active.config),
        })
    }
}
