//! The pages through real sockets, and the parser by itself.

use super::*;
use crate::metrics::example::{empty, user};
use smol::future::yield_now;
use std::net::Ipv4Addr;

const LONG: Duration = Duration::from_secs(60);

fn with_users(names: impl IntoIterator<Item = String>) -> Snapshot {
    let mut snapshot = empty();
    snapshot.users = names.into_iter().map(|name| user(&name)).collect();
    snapshot
}

fn server(deadline: Duration) -> Server {
    let limits = Limits {
        deadline,
        ..Limits::default()
    };
    Server::new(Rc::new(|| with_users(["family".to_owned()])), limits)
}

/// Runs the server until the test is through.
fn serving<T>(server: &Server, test: impl AsyncFnOnce(SocketAddr) -> T) -> T {
    let listener = Async::new(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).unwrap();
    let addr = listener.get_ref().local_addr().unwrap();
    let serve = async {
        server.run(listener).await;
        unreachable!("the server never ends")
    };
    let watchdog = async {
        Timer::after(LONG).await;
        panic!("the test hangs")
    };
    mtrelay_core::reactor::block_on(future::or(serve, future::or(test(addr), watchdog))).unwrap()
}

#[allow(clippy::disallowed_methods, reason = "the test is its own client")]
async fn connect(addr: SocketAddr) -> Async<TcpStream> {
    let stream = Async::new(TcpStream::connect(addr).unwrap()).unwrap();
    stream.get_ref().set_nodelay(true).unwrap();
    stream
}

async fn reply(stream: &mut Async<TcpStream>) -> String {
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}

/// One request, sent in one piece.
fn ask(request: &str) -> String {
    serving(&server(LONG), async |addr| {
        let mut stream = connect(addr).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        reply(&mut stream).await
    })
}

fn get(path: &str) -> String {
    ask(&format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:8888\r\n\r\n"))
}

fn code(reply: &str) -> &str {
    reply
        .strip_prefix("HTTP/1.1 ")
        .expect("a status line")
        .split(' ')
        .next()
        .unwrap()
}

fn body(reply: &str) -> &str {
    let (head, body) = reply.split_once("\r\n\r\n").expect("a head");
    assert!(
        head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())),
        "{head}"
    );
    assert!(head.ends_with("\r\nConnection: close"), "{head}");
    body
}

#[test]
fn every_page_is_served_with_its_type() {
    for (path, media_type, start) in [
        ("/stats", "text/plain; charset=utf-8", "version\t"),
        (
            "/metrics",
            "text/plain; version=0.0.4; charset=utf-8",
            "# HELP mtrelay_build_info ",
        ),
        ("/status", "application/json", "{\"version\":"),
        ("/status.txt", "text/plain; charset=utf-8", "mtrelay "),
        ("/stats?a=b", "text/plain; charset=utf-8", "version\t"),
    ] {
        let reply = get(path);
        assert_eq!(code(&reply), "200");
        assert!(
            reply.contains(&format!("\r\nContent-Type: {media_type}\r\n")),
            "{reply}"
        );
        assert!(body(&reply).starts_with(start), "{reply}");
    }
}

#[test]
fn an_unknown_page_is_not_found() {
    for path in ["/", "/statsx", "/stats/", "/../stats", "*"] {
        let reply = get(path);
        assert_eq!(code(&reply), "404", "{path}");
        assert!(body(&reply).contains("/status.txt"));
    }
}

#[test]
fn http_1_0_needs_no_host() {
    assert_eq!(code(&ask("GET /stats HTTP/1.0\r\n\r\n")), "200");
    assert_eq!(code(&ask("GET /stats HTTP/1.1\r\n\r\n")), "400");
    assert_eq!(
        code(&ask(
            "GET /stats HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1\r\n\r\n"
        )),
        "400"
    );
}

#[test]
fn head_answers_without_a_body() {
    let reply = ask("HEAD /stats HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(code(&reply), "200");
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("Content-Length: 0") && body.is_empty(), "{reply}");
}

#[test]
fn other_methods_are_told_what_is_allowed() {
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
        let request =
            format!("{method} /stats HTTP/1.1\r\nHost: [::1]:8888\r\nContent-Length: 2\r\n\r\n{{}}");
        let reply = ask(&request);
        assert_eq!(code(&reply), "405", "{method}");
        assert!(reply.contains("\r\nAllow: GET, HEAD\r\n"), "{reply}");
    }
}

