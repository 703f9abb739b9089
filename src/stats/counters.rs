//! Counters in cells, addressed by the slots of a table.

use std::cell::Cell;

/// One cell for each slot of a table of metrics.
pub(super) struct Cells<const N: usize>([Cell<u64>; N]);

impl<const N: usize> Default for Cells<N> {
    fn default() -> Self {
        Cells([const { Cell::new(0) }; N])
    }
}

impl<const N: usize> Cells<N> {
    /// The value of a slot.
    pub(super) fn get(&self, slot: usize) -> u64 {
        self.0[slot].get()
    }

    /// Sets a slot.
    pub(super) fn set(&self, slot: usize, value: u64) {
        self.0[slot].set(value);
    }

    /// Adds to a slot. A counter at its end starts again at 0; it does not panic.
    pub(super) fn add(&self, slot: usize, n: u64) {
        self.set(slot, self.get(slot).wrapping_add(n));
    }

    /// Adds one.
    pub(super) fn raise(&self, slot: usize) {
        self.add(slot, 1);
    }

    /// Subtracts one from a gauge, which stays at 0.
    pub(super) fn lower(&self, slot: usize) {
        self.set(slot, self.get(slot).saturating_sub(1));
    }

    /// The values of all slots. The one gauge that can be negative is stored in two's complement.
    pub(super) fn values(&self) -> [i64; N] {
        std::array::from_fn(|slot| self.get(slot) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_at_its_end_starts_again_without_a_panic() {
        let cells = Cells::<1>::default();
        cells.set(0, u64::MAX);
        cells.add(0, 3);
        assert_eq!(cells.get(0), 2);
        cells.set(0, 0);
        cells.lower(0);
        assert_eq!(cells.get(0), 0);
    }
}
