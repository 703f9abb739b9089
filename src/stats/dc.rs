//! The counters of one data centre. `created = active + ended` at any moment.

use std::cell::Cell;

use super::counters::Cells;
use crate::metrics::table::{DcMetric, DcValues};
use mtrelay_core::close::ConnectFailure;
use mtrelay_core::dc::DcId;

/// The counters of one data centre.
pub struct DcStats {
    id: DcId,
    cells: Cells<{ DcMetric::SLOTS }>,
    ended: Cell<u64>,
}

impl DcStats {
    pub(super) fn new(id: DcId) -> DcStats {
        DcStats {
            id,
            cells: Cells::default(),
            ended: Cell::new(0),
        }
    }

    /// The DC whose counters these are.
    pub fn id(&self) -> DcId {
        self.id
    }

    /// The value of a metric.
    #[cfg(test)]
    pub fn get(&self, metric: DcMetric) -> u64 {
        self.cells.get(metric.slot())
    }

    /// Connections of sessions that ended.
    #[cfg(test)]
    pub fn ended(&self) -> u64 {
        self.ended.get()
    }

    /// Failed attempts of one kind.
    #[cfg(test)]
    pub fn failed(&self, kind: ConnectFailure) -> u64 {
        self.cells.get(DcMetric::Failed.slot() + kind.index())
    }

    pub(super) fn raise(&self, metric: DcMetric) {
        self.cells.raise(metric.slot());
    }

    pub(super) fn connect_failed(&self, kind: ConnectFailure) {
        self.cells.raise(DcMetric::Failed.slot() + kind.index());
    }

    /// Counts a connection given to a session. It replaces the session's earlier one, if there is one.
    pub(super) fn connected(&self, replaces: bool) {
        self.raise(DcMetric::Created);
        if replaces {
            self.ended.set(self.ended.get() + 1);
        } else {
            self.raise(DcMetric::Active);
        }
    }

    /// Counts the end of a session's connection.
    pub(super) fn disconnected(&self) {
        self.cells.lower(DcMetric::Active.slot());
        self.ended.set(self.ended.get() + 1);
    }

    pub(super) fn moved(&self, direction: usize, n: u64) {
        self.cells.add(DcMetric::Bytes.slot() + direction, n);
    }

    pub(super) fn values(&self) -> DcValues {
        DcValues(self.cells.values())
    }
}
