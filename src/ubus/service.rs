//! The interface between the object's methods and the daemon.

use super::document::Document;
use super::message::Status;
use crate::metrics::{Emit, Snapshot};
use std::future::Future;
use std::pin::Pin;

/// The daemon, as the object's methods use it.
pub trait Service {
    /// The values of all metrics.
    fn snapshot(&self) -> Snapshot;
    /// The fields of `sessions`: a page of the live sessions, and the number of all.
    fn emit_sessions(&self, offset: usize, limit: usize, out: &mut dyn Emit);
    /// The fields of `link`: the links of a user.
    ///
    /// # Errors
    /// With the caller's answer.
    fn emit_links(&self, user: &str, host: Option<&str>, out: &mut dyn Emit) -> Result<(), Failure>;
    /// Starts a check of all addresses of a data centre.
    ///
    /// # Errors
    /// With the caller's answer.
    fn check(&self, id: i64) -> Result<Check, Failure>;
    /// Reloads the configuration, as SIGHUP does.
    ///
    /// # Errors
    /// With the caller's answer.
    fn reload(&self) -> Result<(), Failure>;
}

/// A deferred answer.
pub type Check = Pin<Box<dyn Future<Output = Document>>>;

/// A failed call.
#[derive(Debug)]
pub struct Failure {
    /// The status code of the bus.
    pub status: Status,
    /// The `error` of the answer, a text for people.
    pub error: Option<String>,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Failure {
        Failure { status, error: None }
    }
}
