//! The client against a real redis-server, and against servers that are not Redis.

use super::*;
use crate::cache::{Cache, CacheOptions};
use crate::memory_source;
use crate::source::Media;
use mtrelay_core::reactor::block_on;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};

/// A redis-server for one test.
struct Running {
    server: Child,
    port: u16,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Running {
    /// `None` if redis-server is not installed, which is a failure in CI.
    fn start(options: &[&str]) -> Option<Running> {
        // redis-server does not accept port 0: a free port is chosen, and another one if it is taken meanwhile.
        for _ in 0..20 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            let spawned = Command::new("redis-server")
                .args([
                    "--port",
                    &port.to_string(),
                    "--bind",
                    "127.0.0.1",
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                ])
                .args(["--dir", std::env::temp_dir().to_str().unwrap()])
                .args(options)
                .stdout(Stdio::piped())
                .spawn();
            let Ok(mut server) = spawned else {
                mtrelay_test_support::require::skip("there is no redis-server");
                return None;
            };
            let lines = BufReader::new(server.stdout.take().unwrap()).lines();
            let mut running = Running { server, port };
            for line in lines.map_while(Result::ok) {
                if line.to_ascii_lowercase().contains("ready to accept connections") {
                    return Some(running);
                }
            }
            running.server.wait().unwrap();
        }
        panic!("redis-server starts on no port");
    }

    /// Sends a command without the client under test.
    #[allow(clippy::disallowed_methods, reason = "another client is the outside world")]
    fn tell(&self, words: &str) -> String {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        connection
            .write_all(format!("{words}\r\nQUIT\r\n").as_bytes())
            .unwrap();
        let mut said = String::new();
        connection.read_to_string(&mut said).unwrap();
        said
    }
}

/// A cache as gateways have it, with a timeout for a busy machine.
fn cache(url: &str, account: i64) -> Cache {
    let server: RedisServer = url.parse().unwrap();
    Cache::new(CacheOptions {
        file: None,
        redis: Some(RedisServer {
            timeout: Duration::from_secs(60),
            ..server
        }),
        account,
        lifetime: Duration::from_secs(600),
    })
}

fn keep(cache: &Cache, link: &str, media: &[Media]) {
    block_on(cache.insert(&link.parse().unwrap(), media)).unwrap();
}

fn find(cache: &Cache, link: &str) -> Option<Vec<Media>> {
    block_on(cache.find(&link.parse().unwrap())).unwrap()
}

#[test]
fn gateways_share_what_they_know() {
    let Some(server) = Running::start(&[]) else { return };
    let url = format!("redis://127.0.0.1:{}/3", server.port);
    let (one, two, other) = (cache(&url, 7), cache(&url, 7), cache(&url, 8));
    let album = vec![memory_source::media(1, 10), memory_source::media(2, 20)];
    assert_eq!(find(&two, "t.me/news/1"), None);
    keep(&one, "t.me/news/1", &album);
    assert_eq!(find(&two, "t.me/news/1"), Some(album.clone()));
    assert_eq!(find(&other, "t.me/news/1"), None);
    let lives: i64 = server
        .tell("SELECT 3\r\nTTL mtfetch:1:7:t.me/news/1")
        .lines()
        .find_map(|line| line.strip_prefix(':')?.parse().ok())
        .unwrap();
    assert!((1..=600).contains(&lives), "{lives}");
    // A connection that the server has closed is replaced.
    server.tell("CLIENT KILL TYPE normal");
    keep(&one, "t.me/news/2", &album);
    assert_eq!(find(&two, "t.me/news/2"), Some(album));
}

#[test]
fn what_others_wrote_there_is_not_believed() {
    let Some(server) = Running::start(&[]) else { return };
    server.tell("SET mtfetch:1:7:t.me/news/1 nonsense\r\nLPUSH mtfetch:1:7:t.me/news/2 a");
    let cache = cache(&format!("redis://localhost:{}", server.port), 7);
    assert_eq!(find(&cache, "t.me/news/1"), None);
    assert_eq!(find(&cache, "t.me/news/2"), None);
}

#[test]
fn a_password_is_told_and_a_wrong_one_leaves_memory() {
    let Some(server) = Running::start(&["--requirepass", "sesame"]) else {
        return;
    };
    let good = cache(&format!("redis://:sesame@127.0.0.1:{}", server.port), 7);
    let named = cache(&format!("redis://default:sesame@127.0.0.1:{}", server.port), 7);
    let wrong = cache(&format!("redis://:sesam@127.0.0.1:{}", server.port), 7);
    let media = vec![memory_source::media(1, 10)];
    keep(&good, "t.me/news/1", &media);
    assert_eq!(find(&named, "t.me/news/1"), Some(media.clone()));
    assert_eq!(find(&wrong, "t.me/news/1"), None);
    keep(&wrong, "t.me/news/1", &media);
    assert_eq!(find(&wrong, "t.me/news/1"), Some(media));
}

#[test]
fn a_server_that_does_not_answer_is_left_alone() {
    // The kernel accepts connections to it; it never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let cache = Cache::new(CacheOptions {
        file: None,
        redis: Some(
            format!("redis://{}", silent.local_addr().unwrap())
                .parse()
                .unwrap(),
        ),
        account: 7,
        lifetime: Duration::from_secs(600),
    });
    let media = vec![memory_source::media(1, 10)];
    assert_eq!(find(&cache, "t.me/news/1"), None);
    keep(&cache, "t.me/news/1", &media);
    assert_eq!(find(&cache, "t.me/news/1"), Some(media));
    silent.set_nonblocking(true).unwrap();
    assert!(silent.accept().is_ok(), "it was asked");
    assert!(silent.accept().is_err(), "and only once");
}

#[test]
fn urls_are_read_and_shown_without_the_password() {
    let shown = |url: &str| {
        url.parse::<RedisServer>()
            .map(|server| format!("{server:?} {} {}", server.user, server.password))
    };
    assert_eq!(shown("redis://a.example").unwrap(), "redis://a.example:6379/0  ");
    assert_eq!(shown("redis://:p:w@[::1]:1/2").unwrap(), "redis://::1:1/2  p:w");
    assert_eq!(
        shown("redis://u:p@10.0.0.1/").unwrap(),
        "redis://10.0.0.1:6379/0 u p"
    );
    for url in [
        "",
        "redis:",
        "redis://",
        "redis://:1",
        "redis://a:x",
        "redis://a/x",
        "rediss://a",
        "redis://a b",
    ] {
        assert!(shown(url).is_err(), "{url}");
    }
}
