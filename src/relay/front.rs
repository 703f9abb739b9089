//! Connections of unauthenticated clients to the front site: bytes pass unchanged in both directions from the first one.
//!
//! A probe sees the site's own certificate, alerts, and way and time of closing.

use crate::relay::context::{Accepted, Context, Shared};
use crate::relay::duplex::{Duplex, Resets};
use crate::relay::front_site::FrontSite;
use crate::relay::linger::{self, CloseMode};
use crate::relay::live_sessions::SessionHandle;
use crate::relay::pump::{Direction, Transform};
use crate::relay::stream;
use mtrelay_core::close::CloseReason;
use mtrelay_core::reactor::{Async, Interest};
use mtrelay_core::sys::socket;
use smol::future::FutureExt as _;
use std::future::poll_fn;
use std::net::{IpAddr, TcpStream};
use std::rc::Rc;

/// A client's connection to the front site.
pub(super) struct FrontConnection {
    socket: Async<TcpStream>,
    handle: Rc<SessionHandle>,
}

/// An unauthenticated client.
pub(super) struct Visitor {
    /// Its connection to us.
    pub accepted: Accepted,
    /// What it has sent so far.
    pub bytes: Vec<u8>,
    /// The connection to the site, if the handshake has made one already.
    pub connection: Option<Rc<FrontConnection>>,
}

impl FrontConnection {
    /// Connects to the site for a client. Beyond the limit of front connections the oldest one ends.
    pub(super) async fn connect(
        site: &FrontSite,
        client: IpAddr,
        shared: &Shared,
    ) -> Option<FrontConnection> {
        let handle = shared.front_connections.begin(None, client);
        shared
            .front_connections
            .end_oldest_beyond(shared.max_front_connections, CloseReason::Limit);
        let ended = async {
            handle.ended().await;
            None
        };
        let socket = site.connect().or(ended).await?;
        // Before the site sends anything: the kernel grows the buffer while bytes arrive.
        socket::keep_receive_buffer(socket.get_ref());
        Some(FrontConnection { socket, handle })
    }

    /// Waits until the site speaks or closes although nothing was sent to it. Returns `false` when the connection was displaced.
    pub(super) async fn site_speaks_first(&self) -> bool {
        let site = async {
            let _ = self.socket.ready(Interest::Read).await;
            true
        };
        let ended = async {
            self.handle.ended().await;
            false
        };
        ended.or(site).await
    }
}

/// Connects a client with the front site until both directions have ended, then closes as the site did.
pub(super) async fn show(visitor: Visitor, context: Rc<Context>) {
    let Visitor {
        accepted: Accepted { socket, client },
        bytes,
        connection,
    } = visitor;
    let shared = &context.shared;
    let connection = match (connection, &context.front) {
        (None, Some(site)) => FrontConnection::connect(site, client, shared).await.map(Rc::new),
        (connection, _) => connection,
    };
    let Some(connection) = connection else {
        return linger::close(socket, CloseMode::Fin).await;
    };
    let counted = shared.stats.fronted();
    let mode = relay(&socket, &connection, bytes, shared).await;
    drop((connection, counted, context));
    linger::close(socket, mode).await;
}

/// Relays both directions. Returns how the client's connection is to be closed.
async fn relay(
    client: &Async<TcpStream>,
    front: &FrontConnection,
    bytes: Vec<u8>,
    shared: &Shared,
) -> CloseMode {
    let moved = |len| shared.stats.fronted_moved(len);
    let direction = |from, to| Direction {
        from,
        to,
        transform: Transform::default(),
        pool: &shared.pool,
        pipes: &shared.pipes,
        handle: &front.handle,
        moved: &moved,
    };
    let first = Box::pin(async move {
        stream::write_all(&front.socket, &bytes).await?;
        Ok(Transform::default())
    });
    let (up, down) = (direction(client, &front.socket), direction(&front.socket, client));
    let mut duplex = Duplex::new(first, up, down, Resets::AlwaysTold);
    let ending = poll_fn(|context| duplex.poll(context)).await;
    ending.client.unwrap_or(CloseMode::Fin)
}
