//! `mtfetch serve`: media over HTTP/1.1, for any player on the LAN.
//!
//! Read first: RFC 9110 §§8, 13 and 14, and RFC 9112. The head of a request decides everything (`plan`); then bytes go from a
//! [`Reader`] to the socket, and nobody asks the reader before the socket took what it gave before.
//!
//! Promises: heads of at most 8 KiB; at most [`Settings::connections`] connections, whose idle ones end, and
//! [`Settings::streams`] media at once; a client that leaves frees what was fetched for it; one that stops reading stops the
//! fetching; without a token only names of this machine are answered, so that no web page can read through a name of its
//! own that it points here (DNS rebinding).

mod peer;
mod plan;
mod range;
mod remux;
mod request;
mod response;
#[cfg(test)]
mod tests;

use crate::cache::Cache;
use crate::link::{Link, LinkError};
use crate::source::{FetchError, Media, Reader, Source};
use mtrelay_core::reactor::{Async, Timer};
use mtrelay_core::sys::{clock, socket};
use peer::{Next, Peer};
use plan::{Plan, plan};
use request::{Request, parameter};
use response::{Head, Refusal, content_type, disposition, etag};
use smol::LocalExecutor;
use smol::future::FutureExt as _;
use smol::lock::Semaphore;
use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What the owner may choose.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What has to stand in the URL.
    pub(crate) token: Option<String>,
    /// Connections at once; others wait in the kernel's queue.
    pub(crate) connections: usize,
    /// Media at once; each has a window of its own.
    pub(crate) streams: usize,
    /// Remuxes at once.
    pub(crate) remuxes: usize,
    /// The program that remuxes.
    pub(crate) ffmpeg: PathBuf,
    /// How long things may take.
    pub(crate) times: Times,
}

/// How long things may take.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    /// From a request's first byte to its last.
    pub(crate) head: Duration,
    /// Between two requests.
    pub(crate) idle: Duration,
    /// A client takes nothing: a player that is paused.
    pub(crate) stall: Duration,
    /// A client has closed its side, and there is nothing for it.
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
            times: Times {
                head: Duration::from_secs(10),
                idle: Duration::from_secs(30),
                stall: Duration::from_secs(3600),
                half_closed: Duration::from_secs(1),
            },
        }
    }
}

/// How long accepting pauses when the process has no descriptors or memory left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What the kernel holds at most of an answer that the client does not read, beside the window.
const SEND_BUFFER: u32 = 512 << 10;

/// Media over HTTP.
pub(crate) struct Gateway<S: Source> {
    source: Rc<S>,
    cache: Rc<Cache>,
    settings: Settings,
    streams: Cell<usize>,
    remuxes: Cell<usize>,
}

/// What a listener answers with.
enum Site<S: Source> {
    /// Any link.
    Everything(Rc<Gateway<S>>),
    /// One medium at one path: what a remux reads.
    One(Rc<Gateway<S>>, Rc<(String, Media)>),
}

impl<S: Source> Clone for Site<S> {
    fn clone(&self) -> Site<S> {
        match self {
            Site::Everything(gateway) => Site::Everything(gateway.clone()),
            Site::One(gateway, one) => Site::One(gateway.clone(), one.clone()),
        }
    }
}

/// A place among those that are counted.
struct Place<'a>(&'a Cell<usize>);

