//! The counters of one user.

use std::cell::Cell;

use super::counters::Cells;
use crate::metrics::table::{UNKNOWN, UserMetric, UserValues};

/// The counters of one user.
pub struct UserStats {
    name: Box<str>,
    cells: Cells<{ UserMetric::SLOTS }>,
    /// The quota in bytes; `None`: unlimited.
    pub quota: Cell<Option<u64>>,
    /// The month in which the count for the quota began; `None` until the calendar is known.
    pub quota_month: Cell<Option<u32>>,
}

impl UserStats {
    pub(super) fn new(name: &str) -> UserStats {
        UserStats {
            name: name.into(),
            cells: Cells::default(),
            quota: Cell::default(),
            quota_month: Cell::default(),
        }
    }

    /// The user's name, as the config has it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of a metric.
    pub fn get(&self, metric: UserMetric) -> u64 {
        self.cells.get(metric.slot())
    }

    /// Live sessions.
    pub fn active(&self) -> u64 {
        self.get(UserMetric::Active)
    }

    /// Bytes in both directions that count against the quota.
    pub fn quota_used(&self) -> u64 {
        self.get(UserMetric::QuotaUsed)
    }

    /// Takes over the count of an earlier run.
    pub fn set_quota_used(&self, used: u64) {
        self.cells.set(UserMetric::QuotaUsed.slot(), used);
    }

    /// Whether the quota is used up.
    pub fn is_over_quota(&self) -> bool {
        self.quota.get().is_some_and(|quota| self.quota_used() >= quota)
    }

    /// Tells the current month. The count for the quota starts again at 0 when it changes.
    pub fn enter_month(&self, month: u32) {
        let before = self.quota_month.replace(Some(month));
        if before.is_some_and(|before| before != month) {
            self.set_quota_used(0);
        }
    }

    pub(super) fn began(&self) {
        self.cells.raise(UserMetric::Active.slot());
        self.cells.raise(UserMetric::Total.slot());
    }

    pub(super) fn ended(&self) {
        self.cells.lower(UserMetric::Active.slot());
    }

    pub(super) fn rejected(&self) {
        self.cells.raise(UserMetric::Rejects.slot());
    }

    pub(super) fn moved(&self, direction: usize, n: u64) {
        self.cells.add(UserMetric::Bytes.slot() + direction, n);
        self.cells.add(UserMetric::QuotaUsed.slot(), n);
    }

    pub(super) fn values(&self) -> UserValues {
        let mut values = UserValues(self.cells.values());
        values.set(
            UserMetric::Quota,
            self.quota.get().map_or(UNKNOWN, |quota| quota as i64),
        );
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_counts_until_the_month_changes() {
        let user = UserStats::new("a");
        user.set_quota_used(5);
        assert!(!user.is_over_quota());
        user.quota.set(Some(5));
        assert!(user.is_over_quota());
        for (month, used) in [(24_321, 5), (24_321, 5), (24_322, 0)] {
            user.enter_month(month);
            assert_eq!(user.quota_used(), used, "{month}");
        }
    }
}
