//! A session, from the accepted socket to its one close reason.
//!
//! Read [`serve`]: it is the whole of it. Two promises hold whatever happens: every byte that arrived from one side is written to the
//! other before the end is passed on, and every session ends with exactly one [`mtrelay_core::close::CloseReason`].

use crate::relay::admission::HandshakeSlot;
use crate::relay::client::Client;
use crate::relay::connect::{ConnectedSession, DcConnection, connect};
use crate::relay::context::{Accepted, Context};
use crate::relay::duplex::{Duplex, Resets};
use crate::relay::first_request::{DcAttempt, FirstRequest};
use crate::relay::front;
use crate::relay::handshake::{Authentication, authenticate};
use crate::relay::linger::{self, CloseMode, Ending};
use crate::relay::pump::{Direction, Transform};
use mtrelay_core::close::{CloseReason, Side};
use mtrelay_core::dc::DcId;
use mtrelay_core::reactor::Async;
use std::future::poll_fn;
use std::net::TcpStream;
use std::pin::Pin;
use std::rc::Rc;
use wire::Mode;
use wire::cipher::Stream;

/// Serves one accepted connection to its end. The stages are boxed: the memory of each is freed before the next one begins, and the
/// duplex alone lives as long as the session.
pub fn serve(accepted: Accepted, context: Rc<Context>, slot: HandshakeSlot) -> impl Future<Output = ()> {
    // Boxed outside: the arguments of an async fn keep their place in its frame, which lives as long as the session.
    let handshake = Box::pin(authenticate(accepted, context.clone(), slot));
    run(handshake, context)
}

async fn run(handshake: Pin<Box<impl Future<Output = Authentication>>>, context: Rc<Context>) {
    // Handshake: the user, the mode and the DC, or the front site.
    let (accepted, handshake) = match handshake.await {
        Authentication::User(accepted, handshake) => (accepted, handshake),
        Authentication::Visitor(visitor) => return Box::pin(front::show(visitor, context)).await,
        Authentication::Closed => return,
    };

    // Admit: the limits of the user and of the relay.
    let id = DcId::from_wire(handshake.dc);
    let user = handshake.user;
    let client = Client::begin(accepted, &handshake, id, context);
    let addresses = match client.admit(user, id) {
        Ok(addresses) => addresses,
        Err(reason) => {
            let ending = Ending::for_client(reason, CloseMode::Fin);
            return Box::pin(finish(client, None, ending)).await;
        }
    };

    // Connect, and send the first request until a DC answers.
    let (dc, ending) = match Box::pin(connect(&client, id, addresses, *handshake)).await {
        // Duplex: both directions until both have ended.
        Ok(connected) => Box::pin(relay(&client, connected)).await,
        Err(unconnected) => (unconnected.dc, unconnected.ending),
    };

    // Count, log and linger.
    Box::pin(finish(client, dc, ending)).await;
}

/// Relays until both directions have ended, or the session is ended from outside.
async fn relay(client: &Client, connected: Box<ConnectedSession>) -> (Option<Async<TcpStream>>, Ending) {
    let dialer = &client.context.shared.dialer;
    let ConnectedSession {
        dc: DcConnection { socket, warm, .. },
        request,
        attempt,
    } = *connected;
    let moved_up = |len| client.moved_up(len);
    let moved_down = |len| {
        if let (0, Some(address)) = (client.stats.down(), client.stats.addr()) {
            dialer.answered(address);
        }
        client.moved_down(len);
    };
    let mut duplex = duplex(client, &socket, (request, attempt), [&moved_up, &moved_down]);
    let ending = poll_fn(|context| duplex.poll(context)).await;
    drop(duplex);
    if ending.reason.by() == Side::Dc
        && client.stats.up() > 0
        && client.stats.down() == 0
        && let Some(address) = client.stats.addr()
    {
        // The DC took a request and ended without an answer: the next session prefers another address.
        dialer.suspect(address, warm);
    }
    (Some(socket), ending)
}

/// Counts and logs the end, and closes both connections.
async fn finish(client: Client, dc: Option<Async<TcpStream>>, ending: Ending) {
    if let (CloseReason::DcTimeout, Some(address)) = (ending.reason, client.stats.addr()) {
        client.context.shared.dialer.timed_out(address);
    }
    let socket = client.end(ending.reason);
    linger::close_both(socket, dc, ending).await;
}

/// Both directions between a client and its DC. Each `moved` closure is called with the bytes that its direction has moved.
fn duplex<'a>(
    client: &'a Client,
    dc: &'a Async<TcpStream>,
    (request, attempt): (FirstRequest, DcAttempt),
    [moved_up, moved_down]: [&'a dyn Fn(usize); 2],
) -> Duplex<'a> {
    let shared = &client.context.shared;
    let direction = |from, to, transform, moved| Direction {
        from,
        to,
        transform,
        pool: &shared.pool,
        pipes: &shared.pipes,
        handle: &client.handle,
        moved,
    };
    if attempt.fast && shared.pipes.exist() {
        client.stats.spliced();
    }
    let down = Transform {
        unwrap: None,
        recrypt: (!attempt.fast).then(|| (Stream::new(&attempt.down), Stream::new(&request.down))),
        wrap: request.mode == Mode::Ee,
    };
    let first = Box::pin(async move {
        let (unwrap, from, to) = request.finish(attempt, dc, &shared.scratch).await?;
        Ok(Transform {
            unwrap,
            recrypt: Some((from, to)),
            wrap: false,
        })
    });
    let up = direction(&client.socket, dc, Transform::default(), moved_up);
    let down = direction(dc, &client.socket, down, moved_down);
    Duplex::new(first, up, down, Resets::OnlyFresh)
}
