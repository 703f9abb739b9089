//! The system calls: socket options, clocks, limits, privileges. The only room with `unsafe` in it.

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
