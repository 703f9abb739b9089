//! From a request to a medium, and the medium as a response.

use super::multipart::{Parts, content_range};
use super::outcome::{Interrupt, Outcome};
use super::peer::Peer;
use super::plan::{Plan, plan};
use super::request::{Request, parameter};
use super::response::{Head, Refusal, content_type, disposition, etag};
use super::settings::Settings;
use crate::cache::Cache;
use crate::link::{Link, LinkError};
use crate::source::{FetchError, Media, MediaReader, Source};
use mtrelay_core::sys::clock;
use std::cell::Cell;
use std::io;
use std::rc::Rc;

/// Media of a source over HTTP.
pub(crate) struct Gateway<S: Source> {
    source: Rc<S>,
    cache: Rc<Cache>,
    pub(super) settings: Settings,
    pub(super) streams: Cell<usize>,
    pub(super) remuxes: Cell<usize>,
}

/// One of a limited number of slots. Dropping it frees the slot.
pub(super) struct Slot<'a>(&'a Cell<usize>);

impl<'a> Slot<'a> {
    /// A slot, if fewer than `max` are `taken`.
    pub(super) fn take(taken: &'a Cell<usize>, max: usize) -> Option<Slot<'a>> {
        (taken.get() < max).then(|| {
            taken.set(taken.get() + 1);
            Slot(taken)
        })
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl<S: Source> Gateway<S> {
    /// A gateway to a source.
    pub(crate) fn new(source: Rc<S>, cache: Rc<Cache>, settings: Settings) -> Rc<Gateway<S>> {
        Rc::new(Gateway {
            source,
            cache,
            settings,
            streams: Cell::new(0),
            remuxes: Cell::new(0),
        })
    }

    /// The medium that a request names.
    pub(super) async fn locate(
        &self,
        peer: &mut Peer<'_>,
        request: &Request,
        outcome: &mut Outcome,
    ) -> Result<Media, Interrupt> {
        let path = self.admit(request)?;
        if path.is_empty() {
            outcome.target = String::from("/");
            let text = concat!("mtfetch ", env!("CARGO_PKG_VERSION"), ": /t.me/NAME/NUMBER");
            return Err(Refusal::new(200, text).into());
        }
        let link: Link = format!("{path}?{}", request.query)
            .parse()
            .map_err(|error: LinkError| {
                let status = if matches!(error, LinkError::NotTelegram(_)) {
                    404
                } else {
                    400
                };
                Refusal::new(status, error.to_string())
            })?;
        outcome.target = link.to_string();
        let found = peer.wait(self.find(&link)).await?.map_err(Refusal::from)?;
        let linked = link.comment.unwrap_or(link.message);
        let chosen = match parameter(&request.query, "n") {
            None => found
                .iter()
                .find(|media| media.origin.message == linked)
                .or(found.first()),
            Some(n) => n.parse().ok().and_then(|n: usize| found.get(n.checked_sub(1)?)),
        };
        let count = found.len();
        chosen
            .cloned()
            .ok_or_else(|| Refusal::new(404, format!("the message has {count} media")).into())
    }

    /// Checks the token, or without one the Host header. Returns the path without the token.
    fn admit<'a>(&self, request: &'a Request) -> Result<&'a str, Refusal> {
        let path = request.path.strip_prefix('/').unwrap_or(&request.path);
        let Some(token) = &self.settings.token else {
            let host = request.host.as_deref().unwrap_or("localhost");
            return if mtrelay_core::host::names_this_machine(host.as_bytes()) {
                Ok(path)
            } else {
                Err(Refusal::new(
                    403,
                    "without a token only an IP address or localhost is answered",
                ))
            };
        };
        if parameter(&request.query, "token").is_some_and(|given| is_equal(given, token)) {
            return Ok(path);
        }
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        if is_equal(first, token) {
            return Ok(rest);
        }
        Err(Refusal::new(
            403,
            "the URL needs the token: /TOKEN/t.me/NAME/NUMBER",
        ))
    }

    async fn find(&self, link: &Link) -> Result<Vec<Media>, FetchError> {
        if let Some(known) = self.cache.find(link).await {
            return Ok(known);
        }
        let found = self.source.find(link).await?;
        self.cache.insert(link, &found).await;
        Ok(found)
    }

    /// Sends a medium, or the ranges of it that the request asks for.
    pub(super) async fn send_media(
        &self,
        peer: &mut Peer<'_>,
        request: &Request,
        media: &Media,
        outcome: &mut Outcome,
    ) -> Result<(), Interrupt> {
        let tag = etag(media);
        let size = media.size;
        let plan = plan(request, &tag, size);
        outcome.status = match &plan {
            Plan::Whole => 200,
            Plan::Range(_) | Plan::Ranges(_) => 206,
            Plan::NotModified => 304,
            Plan::PreconditionFailed => return Err(Refusal::new(412, "").into()),
            Plan::Unsatisfiable => 416,
        };
        let mut head = Head::new(outcome.status, clock::unix_now());
        head.add("ETag", &tag);
        head.add("Accept-Ranges", "bytes");
        head.add("Cache-Control", "private, no-cache");
        let content_type = content_type(media);
        let parts = match plan {
            Plan::Ranges(ranges) => {
                let parts = Parts::multiple(ranges, content_type, size);
                head.add(
                    "Content-Type",
                    format_args!("multipart/byteranges; boundary={}", parts.boundary),
                );
                head.add("Content-Length", parts.len());
                parts
            }
            Plan::Range(range) => {
                head.add("Content-Type", content_type);
                head.add("Content-Range", content_range(&range, size));
                head.add("Content-Length", range.end - range.start);
                Parts::single(range)
            }
            Plan::Whole => {
                head.add("Content-Type", content_type);
                head.add("Content-Length", size);
                Parts::single(0..size)
            }
            Plan::NotModified => return Ok(peer.send(&head.finish(request.keep_alive)).await?),
            Plan::PreconditionFailed | Plan::Unsatisfiable => {
                head.add("Content-Range", format_args!("bytes */{size}"));
                head.add("Content-Length", 0);
                return Ok(peer.send(&head.finish(request.keep_alive)).await?);
            }
        };
        head.add(
            "Content-Disposition",
            disposition(media, parameter(&request.query, "download").is_some()),
        );
        head.add("X-Content-Type-Options", "nosniff");
        let head = head.finish(request.keep_alive);
        if request.head_only {
            return Ok(peer.send(&head).await?);
        }
        self.send_parts(peer, media, head, parts, outcome).await
    }

    /// Sends the head and the body. The head waits for the first bytes of the medium, so that a failure before them still gets a
    /// status of its own.
    async fn send_parts(
        &self,
        peer: &mut Peer<'_>,
        media: &Media,
        head: Vec<u8>,
        parts: Parts,
        outcome: &mut Outcome,
    ) -> Result<(), Interrupt> {
        let mut head = Some(head);
        for (title, range) in &parts.parts {
            let mut left = range.end - range.start;
            let mut reader = (left > 0).then(|| self.source.open(media, range.clone()));
            let mut before = title.clone().into_bytes();
            while let Some(reader) = reader.as_mut().filter(|_| left > 0) {
                let next = peer.wait(reader.next()).await?;
                let mut piece = match (next, &head) {
                    (Ok(Some(piece)), _) if piece.len() as u64 <= left => piece,
                    (Err(error), Some(_)) => return Err(Refusal::from(error).into()),
                    (Err(error), None) => return Err(io::Error::other(error).into()),
                    (Ok(_), _) => return Err(io::Error::other("the medium has another length").into()),
                };
                left -= piece.len() as u64;
                outcome.bytes += piece.len() as u64;
                if let Some(head) = head.take() {
                    before.splice(..0, head);
                }
                if !before.is_empty() {
                    before.append(&mut piece);
                    std::mem::swap(&mut piece, &mut before);
                    before = Vec::new();
                }
                peer.send(&piece).await?;
            }
        }
        if let Some(head) = head {
            peer.send(&head).await?;
        }
        Ok(peer.send(parts.end.as_bytes()).await?)
    }
}

/// Compares in a time that depends on the lengths alone.
fn is_equal(a: &str, b: &str) -> bool {
    let differ = a
        .bytes()
        .zip(b.bytes())
        .fold(0, |differ, (a, b)| differ | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differ) == 0
}
