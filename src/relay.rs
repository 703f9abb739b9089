//! Sessions: read [`session::serve`] first, then the files that its stages name.

mod admission;
mod client;
mod connect;
mod context;
mod duplex;
mod first_request;
mod flow_control;
mod front;
mod front_measure;
mod front_site;
mod handshake;
mod linger;
mod live_sessions;
pub mod panic_guard;
mod pipe_pool;
mod pump;
mod replay;
mod retry_buffer;
mod session;
mod stream;

pub use admission::PendingHandshakes;
pub use context::{Accepted, Context, Shared, User};
pub use front_measure::keep_measured;
pub use front_site::{FrontSite, Site};
pub use handshake::SCRATCH_LEN;
pub use live_sessions::SessionHandle;
pub use pipe_pool::PipePool;
pub use replay::{Mark, ReplayWindow};
pub use retry_buffer::RetryBuffers;
pub use session::serve;
