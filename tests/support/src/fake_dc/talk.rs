//! One connection of a data centre: the header, then the script.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use sha2::Digest;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Timer, channel, future};

use super::{Check, Ended, Pace, Record, Script, Shared, Step, Then};
use crate::frames::{self, Frames, ResPq};
use crate::obfuscated2::{self, Cipher, HEADER_LEN, Header};
use crate::rng::{Payload, Rng, Seed, Stream, fresh_seed};
use crate::tcp;

const BUFFER_LEN: usize = 32_768;

/// A connection and all that its script needs.
pub(super) struct Talk {
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    pub(super) socket: Async<TcpStream>,
    pub(super) script: Script,
    pub(super) pace: Pace,
    pub(super) gate: channel::Receiver<()>,
}

/// Changes what is remembered of the connection.
fn note<R>(shared: &Shared, index: usize, change: impl FnOnce(&mut Record) -> R) -> R {
    shared.state.change(|state| change(&mut state.records[index]))
}

impl Talk {
    /// Plays the script to its end; the end is noted after the socket is closed.
    pub(super) async fn run(self) {
        let ended = match self.play().await {
            Ok(ended) => ended,
            Err(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof => Ended::Eof,
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ended::Reset,
                kind => Ended::Failed(kind),
            },
        };
        let Talk {
            shared,
            index,
            socket,
            ..
        } = self;
        drop(socket);
        note(&shared, index, |record| record.seen.ended = Some(ended));
    }

    async fn play(&self) -> io::Result<Ended> {
        self.socket.get_ref().set_nodelay(true)?;
        if let Script::Stall = self.script {
            self.pass_gate().await;
        }
        let mut raw = [0; HEADER_LEN];
        (&self.socket).read_exact(&mut raw).await?;
        let (header, up, down) = obfuscated2::open(&raw, None);
        let seen = note(&self.shared, self.index, |record| {
            record.seen.header = Some(header);
            record.snapshot()
        });
        if let Some(hook) = &self.shared.hook {
            hook(&seen);
        }
        let up = Up {
            talk: self,
            cipher: up,
            buffer: vec![0; BUFFER_LEN],
        };
        let down = Down {
            talk: self,
            cipher: down,
        };
        self.follow(header, up, down).await
    }

    async fn follow(&self, header: Header, mut up: Up<'_>, mut down: Down<'_>) -> io::Result<Ended> {
        match &self.script {
            Script::Echo => {
                while let Some(bytes) = up.read().await? {
                    down.write(bytes).await?;
                }
                Ok(Ended::Eof)
            }
            Script::Source { payload, then } => {
                let seed = up.seed_of(payload).await?;
                down.stream(seed, payload.bytes).await?;
                match then {
                    Then::Close => self.close(),
                    Then::Reset => self.reset(),
                    Then::HalfClose => {
                        self.half_close()?;
                        up.drain().await
                    }
                    Then::Stay => up.drain().await,
                }
            }
            Script::Sink { expect } => {
                let seed = match expect {
                    Some(expect) => up.seed_of(expect).await?,
                    None => 0,
                };
                up.compare(*expect, seed).await?;
                let (count, digest) = note(&self.shared, self.index, |record| {
                    (record.seen.received, record.hash.clone().finalize())
                });
                let mut answer = count.to_le_bytes().to_vec();
                answer.extend_from_slice(&digest);
                down.write(&mut answer).await?;
                Ok(Ended::Eof)
            }
            Script::Both { send, expect } => {
                let seed = up.seed_of(send).await?;
                let sending = async {
                    down.stream(seed, send.bytes).await?;
                    self.half_close()
                };
                let (sent, received) =
                    future::zip(sending, up.compare(*expect, expected_seed(expect, seed))).await;
                received?;
                sent?;
                Ok(Ended::Eof)
            }
            Script::HalfCloseFirst { payload, expect } => {
                let seed = up.seed_of(payload).await?;
                down.stream(seed, payload.bytes).await?;
                self.half_close()?;
                up.compare(*expect, expected_seed(expect, seed)).await?;
                Ok(Ended::Eof)
            }
            Script::Stall | Script::Silent | Script::Refuse => up.drain().await,
            Script::ResetAt(count) => {
                up.exactly(*count).await?;
                self.reset()
            }
            Script::ResPq => self.answer_req_pq(header, up, down).await,
            Script::TransportError(code) => self.refuse(header, *code, up, down).await,
            Script::Play(steps) => self.steps(steps, up, down).await,
        }
    }

