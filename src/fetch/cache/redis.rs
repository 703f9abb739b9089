//! A Redis as a cache that several gateways share, with the feature `redis`.
//!
//! GET and SET over RESP2 on the program's own reactor: for these two commands the usual client would add 35 crates and a thread.
//! One connection, opened on demand and kept; a request over a connection that is gone is repeated once over a new one.

#[cfg(not(feature = "redis"))]
mod disabled;
#[cfg(feature = "redis")]
mod enabled;
#[cfg(feature = "redis")]
mod resp;

#[cfg(not(feature = "redis"))]
pub(crate) use disabled::RedisServer;
#[cfg(feature = "redis")]
pub(crate) use enabled::RedisServer;
