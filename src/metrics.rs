//! The numbers of the relay and their outputs: one table, one snapshot, one renderer for each output.
//!
//! [`table`] lists every metric once: its path, type, unit, labels and help. A [`Snapshot`] holds one value for each row. The renderers
//! walk both: [`status`] (ubus and `/status`, through [`Emit`]), [`json`], [`prometheus`] (`/metrics`), [`text`] (`/stats`) and [`page`]
//! (`mtrelay status`). docs/metrics.md is generated from the same table.
//!
//! A new counter is one row of the table and one call that raises it.

pub mod emit;
pub mod json;
mod metric;
pub mod page;
pub mod prometheus;
pub mod snapshot;
pub mod status;
pub mod table;
pub mod text;

#[cfg(test)]
pub(crate) mod example;

pub use emit::Emit;
pub use snapshot::{Address, Dc, Snapshot, User};
pub use table::{AddressMetric, DcMetric, RelayMetric, UserMetric};
