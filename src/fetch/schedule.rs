//! Which bytes of a file are requested when, and over which connection. No sockets, no clock.
//!
//! [`window`] belongs to one reader: it cuts a range of a file into requests that obey the server's rules, and puts the answers in
//! order. [`pace`] belongs to a data centre: it gives out permits, and holds them back during flood waits. The caller takes the
//! permit first and the request second, so that a permit is never held by a task that waits for another one.

pub(crate) mod pace;
#[cfg(test)]
mod tests;
pub(crate) mod window;
