//! The PROXY protocol's header, versions 1 and 2: a load balancer sends the client's address in it.
//!
//! Read HAProxy's proxy-protocol.txt first. The order of calls: read at most [`Reader::wanted`] bytes, give them to
//! [`Reader::handle_input`], and repeat until it returns an [`Origin`]. No byte after the header is asked for. At most 107 bytes
//! of the header are kept; the rest is skipped.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Length limit in bytes of a version 1 header, with its line end.
const MAX_V1_LEN: usize = 107;
/// Length of the shortest version 1 header, `PROXY UNKNOWN\r\n`, in bytes.
const MIN_V1_LEN: usize = 15;
/// Length in bytes of the fixed part of a version 2 header.
const V2_HEAD_LEN: usize = 16;
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Offsets in the fixed part of a version 2 header.
mod field {
    pub(super) const VERSION_COMMAND: usize = 12;
    pub(super) const FAMILY: usize = 13;
    pub(super) const LEN: core::ops::Range<usize> = 14..16;
}

const V2_LOCAL: u8 = 0x20;
const V2_PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// The origin of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client of the balancer, at this address.
    Client(IpAddr),
    /// The balancer itself, or a client without a known address: the connection's own address counts.
    Connection,
}

/// The bytes are not a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Parser of one header.
#[derive(Debug)]
pub struct Reader {
    kept: [u8; MAX_V1_LEN],
    len: usize,
    /// Bytes of a version 2 header beyond the kept ones.
    skip: usize,
    /// Length of the whole version 2 header in bytes, once it is known.
    total: Option<usize>,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader {
            kept: [0; MAX_V1_LEN],
            len: 0,
            skip: 0,
            total: None,
        }
    }
}

impl Reader {
    /// The number of bytes that may be read now. Zero only after the end of the header.
    #[must_use]
    pub fn wanted(&self) -> usize {
        let seen = self.len.saturating_add(self.skip);
        match self.total {
            Some(total) => total.saturating_sub(seen),
            None if self.is_v2() => V2_HEAD_LEN.saturating_sub(seen),
            None if seen < MIN_V1_LEN => MIN_V1_LEN.saturating_sub(seen),
            // The line may end with the next byte.
            None if self.bytes().last() == Some(&b'\r') => 1,
            None => 2,
        }
    }

    /// Takes the read bytes, at most [`Reader::wanted`]. `None` asks for more.
    ///
    /// # Errors
    /// When the bytes are not a header, as early as that is certain.
    pub fn handle_input(&mut self, input: &[u8]) -> Result<Option<Origin>, Malformed> {
        for byte in input {
            match self.kept.get_mut(self.len) {
                Some(place) => {
                    *place = *byte;
                    self.len = self.len.saturating_add(1);
                }
                None => self.skip = self.skip.saturating_add(1),
            }
        }
        if self.is_v2() { self.v2() } else { self.v1() }
    }

    fn bytes(&self) -> &[u8] {
        self.kept.get(..self.len).unwrap_or_default()
    }

    fn is_v2(&self) -> bool {
        self.kept.starts_with(b"\r")
    }

