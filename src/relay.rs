//! Sessions: read [`session::serve`] first, then the files that its stages name.

mod admission;
mod client;
mod connect;
mod context;
mod duplex;
mod first_request;
mod front;
mod front_measure;
mod front_site;
mod half;
mod handshake;
mod held;
mod linger;
mod live_sessions;
pub mod panic_guard;
mod pipes;
mod replay;
mod session;

pub use admission::PendingHandshakes;
pub use context::{Accepted, Context, Shared, User};
pub use front_measure::keep_measured;
pub use front_site::{FrontSite, Site};
pub use handshake::SCRATCH_LEN;
pub use held::Holder;
pub use live_sessions::SessionHandle;
pub use pipes::Pipes;
pub use replay::{Mark, ReplayWindow};
pub use session::serve;
