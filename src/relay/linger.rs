//! Closing a connection without losing bytes that are still on their way.
//!
//! Closing a socket that holds unread bytes makes the kernel send RST (RFC 2525 section 2.17), and the peer then discards what it has
//! not read. So, once nothing more will be sent: read and discard, wait until the peer has acknowledged everything, and only then close.

use crate::relay::stream;
use mtrelay_core::close::CloseReason;
use mtrelay_core::reactor::{Async, Timer};
use mtrelay_core::sys::socket;
use smol::future::{self, FutureExt as _};
use std::future::pending;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// How a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseMode {
    /// With FIN, as an orderly end.
    Fin,
    /// With RST, because the other side of the session was reset.
    Reset,
}

/// How a session ended: its close reason, and how each connection is closed. `None`: the connection is closed already, or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// The first cause.
    pub reason: CloseReason,
    /// The client's connection.
    pub client: Option<CloseMode>,
    /// The DC's, or the front site's, connection.
    pub dc: Option<CloseMode>,
}

impl Ending {
    /// An ending after which both connections are closed at once.
    #[must_use]
    pub(super) fn abrupt(reason: CloseReason) -> Ending {
        Ending {
            reason,
            client: None,
            dc: None,
        }
    }

    /// An ending that the client alone is still to be told.
    #[must_use]
    pub(super) fn for_client(reason: CloseReason, mode: CloseMode) -> Ending {
        Ending {
            client: Some(mode),
            ..Ending::abrupt(reason)
        }
    }
}

/// Time without progress after which a peer that acknowledges nothing is given up.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the peer's program to read its last bytes before its own unread bytes make our kernel send RST.
const READ_GRACE: Duration = Duration::from_secs(1);
/// First and longest interval between two looks at the unacknowledged bytes; it doubles from one to the other.
const INITIAL_POLL_INTERVAL: Duration = Duration::from_millis(2);
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Closes both connections of a session, each in its mode, at the same time.
pub(super) async fn close_both(client: Async<TcpStream>, dc: Option<Async<TcpStream>>, ending: Ending) {
    let close = async |connection: Option<Async<TcpStream>>, mode: Option<CloseMode>| {
        if let (Some(connection), Some(mode)) = (connection, mode) {
            close(connection, mode).await;
        }
    };
    future::zip(close(dc, ending.dc), close(Some(client), ending.client)).await;
}

/// Closes `connection` after the peer has acknowledged what was written to it.
pub(super) async fn close(connection: Async<TcpStream>, mode: CloseMode) {
    if mode == CloseMode::Fin {
        let _ = connection.get_ref().shutdown(Shutdown::Write);
    }
    let discarded = async {
        // A peer that has sent FIN may still be reading: RST waits for its acknowledgements all the same.
        if stream::discard(&connection).await.is_ok() && mode == CloseMode::Reset {
            pending::<()>().await;
        }
    };
    let acknowledged = async {
        wait_for_acknowledgements(connection.get_ref()).await;
        if mode == CloseMode::Fin {
            Timer::after(READ_GRACE).await;
        }
    };
    discarded.or(acknowledged).await;
    if mode == CloseMode::Reset {
        socket::reset_on_close(connection.get_ref());
    }
}

/// The kernel has no event for an acknowledgement, so this polls: soon at first, less often later.
async fn wait_for_acknowledgements(connection: &TcpStream) {
    let mut left = socket::unacknowledged(connection);
    let (mut interval, mut patience) = (INITIAL_POLL_INTERVAL, ACK_TIMEOUT);
    while left > 0 && !patience.is_zero() {
        Timer::after(interval).await;
        patience = patience.saturating_sub(interval);
        interval = (interval * 2).min(MAX_POLL_INTERVAL);
        let now_left = socket::unacknowledged(connection);
        if now_left < left {
            patience = ACK_TIMEOUT;
        }
        left = now_left;
    }
}