    async fn steps(&self, steps: &[Step], mut up: Up<'_>, mut down: Down<'_>) -> io::Result<Ended> {
        for step in steps {
            match step {
                Step::Send(bytes) => down.write(&mut bytes.clone()).await?,
                Step::Stream(payload) => {
                    let seed = up.seed_of(payload).await?;
                    down.stream(seed, payload.bytes).await?;
                }
                Step::Read(count) => up.exactly(*count).await?,
                Step::ReadToEnd => {
                    up.drain().await?;
                }
                Step::Gate => self.pass_gate().await,
                Step::HalfClose => self.half_close()?,
                Step::Reset => return self.reset(),
                Step::Close => return self.close(),
            }
        }
        up.drain().await
    }

    async fn answer_req_pq(&self, header: Header, mut up: Up<'_>, mut down: Down<'_>) -> io::Result<Ended> {
        let mut rng = Rng::new(fresh_seed());
        let mut frames = Frames::new(header.tag);
        while let Some(bytes) = up.read().await? {
            frames.push(bytes);
            while let Some(frame) = frames.next_frame().map_err(io::Error::other)? {
                if let Some(nonce) = frames::requested_nonce(&frame.payload) {
                    let message = ResPq::answer(nonce, &mut rng).to_message(&mut rng);
                    down.write(&mut frames::frame(header.tag, &message, &mut rng))
                        .await?;
                }
            }
        }
        Ok(Ended::Eof)
    }

    async fn refuse(
        &self,
        header: Header,
        code: i32,
        mut up: Up<'_>,
        mut down: Down<'_>,
    ) -> io::Result<Ended> {
        let mut frames = Frames::new(header.tag);
        while frames.next_frame().map_err(io::Error::other)?.is_none() {
            match up.read().await? {
                Some(bytes) => frames.push(bytes),
                None => return Ok(Ended::Eof),
            }
        }
        let mut rng = Rng::new(fresh_seed());
        down.write(&mut frames::transport_error(header.tag, code, &mut rng))
            .await?;
        self.close()
    }

    /// Waits until the gate's sender is gone.
    async fn pass_gate(&self) {
        while self.gate.recv().await.is_ok() {}
    }

    fn half_close(&self) -> io::Result<()> {
        self.socket.get_ref().shutdown(Shutdown::Write)
    }

    fn close(&self) -> io::Result<Ended> {
        // Unread bytes would turn the close into a reset, and that would throw away what is on its way.
        let mut unread = [0; BUFFER_LEN];
        while matches!(io::Read::read(&mut self.socket.get_ref(), &mut unread), Ok(1..)) {}
        Ok(Ended::Script)
    }

    fn reset(&self) -> io::Result<Ended> {
        tcp::reset_on_close(self.socket.get_ref());
        Ok(Ended::Script)
    }
}

/// The direction from the client.
struct Up<'a> {
    talk: &'a Talk,
    cipher: Cipher,
    buffer: Vec<u8>,
}

