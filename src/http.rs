//! The statistics pages: `/stats`, `/metrics`, `/status` and `/status.txt` over HTTP/1.x (RFC 9112), and the client for `mtrelay status`.
//!
//! Each connection is answered once and closed. Promises: at most 16 connections and 64 KiB of request heads at one time, each
//! connection closed after five seconds; without free descriptors accepting pauses and does not spin; a web page cannot read the
//! counters through a host name that it points at this address (DNS rebinding), because only IP addresses and `localhost` are served.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use smol::LocalExecutor;
use smol::future::{self, FutureExt as _};
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::lock::Semaphore;

use crate::metrics::{Snapshot, json, page, prometheus, text};
use mtrelay_core::host::names_this_machine;
use mtrelay_core::reactor::{Async, Interest, Timer};
use mtrelay_core::sys::socket;

/// The limits of the server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at one time; others wait in the kernel's accept queue.
    pub connections: usize,
    /// The time from accepting a connection to closing it.
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 16,
            deadline: Duration::from_secs(5),
        }
    }
}

/// The longest request head, in bytes: a browser's has about 1 KiB.
const HEAD_MAX: usize = 4096;

/// The largest number of headers in a request.
const HEADERS_MAX: usize = 64;

/// Bytes read after the request, at most: unread bytes would make close(2) reset the connection before the client has read the answer.
const LINGER_MAX: usize = 64 * 1024;

/// The time for that, at most.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// The pause in accepting while the process has no free descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves the pages; the future never ends. Dropping it closes every connection.
pub async fn serve(listener: Async<TcpListener>, snapshot: Rc<dyn Fn() -> Snapshot>) {
    serve_within(listener, snapshot, Limits::default()).await;
}

/// As [`serve`], with other limits.
pub async fn serve_within(listener: Async<TcpListener>, snapshot: Rc<dyn Fn() -> Snapshot>, limits: Limits) {
    Server::new(snapshot, limits).run(listener).await;
}

/// Whether `head` is a whole request, to be answered with a page or an error.
#[must_use]
pub fn is_understood(head: &[u8]) -> bool {
    matches!(parse(head), Parsed::Request(_))
}

struct Server {
    snapshot: Rc<dyn Fn() -> Snapshot>,
    limits: Limits,
    /// Open connections, and the highest number so far.
    open: Cell<usize>,
    peak: Cell<usize>,
}

impl Server {
    fn new(snapshot: Rc<dyn Fn() -> Snapshot>, limits: Limits) -> Server {
        Server {
            snapshot,
            limits,
            open: Cell::new(0),
            peak: Cell::new(0),
        }
    }

    async fn run(&self, listener: Async<TcpListener>) {
        let places = Semaphore::new(self.limits.connections);
        // With an executor of its own, the connections end when this future is dropped.
        let connections = LocalExecutor::new();
        let accept = async {
            loop {
                let place = places.acquire().await;
                let accepted = listener.try_io(Interest::Read, socket::accept).await;
                match accepted.and_then(|(stream, _)| Async::new_nonblocking(stream)) {
                    Ok(stream) => {
                        let connection = async move {
                            self.connection(&stream).await;
                            drop((stream, place));
                        };
                        connections.spawn(connection.boxed_local()).detach();
                    }
                    Err(error) if concerns_one_connection(&error) => {}
                    Err(_) => drop(Timer::after(ACCEPT_PAUSE).await),
                }
            }
        };
        connections.run(accept).await
    }

