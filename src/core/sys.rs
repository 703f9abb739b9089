//! System calls: socket options, clocks, limits, privileges. The only module that contains `unsafe` code.

pub mod clock;
pub mod cpu;
mod musl;
pub mod process;
pub mod random;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod splice;
pub mod stdio;