    fn v1(&self) -> Result<Option<Origin>, Malformed> {
        let start = b"PROXY ";
        let common = self.len.min(start.len());
        if self.bytes().get(..common) != start.get(..common) {
            return Err(Malformed);
        }
        let line = match self.bytes() {
            [line @ .., b'\r', b'\n'] => line,
            bytes if bytes.contains(&b'\n') || bytes.len() == MAX_V1_LEN => return Err(Malformed),
            _ => return Ok(None),
        };
        let line = core::str::from_utf8(line).map_err(|_| Malformed)?;
        let mut words = line.split(' ').skip(1);
        let mut word = || words.next().ok_or(Malformed);
        let family = word()?;
        if family == "UNKNOWN" {
            return Ok(Some(Origin::Connection));
        }
        let (source, destination) = (word()?, word()?);
        let ports = [word()?, word()?];
        let source = match family {
            "TCP4" => IpAddr::V4(v4(source).and_then(|ip| v4(destination).map(|_| ip))?),
            "TCP6" => IpAddr::V6(v6(source).and_then(|ip| v6(destination).map(|_| ip))?),
            _ => return Err(Malformed),
        };
        let is_port = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_digit())
                && (text == "0" || !text.starts_with('0'))
                && text.parse::<u16>().is_ok()
        };
        if word().is_ok() || !ports.into_iter().all(is_port) {
            return Err(Malformed);
        }
        Ok(Some(Origin::Client(source)))
    }

    fn v2(&mut self) -> Result<Option<Origin>, Malformed> {
        let bytes = self.bytes();
        let common = bytes.len().min(V2_SIGNATURE.len());
        if bytes.get(..common) != V2_SIGNATURE.get(..common) {
            return Err(Malformed);
        }
        let Some(head) = bytes.first_chunk::<V2_HEAD_LEN>() else {
            return Ok(None);
        };
        let (command, family) = (head[field::VERSION_COMMAND], head[field::FAMILY]);
        if command != V2_LOCAL && command != V2_PROXY {
            return Err(Malformed);
        }
        let len = head.get(field::LEN).and_then(|len| len.first_chunk());
        let len = u16::from_be_bytes(*len.ok_or(Malformed)?);
        let total = V2_HEAD_LEN.saturating_add(len.into());
        let body = bytes.get(V2_HEAD_LEN..).unwrap_or_default();
        let origin = match (command, family) {
            // Source and destination addresses, then their ports: at least 12 and 36 bytes.
            (V2_PROXY, TCP4) if len < 12 => return Err(Malformed),
            (V2_PROXY, TCP6) if len < 36 => return Err(Malformed),
            (V2_PROXY, TCP4) => body
                .first_chunk()
                .map(|ip: &[u8; 4]| Origin::Client(IpAddr::V4(Ipv4Addr::from(*ip)))),
            (V2_PROXY, TCP6) => body
                .first_chunk()
                .map(|ip: &[u8; 16]| Origin::Client(IpAddr::V6(Ipv6Addr::from(*ip)))),
            _ => Some(Origin::Connection),
        };
        self.total = Some(total);
        Ok(origin.filter(|_| self.wanted() == 0))
    }
}

fn v4(text: &str) -> Result<Ipv4Addr, Malformed> {
    text.parse().map_err(|_| Malformed)
}