impl Up<'_> {
    /// The next bytes, `None` at the end.
    async fn read(&mut self) -> io::Result<Option<&mut [u8]>> {
        self.read_at_most(BUFFER_LEN).await
    }

    async fn read_at_most(&mut self, most: usize) -> io::Result<Option<&mut [u8]>> {
        let bytes = &mut self.buffer[..most.min(BUFFER_LEN)];
        let len = (&self.talk.socket).read(bytes).await?;
        if len == 0 {
            return Ok(None);
        }
        let bytes = &mut bytes[..len];
        self.cipher.apply(bytes);
        note(&self.talk.shared, self.talk.index, |record| {
            record.received(bytes)
        });
        if let Some(rate) = self.talk.pace.read_rate {
            Timer::after(time_of(len, rate)).await;
        }
        Ok(Some(bytes))
    }

    /// Everything until the end, not looked at.
    async fn drain(&mut self) -> io::Result<Ended> {
        while self.read().await?.is_some() {}
        Ok(Ended::Eof)
    }

    /// Exactly this many bytes.
    async fn exactly(&mut self, count: u64) -> io::Result<()> {
        let mut left = count;
        while left != 0 {
            match self
                .read_at_most(usize::try_from(left).unwrap_or(usize::MAX))
                .await?
            {
                Some(bytes) => left -= bytes.len() as u64,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(())
    }

    /// The payload's seed, if need be from the client's first eight bytes.
    async fn seed_of(&mut self, payload: &Payload) -> io::Result<u64> {
        if let Seed::Fixed(seed) = payload.seed {
            return Ok(seed);
        }
        let mut seed = Vec::new();
        while seed.len() < 8 {
            match self.read_at_most(8 - seed.len()).await? {
                Some(bytes) => seed.extend_from_slice(bytes),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(u64::from_le_bytes(seed.try_into().expect("eight bytes")))
    }

    /// Everything until the end, compared with the stream.
    async fn compare(&mut self, expect: Option<Payload>, seed: u64) -> io::Result<()> {
        let Some(expect) = expect else {
            self.drain().await?;
            return Ok(());
        };
        let mut stream = Stream::new(seed);
        let mut check = Check {
            expected: expect.bytes,
            came: 0,
            wrong_at: None,
        };
        let (shared, index) = (Arc::clone(&self.talk.shared), self.talk.index);
        note(&shared, index, |record| record.seen.check = Some(check));
        while let Some(bytes) = self.read().await? {
            check.came += bytes.len() as u64;
            if check.wrong_at.is_none() {
                check.wrong_at = stream.check(bytes).err();
            }
            note(&shared, index, |record| record.seen.check = Some(check));
        }
        Ok(())
    }
}

/// The direction to the client.
struct Down<'a> {
    talk: &'a Talk,
    cipher: Cipher,
}

impl Down<'_> {
    /// Encrypts in place and writes, at the pace.
    async fn write(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.cipher.apply(bytes);
        let pace = self.talk.pace;
        // Without a given size, a rate is kept in steps of a fiftieth of a second.
        let rate_chunk = pace
            .write_rate
            .map(|rate| (rate as usize / 50).clamp(1, BUFFER_LEN));
        let chunk = pace.chunk.or(rate_chunk).unwrap_or(BUFFER_LEN).max(1);
        for chunk in bytes.chunks(chunk) {
            (&self.talk.socket).write_all(chunk).await?;
            note(&self.talk.shared, self.talk.index, |record| {
                record.seen.sent += chunk.len() as u64
            });
            if let Some(rate) = pace.write_rate {
                Timer::after(time_of(chunk.len(), rate)).await;
            }
        }
        Ok(())
    }

    async fn stream(&mut self, seed: u64, count: u64) -> io::Result<()> {
        let mut stream = Stream::new(seed);
        let mut piece = vec![0; BUFFER_LEN];
        let mut left = count;
        while left != 0 {
            let len = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            stream.fill(&mut piece[..len]);
            self.write(&mut piece[..len]).await?;
            left -= len as u64;
        }
        Ok(())
    }
}

/// An upload's seed beside a download: what was asked for is the download's, so the upload is told from it.
fn expected_seed(expect: &Option<Payload>, asked: u64) -> u64 {
    match expect.map(|expect| expect.seed) {
        Some(Seed::Fixed(seed)) => seed,
        Some(Seed::Asked) | None => !asked,
    }
}

fn time_of(len: usize, rate: u32) -> Duration {
    Duration::from_secs_f64(len as f64 / f64::from(rate.max(1)))
}
