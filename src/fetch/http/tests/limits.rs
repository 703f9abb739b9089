//! Limits of the gateway: clients that leave, stop reading or come in too large numbers; and curl.

use super::client::Client;
use super::{SIZE, client, connect, serving, settings, until, video};
use crate::http::settings::{Settings, Timeouts};
use crate::memory_source::{self, Memory};
use crate::source::FetchError;
use mtrelay_core::reactor::Timer;
use std::time::Duration;

#[test]
fn a_client_that_leaves_frees_its_work() {
    let large = Memory::with([memory_source::media(5, 1 << 30)]);
    serving(large, settings(), async |address, memory| {
        let mut leaving = client(move || {
            let mut client = connect(address);
            client.send("GET /t.me/news/5 HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(client.head().status, 200);
            Some(client)
        })
        .await;
        assert_eq!(memory.open.get(), 1);
        leaving.take();
        until("the reader is gone", || memory.open.get() == 0).await;
        let given = memory.given.get();
        assert!(
            given < 64 << 20,
            "{given} bytes were read for a client that had left"
        );
        // The same while the source is silent.
        let silence = FetchError::Connection(Memory::SILENCE.into());
        *memory.fault.borrow_mut() = Some((0, silence));
        let mut waiting = client(move || {
            let mut client = connect(address);
            client.send("GET /t.me/news/5 HTTP/1.1\r\nHost: localhost\r\n\r\n");
            Some(client)
        })
        .await;
        until("it waits", || memory.open.get() == 1).await;
        waiting.take();
        until("the waiting reader is gone", || memory.open.get() == 0).await;
    });
}

#[test]
fn a_slow_reader_stops_the_fetching() {
    let large = Memory::with([memory_source::media(5, 1 << 30)]);
    serving(large, settings(), async |address, memory| {
        let slow = client(move || {
            let mut client = connect(address);
            client.send("GET /t.me/news/5 HTTP/1.1\r\nHost: localhost\r\n\r\n");
            client.head();
            client
        })
        .await;
        // The transfer stops once the kernel's buffers of both ends are full.
        let mut before = u64::MAX;
        while before != memory.given.get() {
            before = memory.given.get();
            Timer::after(Duration::from_millis(300)).await;
        }
        assert!(before < 32 << 20, "{before} bytes");
        assert_eq!(memory.open.get(), 1);
        drop(slow);
    });
}

#[test]
fn media_beyond_the_limit_are_told_to_come_again() {
    let narrow = Settings {
        streams: 1,
        ..settings()
    };
    serving(
        Memory::with([memory_source::media(5, 1 << 30)]),
        narrow,
        async |address, memory| {
            let first = client(move || {
                let mut first = connect(address);
                first.send("GET /t.me/news/5 HTTP/1.1\r\nHost: localhost\r\n\r\n");
                assert_eq!(first.head().status, 200);
                let second = connect(address).ask("/t.me/news/5", "");
                assert_eq!((second.status, second.header("Retry-After")), (503, Some("2")));
                first
            })
            .await;
            drop(first);
            until("the place is free", || memory.open.get() == 0).await;
            client(move || {
                assert_eq!(
                    connect(address)
                        .ask("/t.me/news/5", "Range: bytes=0-0\r\n")
                        .status,
                    206
                )
            })
            .await;
        },
    );
}

#[test]
fn connections_beyond_the_limit_wait_and_idle_ones_make_room() {
    let narrow = Settings {
        connections: 2,
        timeouts: Timeouts {
            // Longer than a busy machine takes from a client's connect to its request.
            idle: Duration::from_secs(3),
            ..settings().timeouts
        },
        ..settings()
    };
    serving(video(), narrow, async |address, _| {
        client(move || {
            let mut silent: Vec<Client> = (0..2).map(|_| connect(address)).collect();
            assert_eq!(connect(address).ask("/", "").status, 200);
            assert!(silent.iter_mut().all(Client::is_closed));
        })
        .await;
    });
}

#[test]
#[ignore = "needs curl, which make test-fetch installs"]
fn curl_resumes_and_keeps_its_connection() {
    let curl = |arguments: Vec<String>| {
        std::process::Command::new("curl")
            .args(["-sS", "--max-time", "60"])
            .args(arguments)
            .output()
    };
    serving(video(), settings(), async |address, _| {
        client(move || {
            let folder = std::env::temp_dir().join(format!("mtfetch-curl-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let file = folder.join("film");
            std::fs::write(&file, memory_source::bytes(5, 0..123_456)).unwrap();
            let url = format!("http://{address}/t.me/news/5");
            let words = ["-C", "-", "-o", file.to_str().unwrap(), &url].map(String::from);
            let done = curl(words.to_vec()).unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            assert!(std::fs::read(&file).unwrap() == memory_source::bytes(5, 0..SIZE));
            std::fs::remove_dir_all(&folder).unwrap();
            let words = [
                "-r",
                "0-0",
                "-w",
                "%{num_connects} ",
                &url,
                &url,
                "-o",
                "/dev/null",
                "-o",
                "/dev/null",
            ];
            let done = curl(words.map(String::from).to_vec()).unwrap();
            assert_eq!(String::from_utf8(done.stdout).unwrap(), "1 0 ");
        })
        .await;
    });
}
