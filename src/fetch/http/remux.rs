//! `?remux=mp4`: a film in a container that browsers and TVs do not open, as fragmented MP4 with the same streams.
//!
//! ffmpeg copies the streams (`-c copy`), if it is installed. It reads the medium from a loopback listener of its own, which
//! answers one random path: so it seeks as any player does, and needs no disk. It is killed as soon as the client leaves.

use super::gateway::{Gateway, Slot};
use super::outcome::{Interrupt, Outcome};
use super::peer::Peer;
use super::request::Request;
use super::response::{Head, Refusal, disposition};
use super::server::{Respond, Response, listen};
use super::settings::Settings;
use crate::random_word::random_word;
use crate::source::{Media, Source};
use mtrelay_core::reactor::{Async, Interest};
use mtrelay_core::sys::{clock, socket};
use smol::future;
use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::rc::Rc;

/// Bytes of one read of ffmpeg's output.
const READ_LEN: usize = 64 << 10;
/// `Retry-After` in seconds while too many remuxes run.
const RETRY_AFTER_SECS: u64 = 10;
/// Bytes that are kept of ffmpeg's error output.
const MAX_ERROR_LEN: usize = 1024;

/// A running ffmpeg.
struct Remux(Option<Child>);

impl Drop for Remux {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // Fails if ffmpeg has ended by itself.
            let _ = child.kill();
            // On another thread: a process that hangs in the kernel would block this one.
            smol::unblock(move || child.wait()).detach();
        }
    }
}

/// The output pipes of ffmpeg.
struct Outputs {
    film: Async<ChildStdout>,
    errors: Async<ChildStderr>,
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
        let (film, errors) = (child.stdout.take(), child.stderr.take());
        let remux = Remux(Some(child));
        let outputs = Outputs {
            film: Async::new(film.ok_or(ErrorKind::BrokenPipe)?)?,
            errors: Async::new(errors.ok_or(ErrorKind::BrokenPipe)?)?,
        };
        Ok((remux, outputs))
    }

    /// Waits for the end of the process after the end of its output. Returns whether it succeeded.
    async fn end(mut self) -> io::Result<bool> {
        match self.0.take() {
            Some(mut child) => Ok(smol::unblock(move || child.wait()).await?.success()),
            None => Ok(true),
        }
    }
}

/// Keeps the last bytes of the error output until it ends.
async fn keep_errors(errors: &Async<ChildStderr>, last: &RefCell<Vec<u8>>) {
    let mut piece = [0; MAX_ERROR_LEN];
    while let Ok(len @ 1..) = errors
        .try_io(Interest::Read, |errors| Ok(rustix::io::read(errors, &mut piece)?))
        .await
    {
        let mut last = last.borrow_mut();
        last.extend_from_slice(&piece[..len]);
        let old = last.len().saturating_sub(MAX_ERROR_LEN);
        last.drain(..old);
    }
}

/// The last line of the error output, without control characters.
fn last_line(errors: &[u8]) -> String {
    let errors = String::from_utf8_lossy(errors);
    let last = errors.lines().rev().find(|line| !line.trim().is_empty());
    last.unwrap_or("no error output")
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect()
}

/// Sends the medium as MP4.
pub(super) async fn send<S: Source>(
    gateway: &Rc<Gateway<S>>,
    peer: &mut Peer<'_>,
    request: &Request,
    media: Media,
    outcome: &mut Outcome,
) -> Result<(), Interrupt> {
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
    // The length is known only at the end: chunks mark it, or the end of the connection.
    if request.chunks {
        head.add("Transfer-Encoding", "chunked");
    }
    outcome.close = !request.chunks;
    let head = head.finish(request.keep_alive && request.chunks);
    outcome.status = 200;
    if request.head_only {
        return Ok(peer.send(&head).await?);
    }
    let _slot = Slot::take(&gateway.remuxes, gateway.settings.remuxes)
        .ok_or_else(|| Refusal::later(RETRY_AFTER_SECS, "too many remuxes are running"))?;
    let unready = |error: io::Error| Refusal::new(503, format!("the remux cannot start: {error}"));
    let word = random_word();
    let listener = socket::listen((Ipv4Addr::LOCALHOST, 0).into()).map_err(unready)?;
    let url = url(&listener, &word).map_err(unready)?;
    let listener = Async::new_nonblocking(listener).map_err(unready)?;
    let (remux, outputs) =
        Remux::start(&gateway.settings.ffmpeg, &url).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Refusal::new(501, "ffmpeg is not installed"),
            _ => unready(error),
        })?;
    let responder = Rc::new(OneMedium {
        gateway: gateway.clone(),
        path: format!("/{word}"),
        media,
    });
    let copying = copy(peer, request.chunks, head, remux, &outputs, outcome);
    let serving = async {
        listen(responder, vec![listener]).await;
        Ok(())
    };
    future::or(copying, serving).await
}

/// Answers requests for one medium at one path: what ffmpeg reads.
struct OneMedium<S: Source> {
    gateway: Rc<Gateway<S>>,
    path: String,
    media: Media,
}

impl<S: Source> Respond for OneMedium<S> {
    fn settings(&self) -> &Settings {
        &self.gateway.settings
    }

    fn respond<'a>(
        &'a self,
        peer: &'a mut Peer<'_>,
        request: &'a Request,
        outcome: &'a mut Outcome,
    ) -> Response<'a> {
        Box::pin(async move {
            if request.path != self.path {
                return Err(Refusal::new(404, "").into());
            }
            outcome.target = String::from("(remux)");
            self.gateway.send_media(peer, request, &self.media, outcome).await
        })
    }
}

/// The URL of the medium behind this listener.
fn url(listener: &TcpListener, word: &str) -> io::Result<String> {
    Ok(format!("http://{}/{word}", listener.local_addr()?))
}

/// Sends ffmpeg's output. A failure before its first byte still gets a status of its own.
async fn copy(
    peer: &mut Peer<'_>,
    chunks: bool,
    head: Vec<u8>,
    remux: Remux,
    outputs: &Outputs,
    outcome: &mut Outcome,
) -> Result<(), Interrupt> {
    let last_errors = RefCell::default();
    let mut head = Some(head);
    let film = async {
        let mut piece = vec![0; READ_LEN];
        loop {
            let reading = outputs
                .film
                .try_io(Interest::Read, |film| Ok(rustix::io::read(film, &mut piece[..])?));
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
            outcome.bytes += len as u64;
            peer.send(&bytes).await?;
        }
    };
    // A full pipe of errors would stop ffmpeg.
    let errors = async {
        keep_errors(&outputs.errors, &last_errors).await;
        Ok(())
    };
    future::try_zip(film, errors).await?;
    let good = remux.end().await?;
    match head {
        Some(_) => Err(Refusal::new(502, format!("ffmpeg: {}", last_line(&last_errors.borrow()))).into()),
        None if !good => {
            Err(io::Error::other(format!("ffmpeg: {}", last_line(&last_errors.borrow()))).into())
        }
        None if chunks => Ok(peer.send(b"0\r\n\r\n").await?),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
