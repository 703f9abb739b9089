//! A Redis as the cache behind several gateways; with the feature `redis`.
//!
//! GET and SET over RESP2, on the program's own reactor: the usual client would bring 35 crates along for these two, and a thread.
//! One connection, made when it is needed, kept, and made anew once when it turns out to be gone.

#[cfg(not(feature = "redis"))]
mod disabled;
#[cfg(feature = "redis")]
mod enabled;
#[cfg(feature = "redis")]
mod resp;

#[cfg(not(feature = "redis"))]
pub(crate) use disabled::Server;
#[cfg(feature = "redis")]
pub(crate) use enabled::Server;