#[test]
fn garbage_is_a_bad_request() {
    for garbage in [
        "\x16\x03\x01\x02\r\n\r\n",
        "GET /stats\r\n\r\n",
        "GET /stats HTTP/2.0\r\n\r\n",
        "GET /stats HTTP/1.1\r\nHost 127.0.0.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        assert_eq!(code(&ask(garbage)), "400", "{garbage:?}");
    }
}

#[test]
fn a_request_cut_off_is_a_bad_request_and_silence_gets_no_answer() {
    serving(&server(LONG), async |addr| {
        for (sent, answer) in [("GET /st", Some("400")), ("", None)] {
            let mut stream = connect(addr).await;
            stream.write_all(sent.as_bytes()).await.unwrap();
            stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
            let reply = reply(&mut stream).await;
            assert_eq!((!reply.is_empty()).then(|| code(&reply)), answer);
        }
    });
}

#[test]
fn an_oversized_head_is_refused_and_the_refusal_arrives() {
    // More than is ever read for the head, all of it sent before the answer is looked at.
    let long_header = format!(
        "GET /stats HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(30_000)
    );
    assert_eq!(code(&ask(&long_header)), "431");
    let long_target = format!(
        "GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "x".repeat(HEAD_MAX)
    );
    assert_eq!(code(&ask(&long_target)), "431");
    let many = format!(
        "GET /stats HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "X: y\r\n".repeat(HEADERS_MAX)
    );
    assert_eq!(code(&ask(&many)), "431");
    let fitting = "GET /stats HTTP/1.1\r\nHost: localhost\r\nX: ";
    let fitting = format!("{fitting}{}\r\n\r\n", "x".repeat(HEAD_MAX - fitting.len() - 4));
    assert_eq!(code(&ask(&fitting)), "200");
}

#[test]
fn a_request_may_come_byte_by_byte() {
    serving(&server(LONG), async |addr| {
        let mut stream = connect(addr).await;
        for byte in b"GET /stats HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" {
            stream.write_all(&[*byte]).await.unwrap();
            yield_now().await;
        }
        assert_eq!(code(&reply(&mut stream).await), "200");
    });
}

#[test]
fn every_beginning_of_a_request_wants_more() {
    let request = b"GET /status?x HTTP/1.1\r\nHost: [::1]:1\r\nAccept: */*\r\n\r\n";
    for end in 0..request.len() {
        assert!(matches!(parse(&request[..end]), Parsed::Partial), "{end}");
    }
    let Parsed::Request(whole) = parse(request) else {
        panic!("not complete")
    };
    assert_eq!(
        whole,
        Request {
            method: Method::Get,
            path: "/status".to_owned(),
            host_is_ours: true
        }
    );
}

