//! Listeners and connections: accepts, reads requests one after the other, has each answered, logs it.

use super::outcome::{Interrupt, Outcome};
use super::peer::{Next, Peer};
use super::request::Request;
use super::settings::Settings;
use mtrelay_core::reactor::{Async, Interest, Timer};
use mtrelay_core::sys::{clock, socket};
use smol::LocalExecutor;
use smol::future::FutureExt as _;
use smol::lock::Semaphore;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Pause of accepting when the process is out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Upper bound of a client socket's send buffer: what a paused client costs the kernel, beside the window.
const SEND_BUFFER: u32 = 512 << 10;

/// The future of one response.
pub(super) type Response<'a> = Pin<Box<dyn Future<Output = Result<(), Interrupt>> + 'a>>;

/// Answers the requests of a listener.
pub(super) trait Respond {
    fn settings(&self) -> &Settings;

    /// Sends the response to a request. `outcome` gets what its log line needs.
    fn respond<'a>(
        &'a self,
        peer: &'a mut Peer<'_>,
        request: &'a Request,
        outcome: &'a mut Outcome,
    ) -> Response<'a>;
}

/// Serves these listeners until the future is dropped, which closes every connection.
pub(super) async fn listen(responder: Rc<dyn Respond>, listeners: Vec<Async<TcpListener>>) {
    let permits = Arc::new(Semaphore::new(responder.settings().connections));
    // An executor of its own, so that its tasks end with this future.
    let tasks = LocalExecutor::new();
    for listener in listeners {
        let accepting = accept(listener, responder.clone(), permits.clone());
        tasks.spawn(accepting.boxed_local()).detach();
    }
    tasks.run(std::future::pending::<()>()).await;
}

async fn accept(listener: Async<TcpListener>, responder: Rc<dyn Respond>, permits: Arc<Semaphore>) {
    let connections = LocalExecutor::new();
    let accepting = async {
        loop {
            let permit = permits.acquire_arc().await;
            let accepted = listener.try_io(Interest::Read, socket::accept).await;
            match accepted.and_then(|(stream, peer)| Ok((Async::new_nonblocking(stream)?, peer))) {
                Ok((stream, client)) => {
                    let responder = responder.clone();
                    let connection = async move {
                        serve_connection(&*responder, &stream, client).await;
                        drop((stream, permit));
                    };
                    connections.spawn(connection.boxed_local()).detach();
                }
                // The client left before it was accepted (accept(2)).
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    log::warn!("accept: {error}");
                    Timer::after(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    connections.run(accepting).await
}

async fn serve_connection(responder: &dyn Respond, stream: &Async<TcpStream>, client: SocketAddr) {
    socket::tune(stream.get_ref());
    socket::bound_send_buffer(stream.get_ref(), SEND_BUFFER);
    let mut peer = Peer::new(stream, &responder.settings().timeouts);
    loop {
        let keep_alive = match peer.next().await {
            Ok(Next::Request(request)) => exchange(responder, &mut peer, &request, client).await,
            Ok(Next::Bad(refusal)) => {
                let response = refusal.into_bytes(false, false, clock::unix_now());
                peer.send(&response).await.map(|()| false)
            }
            Ok(Next::End) => return,
            Err(error) => Err(error),
        };
        match keep_alive {
            Ok(true) => {}
            Ok(false) => return peer.close().await,
            // The client has left, or the end of the connection tells it that the body is incomplete.
            Err(_) => return,
        }
    }
}

/// Answers one request and logs it. Returns whether the connection stays open.
async fn exchange(
    responder: &dyn Respond,
    peer: &mut Peer<'_>,
    request: &Request,
    client: SocketAddr,
) -> io::Result<bool> {
    let started = clock::now();
    let mut outcome = Outcome::default();
    let result = match responder.respond(peer, request, &mut outcome).await {
        Err(Interrupt::Refuse(refusal)) => {
            outcome.status = refusal.status;
            let response = refusal.into_bytes(request.head_only, request.keep_alive, clock::unix_now());
            peer.send(&response).await
        }
        Err(Interrupt::Cut(error)) => Err(error),
        Ok(()) => Ok(()),
    };
    let method = if request.head_only { "HEAD" } else { "GET" };
    let cut = result
        .as_ref()
        .err()
        .map(|error| format!(" cut: {error}"))
        .unwrap_or_default();
    log::info!(
        "{method} {} {} client={} bytes={} seconds={:.1}{cut}",
        outcome.target,
        outcome.status,
        client.ip().to_canonical(),
        outcome.bytes,
        started.elapsed().as_secs_f32(),
    );
    result.map(|()| request.keep_alive && !outcome.close)
}
