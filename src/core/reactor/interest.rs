//! The direction in which a task waits for a descriptor.

/// What a task waits for on a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Bytes, a connection, the end of the stream or an error.
    Read,
    /// Room, the outcome of connect(2) or an error.
    Write,
}
