//! Which bytes are asked for when, and over which connection. No sockets, no clock of its own.
//!
//! [`window`] is one reader's: it cuts a range of a file into requests that obey the server's rules, and puts what comes back
//! in order. [`pace`] is a data centre's: it gives out permits to ask, and holds them back when the server says so. Whoever
//! asks takes the permit first and the request after it, so that a permit is never held by somebody who waits for another.

pub mod pace;
#[cfg(test)]
mod tests;
pub mod window;