impl<'a> Place<'a> {
    fn take(count: &'a Cell<usize>, most: usize) -> Option<Place<'a>> {
        (count.get() < most).then(|| {
            count.set(count.get() + 1);
            Place(count)
        })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl<S: Source> Gateway<S> {
    /// A gateway to a source.
    pub(crate) fn new(source: Rc<S>, cache: Rc<Cache>, settings: Settings) -> Rc<Gateway<S>> {
        Rc::new(Gateway {
            source,
            cache,
            settings,
            streams: Cell::new(0),
            remuxes: Cell::new(0),
        })
    }
}

/// Answers for ever. Dropping it closes every connection.
pub(crate) async fn serve<S: Source>(gateway: Rc<Gateway<S>>, listeners: Vec<Async<TcpListener>>) {
    listen(Site::Everything(gateway), listeners).await;
}

async fn listen<S: Source>(site: Site<S>, listeners: Vec<Async<TcpListener>>) {
    let places = Arc::new(Semaphore::new(site.gateway().settings.connections));
    // An executor of its own: the connections end when this future is dropped.
    let connections = LocalExecutor::new();
    for listener in listeners {
        let (site, places) = (site.clone(), places.clone());
        connections
            .spawn(accept(listener, site, places).boxed_local())
            .detach();
    }
    connections.run(std::future::pending::<()>()).await;
}

/// Accepts for ever, and serves what it accepted.
async fn accept<S: Source>(listener: Async<TcpListener>, site: Site<S>, places: Arc<Semaphore>) {
    let connections = LocalExecutor::new();
    let accepting = async {
        loop {
            let place = places.acquire_arc().await;
            let accepted = listener.read_with(socket::accept).await;
            match accepted.and_then(|(stream, peer)| Ok((Async::new_nonblocking(stream)?, peer))) {
                Ok((stream, client)) => {
                    let site = site.clone();
                    let connection = async move {
                        site.connection(&stream, client).await;
                        drop((stream, place));
                    };
                    connections.spawn(connection.boxed_local()).detach();
                }
                // That one connection was gone before it was taken (accept(2)).
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

impl<S: Source> Site<S> {
    fn gateway(&self) -> &Rc<Gateway<S>> {
        match self {
            Site::Everything(gateway) | Site::One(gateway, _) => gateway,
        }
    }

    async fn connection(&self, stream: &Async<TcpStream>, client: SocketAddr) {
        socket::tune(stream.get_ref());
        socket::bound_send_buffer(stream.get_ref(), SEND_BUFFER);
        let mut peer = Peer::new(stream, &self.gateway().settings.times);
        loop {
            let goes_on = match peer.next().await {
                Ok(Next::Request(request)) => self.exchange(&mut peer, &request, client).await,
                Ok(Next::Bad(refusal)) => {
                    let answer = refusal.into_bytes(false, false, clock::unix_now());
                    peer.send(&answer).await.map(|()| false)
                }
                Ok(Next::End) => return,
                Err(error) => Err(error),
            };
            match goes_on {
                Ok(true) => {}
                Ok(false) => return peer.close().await,
                // The client is gone, or has to learn that its answer is not whole: the connection just ends.
                Err(_) => return,
            }
        }
    }

    /// Answers one request; tells whether the connection goes on. One log line, whatever became of it.
    async fn exchange(&self, peer: &mut Peer<'_>, request: &Request, client: SocketAddr) -> io::Result<bool> {
        let started = clock::now();
        let mut done = Done::default();
        let result = match self.answer(peer, request, client, &mut done).await {
            Err(Stop::Refuse(refusal)) => {
                done.status = refusal.status;
                let answer = refusal.into_bytes(request.head_only, request.keep_alive, clock::unix_now());
                peer.send(&answer).await
            }
            Err(Stop::Cut(error)) => Err(error),
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
            done.what,
            done.status,
            client.ip().to_canonical(),
            done.bytes,
            started.elapsed().as_secs_f32(),
        );
        result.map(|()| request.keep_alive && !done.close)
    }

    async fn answer(
        &self,
        peer: &mut Peer<'_>,
        request: &Request,
        client: SocketAddr,
        done: &mut Done,
    ) -> Result<(), Stop> {
        let gateway = self.gateway();
        let media = match self {
            Site::One(_, one) => {
                if request.path.strip_prefix('/') != Some(&one.0) {
                    return Err(Refusal::new(404, "").into());
                }
                done.what = String::from("(remux)");
                return gateway.medium(peer, request, &one.1, done).await;
            }
            Site::Everything(_) => gateway.locate(peer, request, done).await?,
        };
        let _place = Place::take(&gateway.streams, gateway.settings.streams)
            .ok_or_else(|| Refusal::later(2, "as many media are on their way as may be"))?;
        match parameter(&request.query, "remux") {
            None => gateway.medium(peer, request, &media, done).await,
            Some("mp4") => Box::pin(remux::answer(gateway, peer, request, media, done)).await,
            Some(_) => Err(Refusal::new(400, "there is remux=mp4").into()),
        }
        .inspect_err(|_| log::debug!("for {client}"))
    }
}

/// What becomes of an exchange, for the log.
#[derive(Default)]
struct Done {
    what: String,
    status: u16,
    bytes: u64,
    /// The connection ends with it.
    close: bool,
}

/// Why an answer ends early.
enum Stop {
    /// Before its head: another one goes out instead.
    Refuse(Refusal),
    /// After it, or because the client left.
    Cut(io::Error),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refuse(refusal)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Cut(error)
    }
}

impl<S: Source> Gateway<S> {
    /// The medium that a request names.
    async fn locate(&self, peer: &mut Peer<'_>, request: &Request, done: &mut Done) -> Result<Media, Stop> {
        let path = self.admit(request)?;
        if path.is_empty() {
            done.what = String::from("/");
            let text = concat!("mtfetch ", env!("CARGO_PKG_VERSION"), ": /t.me/NAME/NUMBER");
            return Err(Refusal::new(200, text).into());
        }
        let link: Link = format!("{path}?{}", request.query)
            .parse()
            .map_err(|error: LinkError| {
                let status = if matches!(error, LinkError::NotTelegram(_)) {
                    404
                } else {
                    400
                };
                Refusal::new(status, error.to_string())
            })?;
        done.what = link.to_string();
        let found = peer.wait(self.find(&link)).await?.map_err(Refusal::from)?;
        let wanted = link.comment.unwrap_or(link.message);
        let one = match parameter(&request.query, "n") {
            None => found
                .iter()
                .find(|media| media.origin.message == wanted)
                .or(found.first()),
            Some(n) => n.parse().ok().and_then(|n: usize| found.get(n.checked_sub(1)?)),
        };
        let count = found.len();
        one.cloned()
            .ok_or_else(|| Refusal::new(404, format!("the message has {count} media")).into())
    }

    /// Whether the request may ask at all; what is left of its path.
    fn admit<'a>(&self, request: &'a Request) -> Result<&'a str, Refusal> {
        let path = request.path.strip_prefix('/').unwrap_or(&request.path);
        let Some(token) = &self.settings.token else {
            let host = request.host.as_deref().unwrap_or("localhost");
            return if mtrelay_core::host::names_this_machine(host.as_bytes()) {
                Ok(path)
            } else {
                Err(Refusal::new(
                    403,
                    "without a token only an IP address or localhost is answered",
                ))
            };
        };
        if parameter(&request.query, "token").is_some_and(|given| is_equal(given, token)) {
            return Ok(path);
        }
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        if is_equal(first, token) {
            return Ok(rest);
        }
        Err(Refusal::new(
            403,
            "the URL needs the token: /TOKEN/t.me/NAME/NUMBER",
        ))
    }

    async fn find(&self, link: &Link) -> Result<Vec<Media>, FetchError> {
        if let Some(known) = self.cache.find(link).await {
            return Ok(known);
        }
        let found = self.source.find(link).await?;
        self.cache.keep(link, &found).await;
        Ok(found)
    }

    /// Answers with a medium, or the parts of it that are asked for.
    async fn medium(
        &self,
        peer: &mut Peer<'_>,
        request: &Request,
        media: &Media,
        done: &mut Done,
    ) -> Result<(), Stop> {
        let tag = etag(media);
        let size = media.size;
        let plan = plan(request, &tag, size);
        done.status = match &plan {
            Plan::Whole => 200,
            Plan::Part(_) | Plan::Parts(_) => 206,
            Plan::NotModified => 304,
            Plan::Failed => return Err(Refusal::new(412, "").into()),
            Plan::Unsatisfiable => 416,
        };
        let mut head = Head::new(done.status, clock::unix_now());
        head.add("ETag", &tag);
        head.add("Accept-Ranges", "bytes");
        head.add("Cache-Control", "private, no-cache");
        let kind = content_type(media);
        let parts = match plan {
            Plan::Parts(parts) => {
                let parts = Parts::new(parts, kind, size)?;
                head.add(
                    "Content-Type",
                    format_args!("multipart/byteranges; boundary={}", parts.boundary),
                );
                head.add("Content-Length", parts.len());
                parts
            }
            Plan::Part(part) => {
                head.add("Content-Type", kind);
                head.add("Content-Range", content_range(&part, size));
                head.add("Content-Length", part.end - part.start);
                Parts::alone(part)
            }
            Plan::Whole => {
                head.add("Content-Type", kind);
                head.add("Content-Length", size);
                Parts::alone(0..size)
            }
            Plan::NotModified => return Ok(peer.send(&head.finish(request.keep_alive)).await?),
            Plan::Failed | Plan::Unsatisfiable => {
                head.add("Content-Range", format_args!("bytes */{size}"));
                head.add("Content-Length", 0);
                return Ok(peer.send(&head.finish(request.keep_alive)).await?);
            }
        };
        head.add(
            "Content-Disposition",
            disposition(media, parameter(&request.query, "download").is_some()),
        );
        head.add("X-Content-Type-Options", "nosniff");
        let head = head.finish(request.keep_alive);
        if request.head_only {
            return Ok(peer.send(&head).await?);
        }
        self.parts(peer, media, head, parts, done).await
    }

    /// Sends the head and the parts behind it. Nothing is sent before the first bytes are there, so that a medium that
    /// cannot be had is refused by its status.
    async fn parts(
        &self,
        peer: &mut Peer<'_>,
        media: &Media,
        head: Vec<u8>,
        parts: Parts,
        done: &mut Done,
    ) -> Result<(), Stop> {
        let mut head = Some(head);
        for (title, part) in &parts.parts {
            let mut left = part.end - part.start;
            let mut reader = (left > 0).then(|| self.source.open(media, part.clone()));
            let mut before = title.clone().into_bytes();
            while let Some(reader) = reader.as_mut().filter(|_| left > 0) {
                let next = peer.wait(reader.next()).await?;
                let mut piece = match (next, &head) {
                    (Ok(Some(piece)), _) if piece.len() as u64 <= left => piece,
                    (Err(error), Some(_)) => return Err(Refusal::from(error).into()),
                    (Err(error), None) => return Err(io::Error::other(error).into()),
                    (Ok(_), _) => return Err(io::Error::other("the medium has another length").into()),
                };
                left -= piece.len() as u64;
                done.bytes += piece.len() as u64;
                if let Some(head) = head.take() {
                    before.splice(..0, head);
                }
                if !before.is_empty() {
                    before.append(&mut piece);
                    std::mem::swap(&mut piece, &mut before);
                    before = Vec::new();
                }
                peer.send(&piece).await?;
            }
        }
        if let Some(head) = head {
            peer.send(&head).await?;
        }
        Ok(peer.send(parts.end.as_bytes()).await?)
    }
}

/// The parts of an answer, each with what stands before it.
struct Parts {
    boundary: String,
    parts: Vec<(String, Range<u64>)>,
    end: String,
}

impl Parts {
    fn alone(part: Range<u64>) -> Parts {
        Parts {
            boundary: String::new(),
            parts: vec![(String::new(), part)],
            end: String::new(),
        }
    }

    /// `multipart/byteranges` (RFC 9110 §14.6). Nobody who made the medium could know the boundary.
    fn new(parts: Vec<Range<u64>>, kind: &str, size: u64) -> Result<Parts, Refusal> {
        let boundary = random_word().map_err(|error| Refusal::new(503, error.to_string()))?;
        let titled = |part: Range<u64>| {
            let range = content_range(&part, size);
            let title = format!("\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {range}\r\n\r\n");
            (title, part)
        };
        Ok(Parts {
            parts: parts.into_iter().map(titled).collect(),
            end: format!("\r\n--{boundary}--\r\n"),
            boundary,
        })
    }

    fn len(&self) -> u64 {
        let parts = self
            .parts
            .iter()
            .map(|(title, part)| title.len() as u64 + part.end - part.start);
        parts.sum::<u64>() + self.end.len() as u64
    }
}

fn content_range(part: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1))
}

/// A word that nobody guesses: 128 bits in hex.
///
/// # Errors
/// As getrandom(2).
pub(crate) fn random_word() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// In a time that tells nothing but the length.
fn is_equal(a: &str, b: &str) -> bool {
    let differ = a
        .bytes()
        .zip(b.bytes())
        .fold(0, |differ, (a, b)| differ | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differ) == 0
}
