//! The gateway through real sockets, with media from memory.

mod client;
mod limits;

pub(super) use client::{client, connect, until};

use super::*;
use crate::cache::Cache;
use crate::memory_source::{self, Memory};
use crate::source::{FetchError, Media};
use client::ClientResponse;
use mtrelay_core::reactor::block_on;
use mtrelay_core::sys::socket;
use settings::Timeouts;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

pub(super) fn settings() -> Settings {
    Settings {
        ffmpeg: "/nonexistent/ffmpeg".into(),
        ..Settings::default()
    }
}

/// Serves media from memory while `body` runs.
pub(super) fn serving<T>(
    memory: Memory,
    settings: Settings,
    body: impl AsyncFnOnce(SocketAddr, Rc<Memory>) -> T,
) -> T {
    let memory = Rc::new(memory);
    let gateway = Gateway::new(memory.clone(), Rc::new(Cache::in_memory()), settings);
    let listener = socket::listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    block_on(async {
        let listener = Async::new_nonblocking(listener).unwrap();
        let served = async {
            serve(gateway, vec![listener]).await;
            unreachable!("the gateway does not end by itself")
        };
        smol::future::or(body(address, memory), served).await
    })
    .unwrap()
}

pub(super) const SIZE: u64 = 300_000;

pub(super) fn video() -> Memory {
    Memory::with([memory_source::media(5, SIZE), memory_source::media(6, 0)])
}

#[test]
fn a_medium_is_answered_whole() {
    serving(video(), settings(), async |address, _| {
        client(move || {
            let answer = connect(address).ask("/t.me/news/5", "");
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("Content-Length"), Some("300000"));
            assert_eq!(answer.header("Content-Type"), Some("video/mp4"));
            assert_eq!(answer.header("Accept-Ranges"), Some("bytes"));
            assert_eq!(answer.header("ETag"), Some("\"0000000000000005-493e0\""));
            assert_eq!(
                answer.header("Content-Disposition"),
                Some("inline; filename=\"video-5.mp4\"")
            );
            assert!(answer.body == memory_source::bytes(5, 0..SIZE));
        })
        .await;
    });
}

#[test]
fn head_tells_what_get_would_and_fetches_nothing() {
    serving(video(), settings(), async |address, memory| {
        client(move || {
            let mut client = connect(address);
            let head = client.ask_head("/t.me/news/5", "Range: bytes=1-2\r\n");
            assert_eq!(
                (head.status, head.header("Content-Length")),
                (200, Some("300000"))
            );
            let get = client.ask("/t.me/news/5", "");
            let but_date = |answer: &ClientResponse| {
                let mut headers = answer.headers.clone();
                headers.retain(|header| header.0 != "Date");
                headers
            };
            assert_eq!(but_date(&head), but_date(&get));
        })
        .await;
        assert_eq!(memory.opened.get(), 1);
    });
}

#[test]
fn ranges_are_answered_on_one_connection() {
    serving(video(), settings(), async |address, memory| {
        client(move || {
            let mut client = connect(address);
            for (range, first, end) in [
                ("bytes=0-0", 0, 1),
                ("bytes=0-", 0, SIZE),
                ("bytes=100-70000", 100, 70_001),
                ("bytes=299999-", 299_999, SIZE),
                ("bytes=-5", 299_995, SIZE),
                ("bytes=200000-900000", 200_000, SIZE),
                ("bytes=5-9,0-7", 0, 10),
            ] {
                let answer = client.ask("/t.me/news/5", &format!("Range: {range}\r\n"));
                assert_eq!(answer.status, 206, "{range}");
                let content_range = format!("bytes {first}-{}/{SIZE}", end - 1);
                assert_eq!(answer.header("Content-Range"), Some(&*content_range));
                assert!(answer.body == memory_source::bytes(5, first..end), "{range}");
            }
            let tag = client
                .ask_head("/t.me/news/5", "")
                .header("ETag")
                .unwrap()
                .to_owned();
            let answer = client.ask(
                "/t.me/news/5",
                &format!("Range: bytes=7-8\r\nIf-Range: {tag}\r\n"),
            );
            assert_eq!((answer.status, answer.body.len()), (206, 2));
            let answer = client.ask("/t.me/news/5", "Range: bytes=7-8\r\nIf-Range: \"other\"\r\n");
            assert_eq!((answer.status, answer.body.len() as u64), (200, SIZE));
        })
        .await;
        assert_eq!(memory.finds.get(), 1, "the link was known after the first");
    });
}

