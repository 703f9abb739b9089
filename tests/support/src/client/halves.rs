//! The two directions of a client, each usable from a thread of its own.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{End, HeaderShape, Shape};
use crate::faketls::{CHANGE_CIPHER_SPEC, MAX_RECORD_LEN};
use crate::obfuscated2::Cipher;
use crate::rng::Stream;

const PIECE_LEN: usize = 65_536;

/// What a client receives: records unwrapped, bytes decrypted.
#[derive(Debug)]
pub struct Reader {
    socket: Arc<TcpStream>,
    cipher: Cipher,
    records: Option<Records>,
}

/// Where in the TLS records the reader stands.
#[derive(Debug, Default)]
struct Records {
    /// Bytes as they came, from `at` on not yet looked at.
    raw: Vec<u8>,
    at: usize,
    /// What is left of the record's payload.
    left: usize,
}

/// An exact read that was cut short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    /// What came before.
    pub got: Vec<u8>,
    /// Why no more came.
    pub end: End,
}

/// A download that was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// How many bytes.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
}

impl Reader {
    pub(super) fn new(socket: Arc<TcpStream>, cipher: Cipher, tls: bool) -> Reader {
        Reader {
            socket,
            cipher,
            records: tls.then(Records::default),
        }
    }

    /// At least one byte, or the end.
    pub fn read(&mut self, bytes: &mut [u8]) -> Result<usize, End> {
        let len = match &mut self.records {
            None => match read_some(&self.socket, bytes)? {
                0 => return Err(End::Eof),
                len => len,
            },
            Some(records) => records.read(&self.socket, bytes)?,
        };
        self.cipher.apply(&mut bytes[..len]);
        Ok(len)
    }

    /// Exactly `count` bytes.
    pub fn recv_exact(&mut self, count: usize) -> Result<Vec<u8>, Short> {
        let mut got = vec![0; count];
        let mut len = 0;
        while len < count {
            match self.read(&mut got[len..]) {
                Ok(more) => len += more,
                Err(end) => {
                    got.truncate(len);
                    return Err(Short { got, end });
                }
            }
        }
        Ok(got)
    }

    /// Calls `each` with every piece until the end.
    pub fn each_to_end(&mut self, mut each: impl FnMut(&[u8])) -> End {
        let mut piece = vec![0; PIECE_LEN];
        loop {
            match self.read(&mut piece) {
                Ok(len) => each(&piece[..len]),
                Err(end) => return end,
            }
        }
    }

    /// Everything until the end; for what fits into memory.
    pub fn recv_to_end(&mut self) -> (Vec<u8>, End) {
        let mut all = Vec::new();
        let end = self.each_to_end(|piece| all.extend_from_slice(piece));
        (all, end)
    }

    /// Everything until the end, hashed and not kept.
    pub fn digest_to_end(&mut self) -> (Received, End) {
        let (mut bytes, mut hash) = (0, Sha256::new());
        let end = self.each_to_end(|piece| {
            bytes += piece.len() as u64;
            hash.update(piece);
        });
        (
            Received {
                bytes,
                sha256: hash.finalize().into(),
            },
            end,
        )
    }

    /// Exactly the next `count` bytes of the stream.
    ///
    /// # Panics
    /// At the first byte that is another, or when they end too early.
    #[track_caller]
    pub fn expect_stream(&mut self, stream: &mut Stream, count: u64) {
        let mut piece = vec![0; PIECE_LEN];
        let mut left = count;
        while left != 0 {
            let want = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match self.read(&mut piece[..want]) {
                Ok(len) => {
                    if let Err(at) = stream.check(&piece[..len]) {
                        panic!("byte {at} of the download is wrong ({count} expected)");
                    }
                    left -= len as u64;
                }
                Err(end) => panic!("{end} after {} of {count} bytes of the download", count - left),
            }
        }
    }

    /// Bytes of the stream until the end; how many they were, and the end.
    ///
    /// # Panics
    /// At the first byte that is not the stream's.
    #[track_caller]
    pub fn stream_to_end(&mut self, stream: &mut Stream) -> (u64, End) {
        let mut wrong = None;
        let start = stream.position();
        let mut count = 0;
        let end = self.each_to_end(|piece| {
            count += piece.len() as u64;
            if wrong.is_none() {
                wrong = stream.check(piece).err();
            }
        });
        if let Some(at) = wrong {
            panic!("byte {at} of the download is wrong (of {count}, from {start} on, then {end})");
        }
        (count, end)
    }

    /// The socket of both halves.
    pub fn raw(&self) -> &TcpStream {
        &self.socket
    }
}

impl Records {
    fn read(&mut self, socket: &TcpStream, bytes: &mut [u8]) -> Result<usize, End> {
        while self.left == 0 {
            self.need(socket, 5)?;
            let head = &self.raw[self.at..self.at + 5];
            let len = usize::from(u16::from_be_bytes([head[3], head[4]]));
            if head[..3] != [0x17, 0x03, 0x03] || len > MAX_RECORD_LEN {
                return Err(End::Protocol(format!("a record starts with {head:02x?}")));
            }
            self.at += 5;
            self.left = len;
        }
        self.need(socket, 1)?;
        let len = bytes.len().min(self.left).min(self.raw.len() - self.at);
        bytes[..len].copy_from_slice(&self.raw[self.at..self.at + len]);
        self.at += len;
        self.left -= len;
        Ok(len)
    }

