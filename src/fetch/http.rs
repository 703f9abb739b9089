//! `mtfetch serve`: media over HTTP/1.1, for players on the LAN.
//!
//! Read first: RFC 9110 §§8, 13 and 14, and RFC 9112. The head of a request decides the whole response (`plan.rs`). Then bytes go
//! from a [`crate::source::MediaReader`] to the socket; the reader is asked for more only after the socket has taken them.
//!
//! Promises: a head has at most 8 KiB; there are at most [`Settings::connections`] connections, whose idle ones are closed, and at
//! most [`Settings::streams`] media in transfer; a client that leaves ends its downloads, one that stops reading pauses them.
//! Without a token the Host header must be an IP address or `localhost`: a web page cannot read media through a name that it
//! lets point here (DNS rebinding).

mod gateway;
mod multipart;
mod outcome;
mod peer;
mod plan;
mod range;
mod remux;
mod request;
mod response;
mod server;
mod settings;
#[cfg(test)]
mod tests;

use crate::source::Source;
pub(crate) use gateway::Gateway;
use gateway::Slot;
use mtrelay_core::reactor::Async;
use outcome::Outcome;
use peer::Peer;
use request::{Request, parameter};
use response::Refusal;
use server::{Respond, Response};
pub(crate) use settings::Settings;
use std::net::TcpListener;
use std::rc::Rc;

/// Serves these listeners until the future is dropped, which closes every connection.
pub(crate) async fn serve<S: Source>(gateway: Rc<Gateway<S>>, listeners: Vec<Async<TcpListener>>) {
    server::listen(Rc::new(AnyLink(gateway)), listeners).await;
}

/// Answers requests for any link.
struct AnyLink<S: Source>(Rc<Gateway<S>>);

impl<S: Source> Respond for AnyLink<S> {
    fn settings(&self) -> &Settings {
        &self.0.settings
    }

    fn respond<'a>(
        &'a self,
        peer: &'a mut Peer<'_>,
        request: &'a Request,
        outcome: &'a mut Outcome,
    ) -> Response<'a> {
        Box::pin(async move {
            let gateway = &self.0;
            let media = gateway.locate(peer, request, outcome).await?;
            let _slot = Slot::take(&gateway.streams, gateway.settings.streams)
                .ok_or_else(|| Refusal::later(2, "too many media are in transfer"))?;
            match parameter(&request.query, "remux") {
                None => gateway.send_media(peer, request, &media, outcome).await,
                Some("mp4") => Box::pin(remux::send(gateway, peer, request, media, outcome)).await,
                Some(_) => Err(Refusal::new(400, "the only remux is remux=mp4").into()),
            }
        })
    }
}