#[test]
fn several_ranges_are_parts_of_one_answer() {
    serving(video(), settings(), async |address, _| {
        client(move || {
            let mut client = connect(address);
            let answer = client.ask("/t.me/news/5", "Range: bytes=100000-100009, -3,0-70000\r\n");
            assert_eq!((answer.status, answer.header("Content-Range")), (206, None));
            let kind = answer.header("Content-Type").unwrap();
            let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
            let mut expected = Vec::new();
            for (first, end) in [(100_000, 100_010), (299_997, SIZE), (0, 70_001)] {
                let title = format!(
                    "\r\n--{boundary}\r\nContent-Type: video/mp4\r\nContent-Range: bytes {first}-{}/{SIZE}\r\n\r\n",
                    end - 1
                );
                expected.extend(title.into_bytes());
                expected.extend(memory_source::bytes(5, first..end));
            }
            expected.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
            assert!(answer.body == expected);
            assert_eq!(client.ask("/t.me/news/5", "Range: bytes=0-0\r\n").body.len(), 1);
        })
        .await;
    });
}

#[test]
fn what_is_not_there_and_what_is_known_already() {
    serving(video(), settings(), async |address, memory| {
        client(move || {
            let mut client = connect(address);
            let answer = client.ask("/t.me/news/5", "Range: bytes=300000-\r\n");
            assert_eq!(
                (answer.status, answer.header("Content-Range")),
                (416, Some("bytes */300000"))
            );
            let tag = answer.header("ETag").unwrap().to_owned();
            let answer = client.ask("/t.me/news/5", &format!("If-None-Match: \"x\", W/{tag}\r\n"));
            assert_eq!(
                (answer.status, answer.header("ETag"), answer.body.len()),
                (304, Some(&*tag), 0)
            );
            let answer = client.ask("/t.me/news/5", "If-Match: \"x\"\r\n");
            assert_eq!(answer.status, 412);
            let empty = client.ask("/t.me/news/6", "");
            assert_eq!((empty.status, empty.header("Content-Length")), (200, Some("0")));
            assert_eq!(client.ask("/t.me/news/6", "Range: bytes=0-\r\n").status, 416);
        })
        .await;
        assert_eq!(memory.opened.get(), 0);
    });
}

#[test]
fn failures_have_their_status_and_the_connection_goes_on() {
    let memory = video();
    for (message, error) in [
        (20, FetchError::NotFound("no such message".into())),
        (21, FetchError::NoForwards),
        (22, FetchError::LoggedOut),
        (23, FetchError::Wait(Duration::from_secs(9))),
        (24, FetchError::Refused("CHANNEL_PRIVATE".into())),
        (25, FetchError::Connection("refused".into())),
    ] {
        memory.messages.borrow_mut().insert(message, Err(error));
    }
    serving(memory, settings(), async |address, memory| {
        client(move || {
            let mut client = connect(address);
            for (target, status, word) in [
                ("/t.me/news/20", 404, "no such message"),
                ("/t.me/news/21", 403, "noforwards"),
                ("/t.me/news/22", 503, "not logged in"),
                ("/t.me/news/23", 503, "9 s"),
                ("/t.me/news/24", 502, "CHANNEL_PRIVATE"),
                ("/t.me/news/25", 502, "refused"),
                ("/t.me/news/5?n=2", 404, "1 media"),
                ("/t.me/news/5?n=0", 404, "1 media"),
                ("/t.me/news/5?remux=avi", 400, "remux=mp4"),
                ("/t.me/news/5?remux=mp4", 501, "not installed"),
                ("/t.me/news", 400, "no message"),
                ("/t.me/+abc", 400, "invitation"),
                ("/favicon.ico", 404, "not Telegram"),
                ("/example.org/news/5", 404, "not Telegram"),
                ("/", 200, "mtfetch"),
            ] {
                let answer = client.ask(target, "");
                let body = String::from_utf8(answer.body.clone()).unwrap();
                assert_eq!(answer.status, status, "{target}: {body}");
                assert!(body.contains(word), "{target}: {body}");
                let wait = (status == 503 && word == "9 s").then_some("9");
                assert_eq!(answer.header("Retry-After"), wait, "{target}");
            }
            assert_eq!(client.ask_head("/t.me/news/20", "").status, 404);
            assert_eq!(client.ask("/https://t.me/News/5", "").status, 200);
        })
        .await;
        assert_eq!(memory.open.get(), 0);
    });
}

#[test]
fn a_failure_before_the_first_byte_has_a_status_and_a_later_one_cuts() {
    serving(video(), settings(), async |address, memory| {
        *memory.fault.borrow_mut() = Some((0, FetchError::Refused("FILE_ID_INVALID".into())));
        client(move || {
            let mut client = connect(address);
            assert_eq!(client.ask("/t.me/news/5", "").status, 502);
            assert_eq!(client.ask("/t.me/news/5", "Range: bytes=9-\r\n").status, 206);
        })
        .await;
        *memory.fault.borrow_mut() = Some((70_000, FetchError::Connection("gone".into())));
        client(move || {
            let mut client = connect(address);
            let answer = client.ask("/t.me/news/5", "");
            assert!(answer.status == 200 && answer.cut && answer.body.len() == 70_000);
        })
        .await;
        assert_eq!(memory.open.get(), 0);
    });
}

