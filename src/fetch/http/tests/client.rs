//! An HTTP client, as a player or a browser.

use mtrelay_core::reactor::Timer;
use mtrelay_core::sys::clock;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(in crate::http) struct ClientResponse {
    pub(in crate::http) status: u16,
    pub(in crate::http) headers: Vec<(String, String)>,
    pub(in crate::http) body: Vec<u8>,
    /// The body was shorter than its head said.
    pub(in crate::http) cut: bool,
}

impl ClientResponse {
    pub(in crate::http) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self
            .headers
            .iter()
            .filter(|header| header.0.eq_ignore_ascii_case(name));
        let value = found.next().map(|header| &*header.1);
        assert!(found.next().is_none(), "{name} twice");
        value
    }
}

pub(in crate::http) struct Client(BufReader<TcpStream>);

#[allow(clippy::disallowed_methods, reason = "a client is the outside world")]
pub(in crate::http) fn connect(address: SocketAddr) -> Client {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Client(BufReader::new(stream))
}

impl Client {
    pub(in crate::http) fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    pub(in crate::http) fn head(&mut self) -> ClientResponse {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            assert!(line.ends_with("\r\n"), "{line:?} after {lines:?}");
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let status = lines.remove(0);
        let status = status.strip_prefix("HTTP/1.1 ").unwrap();
        let pair = |line: String| {
            line.split_once(": ")
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        ClientResponse {
            status: status[..3].parse().unwrap(),
            headers: lines.into_iter().map(|line| pair(line).unwrap()).collect(),
            body: Vec::new(),
            cut: false,
        }
    }

    pub(in crate::http) fn answer(&mut self) -> ClientResponse {
        let mut answer = self.head();
        let chunked = answer.header("Transfer-Encoding") == Some("chunked");
        if answer.status == 304 {
            return answer;
        }
        if chunked {
            loop {
                let mut line = String::new();
                self.0.read_line(&mut line).unwrap();
                let Ok(len) = usize::from_str_radix(line.trim_end(), 16) else {
                    answer.cut = true;
                    return answer;
                };
                let mut chunk = vec![0; len + 2];
                self.0.read_exact(&mut chunk).unwrap();
                assert!(chunk.ends_with(b"\r\n"));
                answer.body.extend_from_slice(&chunk[..len]);
                if len == 0 {
                    return answer;
                }
            }
        }
        match answer.header("Content-Length").map(|len| len.parse().unwrap()) {
            Some(len) => {
                let read = self.0.by_ref().take(len).read_to_end(&mut answer.body);
                answer.cut = read.is_err() || answer.body.len() as u64 != len;
            }
            None => drop(self.0.read_to_end(&mut answer.body)),
        }
        answer
    }

    pub(in crate::http) fn ask(&mut self, target: &str, headers: &str) -> ClientResponse {
        self.send(&format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
        ));
        self.answer()
    }

    pub(in crate::http) fn ask_head(&mut self, target: &str, headers: &str) -> ClientResponse {
        self.send(&format!(
            "HEAD {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
        ));
        self.head()
    }

    /// Sends FIN and goes on reading.
    pub(in crate::http) fn close_half(&self) {
        self.0.get_ref().shutdown(Shutdown::Write).unwrap();
    }

    pub(in crate::http) fn is_closed(&mut self) -> bool {
        // A connection that ended with an error ended, too.
        self.0.read(&mut [0]).map_or(true, |len| len == 0)
    }
}

/// Runs a blocking client on a thread of its own.
pub(in crate::http) async fn client<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    smol::unblock(work).await
}

pub(in crate::http) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = clock::now() + PATIENCE;
    while !is_so() {
        assert!(clock::now() < deadline, "waited in vain for: {what}");
        Timer::after(Duration::from_millis(5)).await;
    }
}
