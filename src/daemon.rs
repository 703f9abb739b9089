//! The daemon: listeners, reload, drain, and the once-a-second work. It owns the one executor on which everything runs.
//!
//! Read [`start::run`] first: it goes from the configuration file to the running daemon.
//!
//! Promises: nothing at start waits for DNS, the front site or the clock, so that the listeners are up first. A reload is
//! built complete beside the running configuration and replaces it only when all of it is valid.

mod build;
mod config_file;
mod instance;
mod limits;
mod listen;
mod notifications;
mod relay_state;
mod reload;
mod shutdown;
mod snapshot_inputs;
mod start;
mod state;
mod sweep;
mod ubus_service;

pub(crate) use build::dial_options;
pub(crate) use config_file::StartError;
pub(crate) use instance::RunOptions;
pub(crate) use start::run;