#[test]
fn an_album_is_asked_for_one_by_one() {
    let album: Vec<Media> = (30..33).map(|id| memory_source::media(id, 10)).collect();
    let memory = video();
    memory.messages.borrow_mut().insert(31, Ok(album));
    serving(memory, settings(), async |address, _| {
        client(move || {
            let mut client = connect(address);
            let mut body = |target| client.ask(target, "").body;
            assert_eq!(body("/t.me/news/31"), memory_source::bytes(31, 0..10));
            assert_eq!(body("/t.me/news/31?n=1"), memory_source::bytes(30, 0..10));
            assert_eq!(body("/t.me/news/31?n=3"), memory_source::bytes(32, 0..10));
        })
        .await;
    });
}

#[test]
fn requests_in_a_row_are_answered_in_order() {
    serving(video(), settings(), async |address, _| {
        client(move || {
            let mut client = connect(address);
            let get = |range: &str| {
                format!("GET /t.me/news/5 HTTP/1.1\r\nHost: [::1]:1\r\nRange: bytes={range}\r\n\r\n")
            };
            let last = "GET /t.me/news/5 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
            client.send(&[&get("0-9"), &get("100-200000"), "\r\n", last].concat());
            assert!(client.answer().body == memory_source::bytes(5, 0..10));
            assert!(client.answer().body == memory_source::bytes(5, 100..200_001));
            let answer = client.answer();
            assert_eq!(
                (answer.header("Connection"), answer.body.len() as u64),
                (Some("close"), SIZE)
            );
            assert!(client.is_closed());
        })
        .await;
    });
}

#[test]
fn old_clients_and_those_that_close_their_side_are_served() {
    serving(video(), settings(), async |address, _| {
        client(move || {
            let mut old = connect(address);
            old.send("GET /t.me/news/5 HTTP/1.0\r\n\r\n");
            assert!(old.answer().body.len() as u64 == SIZE && old.is_closed());
            let mut half = connect(address);
            half.send("GET /t.me/news/5 HTTP/1.1\r\nHost: localhost\r\n\r\n");
            half.close_half();
            assert!(half.answer().body == memory_source::bytes(5, 0..SIZE));
            assert!(half.is_closed());
        })
        .await;
    });
}

#[test]
fn what_is_no_request_is_refused_and_the_connection_ends() {
    let quick = Settings {
        timeouts: Timeouts {
            head: Duration::from_millis(50),
            ..settings().timeouts
        },
        ..settings()
    };
    serving(video(), quick, async |address, memory| {
        client(move || {
            for (text, status) in [
                ("\x16\x03\x01\x02\0\x01", 400),
                ("GET / HTTP/1.1\r\n\r\n", 400),
                (
                    "POST /t.me/news/5 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
                    405,
                ),
                ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
                ("GET / HTTP/3.0\r\n\r\n", 505),
                ("GET / HT", 408),
            ] {
                let mut client = connect(address);
                client.send(text);
                let answer = client.answer();
                assert_eq!(answer.status, status, "{text:?}");
                assert_eq!(answer.header("Connection"), Some("close"));
                assert!(client.is_closed(), "{text:?}");
            }
            let mut client = connect(address);
            client.send(&format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
                "a".repeat(9000)
            ));
            assert_eq!(client.answer().status, 431);
            let mut body = connect(address);
            body.send(
                "GET /t.me/news/5 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n\r\nGET / HTTP/1.1",
            );
            assert_eq!(body.answer().status, 200);
            assert!(body.is_closed());
        })
        .await;
        assert_eq!(memory.open.get(), 0);
    });
}

#[test]
fn names_that_are_not_ours_need_a_token() {
    serving(video(), settings(), async |address, _| {
        client(move || {
            let mut client = connect(address);
            client.send("GET /t.me/news/5 HTTP/1.1\r\nHost: evil.example\r\n\r\n");
            assert_eq!(client.answer().status, 403);
            client.send("GET http://evil.example/t.me/news/5 HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(client.answer().status, 403);
        })
        .await;
    });
    let guarded = Settings {
        token: Some("sesame".into()),
        ..settings()
    };
    serving(video(), guarded, async |address, memory| {
        client(move || {
            let mut client = connect(address);
            for target in [
                "/",
                "/t.me/news/5",
                "/sesam/t.me/news/5",
                "/t.me/news/5?token=sesam",
                "/sesame2",
                "/?token=",
            ] {
                assert_eq!(client.ask(target, "").status, 403, "{target}");
            }
            client.send("GET /sesame/t.me/news/5 HTTP/1.1\r\nHost: router.lan:8099\r\n\r\n");
            assert_eq!(client.answer().status, 200);
            assert_eq!(client.ask("/t.me/news/5?token=sesame", "").status, 200);
            assert_eq!(client.ask("/sesame/", "").status, 200);
        })
        .await;
        assert_eq!(memory.finds.get(), 1);
    });
}
