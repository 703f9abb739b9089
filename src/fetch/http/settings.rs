//! The limits of the gateway, and their defaults.

use std::path::PathBuf;
use std::time::Duration;

/// The settings of a gateway.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The token that every URL must carry. Without one, only requests to an IP address or `localhost` are answered.
    pub(crate) token: Option<String>,
    /// Upper bound of open connections. Further ones wait in the kernel's accept queue.
    pub(crate) connections: usize,
    /// Upper bound of media in transfer. Each has a window of 2 MiB.
    pub(crate) streams: usize,
    /// Upper bound of running remuxes.
    pub(crate) remuxes: usize,
    /// The program that remuxes.
    pub(crate) ffmpeg: PathBuf,
    /// Time limits of a connection.
    pub(crate) timeouts: Timeouts,
}

/// Time limits of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Timeouts {
    /// From the first byte of a request's head to its last.
    pub(crate) head: Duration,
    /// Between two requests.
    pub(crate) idle: Duration,
    /// Without a byte that the client takes. A paused player takes none.
    pub(crate) stall: Duration,
    /// From the client's FIN to the end of the connection, while there are no bytes to send.
    pub(crate) half_closed: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            token: None,
            connections: 64,
            streams: 8,
            remuxes: 1,
            ffmpeg: PathBuf::from("ffmpeg"),
            timeouts: Timeouts {
                head: Duration::from_secs(10),
                idle: Duration::from_secs(30),
                stall: Duration::from_secs(3600),
                half_closed: Duration::from_secs(1),
            },
        }
    }
}