    async fn connection(&self, stream: &Async<TcpStream>) {
        self.open.set(self.open.get() + 1);
        self.peak.set(self.peak.get().max(self.open.get()));
        let deadline = async {
            Timer::after(self.limits.deadline).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        // The connection is closed after a success and after an error alike.
        let _: io::Result<()> = future::or(self.exchange(stream), deadline).await;
        self.open.set(self.open.get() - 1);
    }

    async fn exchange(&self, mut stream: &Async<TcpStream>) -> io::Result<()> {
        let mut head = Vec::new();
        let answer = loop {
            match parse(&head) {
                Parsed::Request(request) => break self.answer(&request),
                Parsed::Bad(answer) => break answer,
                Parsed::Partial => {}
            }
            let mut piece = [0; 1024];
            let room = piece.len().min(HEAD_MAX - head.len());
            match stream.read(&mut piece[..room]).await? {
                0 if head.is_empty() => return Ok(()),
                0 => break Answer::refusal(400, "Bad Request"),
                n => head.extend_from_slice(&piece[..n]),
            }
        };
        stream.write_all(&answer.into_bytes()).await?;
        stream.flush().await?;
        stream.get_ref().shutdown(std::net::Shutdown::Write)?;
        let done = async {
            Timer::after(LINGER_TIME).await;
            Ok(())
        };
        future::or(linger(stream), done).await
    }

    fn answer(&self, request: &Request) -> Answer {
        if !request.host_is_ours {
            return Answer::refusal(403, "Forbidden: use an IP address or localhost");
        }
        let page: fn(&Snapshot) -> String = match &*request.path {
            "/stats" => text::stats,
            "/metrics" => prometheus::metrics,
            "/status" => json::status,
            "/status.txt" => page::page,
            _ => {
                return Answer::refusal(404, "Not Found: there are /stats /metrics /status /status.txt");
            }
        };
        if request.method == Method::Other {
            return Answer::refusal(405, "Method Not Allowed");
        }
        let media_type = match &*request.path {
            "/metrics" => prometheus::CONTENT_TYPE,
            "/status" => "application/json",
            _ => TEXT,
        };
        let body = page(&(self.snapshot)());
        Answer {
            code: 200,
            reason: "OK",
            media_type,
            body,
            body_is_sent: request.method == Method::Get,
        }
    }
}

/// Whether the error concerns one connection only, so that the next one can be accepted at once. Other errors, such as EMFILE, would
/// come back at once.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

async fn linger(mut stream: &Async<TcpStream>) -> io::Result<()> {
    let mut piece = [0; 1024];
    let mut read = 0;
    while read < LINGER_MAX {
        match stream.read(&mut piece).await? {
            0 => break,
            n => read += n,
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Method {
    Get,
    Head,
    Other,
}

#[derive(Debug, PartialEq, Eq)]
struct Request {
    method: Method,
    /// Without the query.
    path: String,
    host_is_ours: bool,
}

enum Parsed {
    Partial,
    Request(Request),
    Bad(Answer),
}

fn parse(head: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if head.len() < HEAD_MAX => return Parsed::Partial,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Parsed::Bad(Answer::refusal(431, "Request Header Fields Too Large"));
        }
        Err(_) => return Parsed::Bad(Answer::refusal(400, "Bad Request")),
    }
    match understand(&request) {
        Some(request) => Parsed::Request(request),
        None => Parsed::Bad(Answer::refusal(400, "Bad Request")),
    }
}

/// The parts of the request that matter here; `None` if RFC 9112 calls it invalid.
fn understand(request: &httparse::Request<'_, '_>) -> Option<Request> {
    let method = match request.method? {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        _ => Method::Other,
    };
    let mut hosts = request
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("host"));
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host.value),
        // Only HTTP/1.0 may omit it; browsers never do.
        (None, _) if request.version == Some(0) => None,
        _ => return None,
    };
    let mut host_is_ours = host.is_none_or(names_this_machine);
    let mut target = request.path?;
    // The absolute form, which proxies receive. Every server must accept it, and its host overrides the header.
    if let Some((scheme, rest)) = target.split_at_checked(7)
        && scheme.eq_ignore_ascii_case("http://")
    {
        let path = rest.find(['/', '?']).unwrap_or(rest.len());
        host_is_ours &= names_this_machine(&rest.as_bytes()[..path]);
        target = &rest[path..];
    }
    let path = target.split('?').next()?.to_owned();
    Some(Request {
        method,
        path,
        host_is_ours,
    })
}

const TEXT: &str = "text/plain; charset=utf-8";

struct Answer {
    code: u16,
    reason: &'static str,
    media_type: &'static str,
    body: String,
    body_is_sent: bool,
}

impl Answer {
    /// An error page. `text` is the reason phrase, followed by a colon and an explanation for people.
    fn refusal(code: u16, text: &'static str) -> Answer {
        let reason = text.split(':').next().unwrap_or(text);
        Answer {
            code,
            reason,
            media_type: TEXT,
            body: format!("{text}\n"),
            body_is_sent: true,
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        let Answer {
            code,
            reason,
            media_type,
            body,
            body_is_sent,
        } = self;
        let allow = if code == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        let mut answer = format!(
            "HTTP/1.1 {code} {reason}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n{allow}\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
            body.len()
        );
        if body_is_sent {
            answer.push_str(&body);
        }
        answer.into_bytes()
    }
}

/// The time limit of `fetch`.
const FETCH_TIME: Duration = Duration::from_secs(5);

/// The longest reply that `fetch` accepts, in bytes: 1,000 users are about 200 KiB.
const FETCH_MAX: usize = 4 << 20;

/// Requests a statistics page of a running relay; blocks for at most five seconds. Returns the status code and the body.
pub fn fetch(addr: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    fetch_within(addr, path, FETCH_TIME, FETCH_MAX)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a blocking client, outside the daemon's loop"
)]
fn fetch_within(addr: SocketAddr, path: &str, time: Duration, most: usize) -> io::Result<(u16, String)> {
    let left = {
        let start = Instant::now();
        move || match time.checked_sub(start.elapsed()) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(io::Error::from(io::ErrorKind::TimedOut)),
        }
    };
    let mut stream = TcpStream::connect_timeout(&addr, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut reply = Vec::new();
    let mut piece = [0; 4096];
    loop {
        // Set before each read: a server that sends slowly gets no more time than a silent one.
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(n) if n > most - reply.len() => return Err(invalid("the reply is too long")),
            Ok(n) => reply.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A read timeout on Unix.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    read_reply(&reply)
}

fn read_reply(reply: &[u8]) -> io::Result<(u16, String)> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let body = match head.parse(reply) {
        Ok(httparse::Status::Complete(len)) => &reply[len..],
        Ok(httparse::Status::Partial) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Err(_) => return Err(invalid("the reply is not HTTP")),
    };
    let length = head
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"));
    if let Some(length) = length {
        let length = std::str::from_utf8(length.value)
            .ok()
            .and_then(|length| length.parse::<usize>().ok());
        if length.ok_or_else(|| invalid("the reply has no good length"))? != body.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let body = String::from_utf8(body.to_vec()).map_err(|_| invalid("the reply is not text"))?;
    Ok((head.code.unwrap_or_default(), body))
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests;
