//! Both directions of a session, or of a front connection, until both have ended or one has ended the whole.
//!
//! A state machine polled by hand: an idle session consists of it, and nested futures would each store their inner future once more.

use crate::relay::linger::{CloseMode, Ending};
use crate::relay::live_sessions::SessionHandle;
use crate::relay::pump::{Direction, Pump, PumpEnd, Transform};
use crate::relay::stream;
use mtrelay_core::close::CloseReason;
use mtrelay_core::reactor::{Async, Interest};
use std::future::Future;
use std::io::{self, ErrorKind, Read as _};
use std::net::TcpStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Writes what the client has sent already. Its result is the transformation of the bytes that follow.
pub(super) type FirstBytes<'a> = Pin<Box<dyn Future<Output = io::Result<Transform>> + 'a>>;

/// Both directions. Poll it until it is ready.
pub(super) struct Duplex<'a> {
    client: &'a Async<TcpStream>,
    dc: &'a Async<TcpStream>,
    handle: &'a SessionHandle,
    up: Up<'a>,
    down: Option<Pump<'a>>,
    /// The first cause of an end.
    reason: Option<CloseReason>,
    resets: Resets,
    /// How the client's connection is to be closed. `None`: its FIN is sent already, or it failed.
    client_close: Option<CloseMode>,
    /// How the DC's connection is to be closed. `None`: its FIN is sent already, or it failed.
    dc_close: Option<CloseMode>,
}

/// Which failed writes to the DC, or the front site, reset the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resets {
    /// Those to a DC that was reset. One to a DC that had sent FIN before is an orderly end.
    OnlyFresh,
    /// Also those to a site that had sent FIN before: its own visitors see its RST then.
    AlwaysTold,
}

enum Up<'a> {
    First(FirstBytes<'a>, Option<Direction<'a>>),
    Pumping(Pump<'a>),
    /// Writing to the DC has failed. The client's bytes are discarded, so that it is not blocked while the DC's last bytes pass.
    Discarding,
    Over,
}

/// One direction has ended the whole.
struct Over;

impl<'a> Duplex<'a> {
    /// Both directions before their first byte. `first` writes what the client has sent already and gives `up` its transformation.
    #[must_use]
    pub(super) fn new(
        first: FirstBytes<'a>,
        up: Direction<'a>,
        down: Direction<'a>,
        resets: Resets,
    ) -> Duplex<'a> {
        Duplex {
            client: up.from,
            dc: up.to,
            handle: up.handle,
            up: Up::First(first, Some(up)),
            down: Some(Pump::new(down).watching_receiver()),
            reason: None,
            resets,
            client_close: None,
            dc_close: None,
        }
    }

    /// Moves bytes until both directions have ended, one of them has ended the whole, or the session is ended through its handle.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ending> {
        self.advance(context).map(|()| Ending {
            reason: self.reason.unwrap_or(CloseReason::Error),
            client: self.client_close,
            dc: self.dc_close,
        })
    }

    fn advance(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.poll_up(context).is_err() || self.poll_down(context).is_err() {
            return Poll::Ready(());
        }
        if let (Up::Discarding, None) = (&self.up, &self.down) {
            self.up = Up::Over;
        }
        if let (Up::Over, None) = (&self.up, &self.down) {
            return Poll::Ready(());
        }
        self.handle.poll_ended(context).map(|reason| self.note(reason))
    }

    fn poll_up(&mut self, context: &mut Context<'_>) -> Result<(), Over> {
        loop {
            let end = match &mut self.up {
                Up::First(first, direction) => match first.as_mut().poll(context) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(Err(error)) => PumpEnd::WriteFailed(error),
                    Poll::Ready(Ok(transform)) => {
                        // `Some` until `first` is ready, which happens once.
                        if let Some(direction) = direction.take() {
                            self.up = Up::Pumping(Pump::new(Direction {
                                transform,
                                ..direction
                            }));
                        }
                        continue;
                    }
                },
                Up::Pumping(pump) => match pump.poll(context) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(end) => end,
                },
                Up::Discarding => {
                    if discard(self.client, context).is_ready() {
                        self.up = Up::Over;
                    }
                    return Ok(());
                }
                Up::Over => return Ok(()),
            };
            self.up_ended(end)?;
        }
    }

    fn up_ended(&mut self, end: PumpEnd) -> Result<(), Over> {
        self.up = Up::Over;
        match end {
            PumpEnd::Finished => {
                self.note(CloseReason::ClientClosed);
                // When the other direction has ended as well, closing the connection sends the FIN.
                if self.down.is_some() {
                    finish(self.dc, self.dc_close);
                }
            }
            PumpEnd::ReadFailed(error) => {
                self.note(CloseReason::of_client_error(&error));
                self.dc_close = Some(CloseMode::Reset);
                return Err(Over);
            }
            PumpEnd::BadRecord => {
                log::debug!("client={}: not a TLS record", self.handle.client);
                self.note(CloseReason::Error);
                self.client_close = Some(CloseMode::Fin);
                return Err(Over);
            }
            PumpEnd::WriteFailed(error) => {
                // What the DC has sent before must still reach the client.
                self.note(CloseReason::of_dc_error(&error));
                let had_closed = self.down.is_none();
                self.client_close = Some(match self.resets {
                    Resets::AlwaysTold if had_closed => CloseMode::Reset,
                    _ => close_mode_after(&error),
                });
                self.up = Up::Discarding;
            }
        }
        self.handle.half_closed();
        Ok(())
    }

    fn poll_down(&mut self, context: &mut Context<'_>) -> Result<(), Over> {
        let Some(pump) = &mut self.down else { return Ok(()) };
        let Poll::Ready(end) = pump.poll(context) else {
            return Ok(());
        };
        self.down = None;
        match end {
            PumpEnd::Finished => {
                self.note(CloseReason::DcClosed);
                if !matches!(self.up, Up::Over) {
                    finish(self.client, self.client_close);
                }
            }
            PumpEnd::ReadFailed(error) => {
                self.note(CloseReason::of_dc_error(&error));
                self.client_close = Some(CloseMode::Reset);
                return Err(Over);
            }
            PumpEnd::BadRecord => return Err(Over),
            PumpEnd::WriteFailed(error) => {
                // What the client has sent before must still reach the DC.
                self.note(CloseReason::of_client_error(&error));
                self.dc_close = Some(close_mode_after(&error));
            }
        }
        self.handle.half_closed();
        Ok(())
    }

    fn note(&mut self, reason: CloseReason) {
        self.reason.get_or_insert(reason);
    }
}

/// Passes a FIN on, unless the receiver is to be reset: when a write has met the sender's reset, the kernel reports it once, and the
/// read that follows sees an orderly end.
fn finish(receiver: &Async<TcpStream>, mode: Option<CloseMode>) {
    if mode != Some(CloseMode::Reset) {
        stream::finish(receiver);
    }
}

/// How the other side is closed when writing to this one has failed. A peer that had closed before answers with RST as well, and then
/// the kernel reports EPIPE.
fn close_mode_after(error: &io::Error) -> CloseMode {
    if error.kind() == ErrorKind::BrokenPipe {
        CloseMode::Fin
    } else {
        CloseMode::Reset
    }
}

/// Reads and discards; ready at the end of the stream or an error.
fn discard(from: &Async<TcpStream>, context: &mut Context<'_>) -> Poll<()> {
    loop {
        match ready!(from.poll_io(Interest::Read, context, |mut from| from.read(&mut [0; 4096]))) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Poll::Ready(()),
        }
    }
}
