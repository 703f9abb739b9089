//! The object `mtrelay` on ubus, OpenWrt's bus: its methods answer LuCI, scripts and `ubus call`, and it notifies subscribers.
//!
//! Read docs/ubus.md first. The methods are a table (`method`); their answers have the shape of [`crate::metrics`], which is also that
//! of `/status`. [`serve`] connects, registers the object and answers; it registers again, with backoff, whenever the bus is absent,
//! refuses the object, restarts or sends malformed messages.
//!
//! Promises: the relay works without a bus and never waits for it; the memory held for the bus is bounded (`client`, `document`,
//! `notices`); no bytes from the bus cause a panic.

pub mod blob;
mod client;
mod connection;
mod document;
pub mod message;
mod method;
mod notices;
mod registration;
mod service;

pub use document::Document;
pub use message::Status;
pub use notices::{Notice, Notices};
pub use service::{Check, Failure, Service};

use connection::Connection;
use mtrelay_core::reactor::Timer;
use mtrelay_core::sys::{clock, random};
use registration::{OBJECT, Reason};
use std::path::Path;
use std::time::Duration;

/// The first pause before the next attempt, and the longest. A failed connect to a missing socket costs a few microseconds, and an
/// owner who has just installed the access list expects to see the object within seconds.
const INITIAL_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Keeps the object registered. It never returns. `socket` is the socket of the bus; `None` stands for the usual ones.
pub async fn serve(socket: Option<&Path>, service: &dyn Service, notices: &Notices) {
    let mut pause = INITIAL_PAUSE;
    // Each reason is logged once, not at each attempt.
    let mut told = String::new();
    loop {
        match registration::offer(socket).await {
            Ok((client, object)) => {
                log::info!("ubus: object '{OBJECT}' registered");
                told.clear();
                // Earlier notifications have no subscriber on a new connection.
                notices.clear();
                let connection = Connection::new(client, object, service);
                let begun = clock::now();
                let error = connection.run(notices).await;
                log::info!(
                    "ubus: connection lost ({}); registering the object again",
                    Reason(&error)
                );
                if clock::now().saturating_duration_since(begun) > MAX_PAUSE {
                    pause = INITIAL_PAUSE;
                }
            }
            Err(lost) => {
                let (level, reason) = lost.reason(socket);
                if reason != told {
                    log::log!(level, "ubus: {reason}");
                    told = reason;
                }
            }
        }
        let jitter = random::u32();
        Timer::after(jittered(pause, jitter)).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// A pause between three quarters of `pause` and all of it, so that programs that lost the bus together do not reconnect at one moment.
fn jittered(pause: Duration, random: u32) -> Duration {
    pause - pause / 4 / 256 * (random >> 24)
}