fn v6(text: &str) -> Result<Ipv6Addr, Malformed> {
    text.parse().map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    /// Feeds it as a socket would; gives the result and how many bytes of `bytes` it took.
    fn read(bytes: &[u8], at_once: usize) -> (Result<Option<Origin>, Malformed>, usize) {
        let mut reader = Reader::default();
        let mut at = 0;
        loop {
            let len = reader.wanted().min(at_once).min(bytes.len() - at);
            if len == 0 {
                return (Ok(None), at);
            }
            let result = reader.handle_input(&bytes[at..at + len]);
            at += len;
            if result != Ok(None) {
                return (result, at);
            }
        }
    }

    fn client(ip: &str) -> Result<Option<Origin>, Malformed> {
        Ok(Some(Origin::Client(ip.parse().unwrap())))
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let head = [command, family, (body.len() >> 8) as u8, body.len() as u8];
        [V2_SIGNATURE, &head, body].concat()
    }

    /// Takes exactly the header, in whatever pieces it comes, and asks for more wherever it is cut.
    fn whole(header: &[u8], expected: Result<Option<Origin>, Malformed>) {
        let followed = [header, b"\r\nGET / PROXY"].concat();
        for at_once in [1, 2, 3, 7, usize::MAX] {
            assert_eq!(read(&followed, at_once), (expected, header.len()), "{header:?}");
        }
        for cut in 0..header.len() {
            assert_eq!(read(&header[..cut], usize::MAX), (Ok(None), cut), "{header:?}");
        }
    }

    #[test]
    fn the_examples_of_the_specification_are_read() {
        let worst = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let lines = [
            (
                "TCP4 255.255.255.255 255.255.255.255 65535 65535",
                Some("255.255.255.255"),
            ),
            (&format!("TCP6 {worst} {worst} 65535 65535"), Some(worst)),
            ("UNKNOWN", None),
            (&format!("UNKNOWN {worst} {worst} 65535 65535"), None),
            ("TCP4 192.168.0.1 192.168.0.11 56324 443", Some("192.168.0.1")),
            ("TCP6 2001:db8::1 ::1 1 0", Some("2001:db8::1")),
        ];
        for (line, ip) in lines {
            let expected = ip.map_or(Ok(Some(Origin::Connection)), client);
            whole(format!("PROXY {line}\r\n").as_bytes(), expected);
        }
        assert_eq!(
            format!("PROXY UNKNOWN {worst} {worst} 65535 65535\r\n").len(),
            MAX_V1_LEN
        );
    }

    #[test]
    fn binary_headers_are_read_and_what_they_carry_besides_is_skipped() {
        let v4 = [192, 0, 2, 1, 127, 0, 0, 1, 0x12, 0x34, 0x01, 0xbb];
        let v6 = [[0x20; 16], [1; 16]].concat();
        let v6 = [&v6[..], &[0, 1, 0, 2]].concat();
        let long = [&v4[..], &[0xee; 3000]].concat();
        whole(&v2(0x21, 0x11, &v4), client("192.0.2.1"));
        whole(
            &v2(0x21, 0x21, &v6),
            client("2020:2020:2020:2020:2020:2020:2020:2020"),
        );
        whole(&v2(0x21, 0x11, &long), client("192.0.2.1"));
        whole(&v2(0x20, 0x00, &[]), Ok(Some(Origin::Connection)));
        whole(&v2(0x20, 0x11, &v4), Ok(Some(Origin::Connection)));
        whole(&v2(0x21, 0x31, &[0; 216]), Ok(Some(Origin::Connection)));
        whole(&v2(0x21, 0x12, &v4), Ok(Some(Origin::Connection)));
    }

    #[test]
    fn anything_else_is_refused() {
        let v4 = [192, 0, 2, 1, 127, 0, 0, 1, 0x12, 0x34, 0x01, 0xbb];
        let line = |rest: &str| format!("PROXY {rest}\r\n").into_bytes();
        let bad = [
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            [0x16, 0x03, 0x01, 0x02, 0x00].to_vec(),
            b"proxy UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN\n\n\n".to_vec(),
            line("TCP4 192.168.0.1 192.168.0.11 56324"),
            line("TCP4 192.168.0.1 192.168.0.11 56324 443 1"),
            line("TCP4 192.168.0.1 192.168.0.11 56324 65536"),
            line("TCP4 192.168.0.1 192.168.0.11 +1 443"),
            line("TCP4 192.168.0.1 192.168.0.11 01 443"),
            line("TCP4 192.168.0.1  192.168.0.11 1 443"),
            line("TCP4 ::1 ::1 1 1"),
            line("TCP6 127.0.0.1 127.0.0.1 1 1"),
            line("TCP4 example.org 127.0.0.1 1 1"),
            line("UDP4 127.0.0.1 127.0.0.1 1 1"),
            line(&"x".repeat(MAX_V1_LEN)),
            b"\r\n\r\n\0\r\nQUIT\r\n\0\0".to_vec(),
            v2(0x11, 0x11, &v4),
            v2(0x22, 0x11, &v4),
            v2(0x21, 0x11, &v4[..11]),
            v2(0x21, 0x21, &v4),
        ];
        for bytes in bad {
            for at_once in [1, usize::MAX] {
                assert_eq!(
                    read(&bytes, at_once).0,
                    Err(Malformed),
                    "{}",
                    String::from_utf8_lossy(&bytes)
                );
            }
        }
    }
}