#[test]
fn a_name_pointed_at_this_address_is_forbidden() {
    for (host, ours) in [
        ("127.0.0.1", true),
        ("127.0.0.1:8888", true),
        ("192.168.1.1:8888", true),
        ("[::1]:8888", true),
        ("[fd00::1]", true),
        ("localhost", true),
        ("LocalHost:80", true),
        ("127.0.0.1:", true),
        ("evil.example", false),
        ("evil.example:8888", false),
        ("127.0.0.1.evil.example", false),
        ("localhost.evil.example", false),
        ("localhost:8888.evil.example", false),
        ("127.0.0.1:80@evil.example", false),
        ("[::1].evil.example", false),
        ("[evil.example]", false),
        ("[::1", false),
        ("::1", false),
        ("2130706433", false),
        ("", false),
    ] {
        let reply = ask(&format!("GET /status HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(code(&reply), if ours { "200" } else { "403" }, "{host:?}");
        assert_eq!(body(&reply).contains("version"), ours);
    }
}

#[test]
fn the_host_of_an_absolute_target_is_checked_too() {
    for (target, expected) in [
        ("http://127.0.0.1:8888/stats", "200"),
        ("HTTP://localhost/stats?x", "200"),
        ("http://evil.example/stats", "403"),
        ("http://127.0.0.1", "404"),
    ] {
        let reply = ask(&format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"));
        assert_eq!(code(&reply), expected, "{target}");
    }
}

#[test]
fn a_slow_request_is_cut_at_the_deadline() {
    serving(&server(Duration::from_millis(50)), async |addr| {
        let mut stream = connect(addr).await;
        stream.write_all(b"GET /stats HTTP/1.1\r\n").await.unwrap();
        assert_eq!(reply(&mut stream).await, "");
    });
}

#[test]
fn a_client_that_does_not_read_is_cut_at_the_deadline() {
    // About 16 MB: more than the buffers of both sockets hold.
    let snapshot = with_users((0..1600).map(|user| format!("{user}{}", "x".repeat(2000))));
    let limits = Limits {
        deadline: Duration::from_millis(50),
        ..Limits::default()
    };
    let server = Server::new(Rc::new(move || snapshot.clone()), limits);
    serving(&server, async |addr| {
        let mut stream = connect(addr).await;
        stream.write_all(b"GET /stats HTTP/1.0\r\n\r\n").await.unwrap();
        while server.peak.get() == 0 || server.open.get() > 0 {
            yield_now().await;
        }
        let mut reply = Vec::new();
        let ended = stream.read_to_end(&mut reply).await;
        let reply = String::from_utf8(reply).unwrap();
        let length: usize = reply
            .split("Content-Length: ")
            .nth(1)
            .unwrap()
            .split('\r')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert!(ended.is_err() || reply.len() < length);
    });
}

#[test]
fn a_hundred_clients_are_all_served_sixteen_at_a_time() {
    let server = server(LONG);
    serving(&server, async |addr| {
        let mut clients = Vec::new();
        for _ in 0..100 {
            let mut stream = connect(addr).await;
            stream
                .write_all(b"GET /stats HTTP/1.1\r\nHost: 127.0.0.1\r\n")
                .await
                .unwrap();
            clients.push(stream);
        }
        while server.open.get() < 16 {
            yield_now().await;
        }
        for stream in &mut clients {
            stream.write_all(b"\r\n").await.unwrap();
        }
        for mut stream in clients {
            assert_eq!(code(&reply(&mut stream).await), "200");
        }
        while server.open.get() > 0 {
            yield_now().await;
        }
    });
    assert_eq!(server.peak.get(), 16);
}

#[test]
fn accepting_pauses_when_the_process_has_nothing_left() {
    for (errno, goes_on) in [
        (libc::ECONNABORTED, true),
        (libc::EINTR, true),
        (libc::EMFILE, false),
        (libc::ENFILE, false),
        (libc::ENOMEM, false),
        (libc::ENOBUFS, false),
        (libc::EINVAL, false),
    ] {
        assert_eq!(
            concerns_one_connection(&io::Error::from_raw_os_error(errno)),
            goes_on,
            "{errno}"
        );
    }
}

#[test]
fn fetch_reads_what_is_served() {
    serving(&server(LONG), async |addr| {
        let (code, body) = smol::unblock(move || fetch(addr, "/status.txt")).await.unwrap();
        assert_eq!(code, 200);
        assert!(body.starts_with("mtrelay ") && body.contains("family"), "{body}");
        let (code, _) = smol::unblock(move || fetch(addr, "/nothing")).await.unwrap();
        assert_eq!(code, 404);
    });
}

#[test]
fn fetch_gives_up_on_a_silent_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let error = fetch_within(addr, "/", Duration::from_millis(50), FETCH_MAX).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    drop(listener);
    let error = fetch_within(addr, "/", LONG, FETCH_MAX).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn fetch_takes_no_endless_reply() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let endless = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let error = fetch_within(addr, "/", LONG, 100_000).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    endless.join().unwrap();
}

#[test]
fn a_reply_is_taken_whole_or_not_at_all() {
    let good = read_reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab").unwrap();
    assert_eq!(good, (200, "ab".to_owned()));
    assert_eq!(
        read_reply(b"HTTP/1.0 503 No\r\n\r\nx").unwrap(),
        (503, "x".to_owned())
    );
    for (bad, kind) in [
        (
            &b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"[..],
            io::ErrorKind::UnexpectedEof,
        ),
        (b"HTTP/1.1 200 OK\r\n", io::ErrorKind::UnexpectedEof),
        (b"", io::ErrorKind::UnexpectedEof),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nab",
            io::ErrorKind::InvalidData,
        ),
        (b"SSH-2.0-dropbear\r\n\r\n", io::ErrorKind::InvalidData),
        (b"HTTP/1.1 200 OK\r\n\r\n\xff", io::ErrorKind::InvalidData),
    ] {
        assert_eq!(read_reply(bad).unwrap_err().kind(), kind);
    }
}
