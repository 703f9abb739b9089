//! `?remux=mp4`: what a browser or a TV cannot open, as fragmented MP4 with the same streams in it.
//!
//! ffmpeg copies (`-c copy`), if it is installed. It reads the medium from us, over a loopback listener of its own that answers
//! one path nobody can guess, so it seeks as any player does and needs no disk. It is killed as soon as the client leaves.

use super::peer::Peer;
use super::request::Request;
use super::response::{Head, Refusal, disposition};
use super::{Done, Gateway, Place, Site, Stop, listen, random_word};
use crate::source::{Media, Source};
use mtrelay_core::reactor::Async;
use mtrelay_core::sys::{clock, socket};
use smol::future;
use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::rc::Rc;

/// What is read of ffmpeg's output at once.
const PIECE: usize = 64 << 10;
/// A client that asks too early asks again after so many seconds.
const AGAIN: u64 = 10;

/// What is kept of what it complains about.
const WORDS_MAX: usize = 1024;

/// A running ffmpeg.
struct Remux(Option<Child>);

impl Drop for Remux {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It may have ended by itself.
            let _ = child.kill();
            // It is gone at once; waiting for it is not for this thread, should it hang in the kernel.
            smol::unblock(move || child.wait()).detach();
        }
    }
}

/// What it writes.
struct Outputs {
    film: Async<ChildStdout>,
    words: Async<ChildStderr>,
}

impl Remux {
    fn start(program: &Path, url: &str) -> io::Result<(Remux, Outputs)> {
        let mut child = Command::new(program)
            .args(["-nostdin", "-hide_banner", "-loglevel", "error", "-i", url])
            .args(["-map", "0:v:0?", "-map", "0:a?", "-c", "copy"])
            .args([
                "-movflags",
                "frag_keyframe+empty_moov+default_base_moof",
                "-f",
                "mp4",
                "pipe:1",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (film, words) = (child.stdout.take(), child.stderr.take());
        let remux = Remux(Some(child));
        let outputs = Outputs {
            film: Async::new(film.ok_or(ErrorKind::BrokenPipe)?)?,
            words: Async::new(words.ok_or(ErrorKind::BrokenPipe)?)?,
        };
        Ok((remux, outputs))
    }

    /// Waits for its end, which is near: its output has ended.
    async fn end(mut self) -> io::Result<bool> {
        match self.0.take() {
            Some(mut child) => Ok(smol::unblock(move || child.wait()).await?.success()),
            None => Ok(true),
        }
    }
}

/// Keeps the last of its complaints; ends with them.
async fn listen_to(words: &Async<ChildStderr>, last: &RefCell<Vec<u8>>) {
    let mut piece = [0; WORDS_MAX];
    while let Ok(len @ 1..) = words
        .read_with(|words| Ok(rustix::io::read(words, &mut piece)?))
        .await
    {
        let mut last = last.borrow_mut();
        last.extend_from_slice(&piece[..len]);
        let old = last.len().saturating_sub(WORDS_MAX);
        last.drain(..old);
    }
}

/// The last line, for people.
fn last_line(words: &[u8]) -> String {
    let words = String::from_utf8_lossy(words);
    let last = words.lines().rev().find(|line| !line.trim().is_empty());
    last.unwrap_or("it says nothing")
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect()
}

/// Answers with the medium in MP4.
pub(super) async fn answer<S: Source>(
    gateway: &Rc<Gateway<S>>,
    peer: &mut Peer<'_>,
    request: &Request,
    media: Media,
    done: &mut Done,
) -> Result<(), Stop> {
    let name = media.name.rsplit_once('.').map_or(&*media.name, |(stem, _)| stem);
    let shown = Media {
        name: format!("{name}.mp4"),
        mime: "video/mp4".into(),
        ..media.clone()
    };
    let mut head = Head::new(200, clock::unix_now());
    head.add("Content-Type", "video/mp4");
    head.add("Content-Disposition", disposition(&shown, false));
    head.add("Accept-Ranges", "none");
    head.add("Cache-Control", "no-store");
    head.add("X-Content-Type-Options", "nosniff");
    // How long it will be is known at its end: chunks tell it, or the end of the connection.
    if request.chunks {
        head.add("Transfer-Encoding", "chunked");
    }
    done.close = !request.chunks;
    let head = head.finish(request.keep_alive && request.chunks);
    done.status = 200;
    if request.head_only {
        return Ok(peer.send(&head).await?);
    }
    let _place = Place::take(&gateway.remuxes, gateway.settings.remuxes)
        .ok_or_else(|| Refusal::later(AGAIN, "as many remuxes run as may"))?;
    let unready = |error: io::Error| Refusal::new(503, format!("the remux cannot begin: {error}"));
    let word = random_word().map_err(unready)?;
    let listener = socket::listen((Ipv4Addr::LOCALHOST, 0).into()).map_err(unready)?;
    let url = address(&listener, &word).map_err(unready)?;
    let listener = Async::new_nonblocking(listener).map_err(unready)?;
    let (remux, outputs) =
        Remux::start(&gateway.settings.ffmpeg, &url).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Refusal::new(501, "ffmpeg is not installed"),
            _ => unready(error),
        })?;
    let site = Site::One(gateway.clone(), Rc::new((word, media)));
    let copying = copy(peer, request.chunks, head, remux, &outputs, done);
    let serving = async {
        listen(site, vec![listener]).await;
        Ok(())
    };
    future::or(copying, serving).await
}

fn address(listener: &TcpListener, word: &str) -> io::Result<String> {
    Ok(format!("http://{}/{word}", listener.local_addr()?))
}

/// Sends what ffmpeg writes. A failure before its first byte still has a status of its own.
async fn copy(
    peer: &mut Peer<'_>,
    chunks: bool,
    head: Vec<u8>,
    remux: Remux,
    outputs: &Outputs,
    done: &mut Done,
) -> Result<(), Stop> {
    let words = RefCell::default();
    let mut head = Some(head);
    let film = async {
        let mut piece = vec![0; PIECE];
        loop {
            let reading = outputs
                .film
                .read_with(|film| Ok(rustix::io::read(film, &mut piece[..])?));
            let len = peer.wait(reading).await??;
            if len == 0 {
                return io::Result::Ok(());
            }
            let mut bytes = head.take().unwrap_or_default();
            if chunks {
                bytes.extend_from_slice(format!("{len:x}\r\n").as_bytes());
            }
            bytes.extend_from_slice(&piece[..len]);
            if chunks {
                bytes.extend_from_slice(b"\r\n");
            }
            done.bytes += len as u64;
            peer.send(&bytes).await?;
        }
    };
    // It stops when nobody hears its complaints.
    let complaints = async {
        listen_to(&outputs.words, &words).await;
        Ok(())
    };
    future::try_zip(film, complaints).await?;
    let good = remux.end().await?;
    match head {
        Some(_) => Err(Refusal::new(502, format!("ffmpeg: {}", last_line(&words.borrow()))).into()),
        None if !good => Err(io::Error::other(format!("ffmpeg: {}", last_line(&words.borrow()))).into()),
        None if chunks => Ok(peer.send(b"0\r\n\r\n").await?),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