    /// Reads until `count` bytes wait to be looked at.
    fn need(&mut self, socket: &TcpStream, count: usize) -> Result<(), End> {
        while self.raw.len() - self.at < count {
            self.raw.drain(..self.at);
            self.at = 0;
            let start = self.raw.len();
            self.raw.resize(start + PIECE_LEN, 0);
            let result = read_some(socket, &mut self.raw[start..]);
            self.raw.truncate(start + result.as_ref().map_or(0, |len| *len));
            if result? == 0 {
                let inside = self.left != 0 || start != 0;
                return Err(if inside {
                    End::Protocol("end of stream inside a record".into())
                } else {
                    End::Eof
                });
            }
        }
        Ok(())
    }
}

fn read_some(mut socket: &TcpStream, bytes: &mut [u8]) -> Result<usize, End> {
    loop {
        match socket.read(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Ok(result?),
        }
    }
}

/// What a client sends: bytes encrypted, wrapped into records, cut into writes.
#[derive(Debug)]
pub struct Writer {
    socket: Arc<TcpStream>,
    cipher: Cipher,
    tls: bool,
    shape: Shape,
    /// Bytes that go before everything else, as they are.
    before: Vec<u8>,
    /// The init header while it waits for data to travel with.
    header: Vec<u8>,
}

impl Writer {
    /// Sends the header as the shape wants it.
    pub(super) fn open(
        socket: Arc<TcpStream>,
        cipher: Cipher,
        header: &[u8],
        tls: bool,
        shape: Shape,
    ) -> io::Result<Writer> {
        let before = if tls {
            CHANGE_CIPHER_SPEC.to_vec()
        } else {
            Vec::new()
        };
        let mut writer = Writer {
            socket,
            cipher,
            tls,
            shape,
            before,
            header: Vec::new(),
        };
        match shape.header {
            HeaderShape::Alone => writer.send_sealed(header)?,
            HeaderShape::Split(pieces) => {
                for piece in header.chunks(header.len().div_ceil(pieces.max(1))) {
                    writer.send_sealed(piece)?;
                }
            }
            HeaderShape::WithData => writer.header = header.to_vec(),
        }
        Ok(writer)
    }

    /// Sends through the cipher, in the writer's shape.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut sealed = std::mem::take(&mut self.header);
        let start = sealed.len();
        sealed.extend_from_slice(bytes);
        self.cipher.apply(&mut sealed[start..]);
        self.send_sealed(&sealed)
    }

    /// Sends the next `count` bytes of the stream, a piece at a time.
    pub fn send_stream(&mut self, stream: &mut Stream, count: u64) -> io::Result<()> {
        let mut piece = vec![0; PIECE_LEN];
        let mut left = count;
        while left != 0 {
            let len = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            stream.fill(&mut piece[..len]);
            self.send(&piece[..len])?;
            left -= len as u64;
        }
        Ok(())
    }

    /// Tells a DC whose payload is `Seed::Asked` which stream to use.
    pub fn ask(&mut self, seed: u64) -> io::Result<()> {
        self.send(&seed.to_le_bytes())
    }

    /// Sends bytes that are encrypted already (or never will be), wrapped into records where the mode has them.
    pub fn send_sealed(&mut self, sealed: &[u8]) -> io::Result<()> {
        let mut raw = std::mem::take(&mut self.before);
        if !self.tls {
            raw.extend_from_slice(sealed);
            return self.send_raw(&raw);
        }
        for payload in sealed.chunks(self.shape.record_size.clamp(1, MAX_RECORD_LEN)) {
            if self.shape.empty_records {
                raw.extend_from_slice(&[0x17, 0x03, 0x03, 0, 0]);
            }
            raw.extend_from_slice(&[0x17, 0x03, 0x03]);
            raw.extend_from_slice(&(payload.len() as u16).to_be_bytes());
            raw.extend_from_slice(payload);
            if !self.shape.coalesce {
                self.send_raw(&raw)?;
                raw.clear();
            }
        }
        self.send_raw(&raw)
    }

    /// Sends bytes past ciphers and records, in writes of the shape's size.
    pub fn send_raw(&mut self, raw: &[u8]) -> io::Result<()> {
        let mut socket = &*self.socket;
        raw.chunks(self.shape.write_size.max(1))
            .try_for_each(|write| socket.write_all(write))
    }

    /// Writes differently from here on.
    pub fn set_shape(&mut self, shape: Shape) {
        self.shape = shape;
    }

    /// Ends the upload and keeps the download.
    pub fn finish(&mut self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }

    /// The socket of both halves.
    pub fn raw(&self) -> &TcpStream {
        &self.socket
    }
}
