//! The end of a connection whose peer has not finished: what we sent must arrive before we go.
//!
//! Closing a socket that still has unread bytes makes the kernel send a reset, and a reset throws away what is on its
//! way. So, once nothing more will be sent: read and discard, wait until the peer has acknowledged everything, and only
//! then close or reset.

use crate::relay::half;
use mtrelay_core::reactor::{Async, Timer};
use mtrelay_core::sys::socket;
use smol::future::FutureExt as _;
use std::future::pending;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// How a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// With FIN, as other servers end theirs.
    Finish,
    /// With a reset, as the other side was reset.
    Reset,
}

/// A peer that acknowledges nothing for this long is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a program gets to read its last bytes before the reset that answers its own unread ones.
const GRACE: Duration = Duration::from_secs(1);
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LAST_LOOK: Duration = Duration::from_millis(100);

/// Ends `connection` without losing what was written to it.
pub async fn settle(connection: Async<TcpStream>, farewell: Farewell) {
    if farewell == Farewell::Finish {
        let _ = connection.get_ref().shutdown(Shutdown::Write);
    }
    let discarded = async {
        // A peer that has finished sending may still be reading: a reset has to wait for it all the same.
        if half::discard(&connection).await.is_ok() && farewell == Farewell::Reset {
            pending::<()>().await;
        }
    };
    let acknowledged = async {
        all_acknowledged(connection.get_ref()).await;
        if farewell == Farewell::Finish {
            Timer::after(GRACE).await;
        }
    };
    discarded.or(acknowledged).await;
    if farewell == Farewell::Reset {
        socket::reset_on_close(connection.get_ref());
    }
}

/// There is no event for this, so look: soon at first, less often later.
async fn all_acknowledged(connection: &TcpStream) {
    let mut left = socket::unacknowledged(connection);
    let (mut pause, mut patience) = (FIRST_LOOK, PATIENCE);
    while left > 0 && !patience.is_zero() {
        Timer::after(pause).await;
        patience = patience.saturating_sub(pause);
        pause = (pause * 2).min(LAST_LOOK);
        let now_left = socket::unacknowledged(connection);
        if now_left < left {
            patience = PATIENCE;
        }
        left = now_left;
    }
}
