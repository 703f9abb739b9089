//! The relaying of a session: both directions at once, until both have ended or one has ended it all.
//!
//! One state, polled by hand: an idle session carries it, and futures inside futures would each carry what the inner one
//! does once more.

use crate::relay::half::{self, Flow, Half, HalfEnd, Treatment};
use crate::relay::pulse::Pulse;
use crate::relay::settle::Farewell;
use crate::relay::{client_failed, dc_failed};
use mtrelay_core::close::CloseReason;
use mtrelay_core::reactor::Async;
use std::future::Future;
use std::io::{self, ErrorKind, Read as _};
use std::net::TcpStream;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What the client has said already, on its way to the DC; then how the rest is treated.
pub type Asking<'a> = Pin<Box<dyn Future<Output = io::Result<Treatment>> + 'a>>;

/// Both directions, and what they have found out so far.
pub struct Course<'a> {
    client: &'a Async<TcpStream>,
    dc: &'a Async<TcpStream>,
    pulse: &'a Pulse,
    up: Up<'a>,
    down: Option<Flow<'a>>,
    /// The first end of all: the session's.
    reason: Option<CloseReason>,
    /// What is still to be said to the client,
    client_farewell: Option<Farewell>,
    /// and to the DC. Nothing where both directions ended with FIN.
    dc_farewell: Option<Farewell>,
}

/// How the relaying of a session ended.
pub struct Relayed {
    /// The session's reason.
    pub reason: CloseReason,
    /// What is still to be said to the client,
    pub client: Option<Farewell>,
    /// and to the DC.
    pub dc: Option<Farewell>,
}

enum Up<'a> {
    Asking(Asking<'a>, Option<Half<'a>>),
    Flowing(Flow<'a>),
    /// The DC takes no more, and the client must not be stuck with bytes that nobody takes.
    Discarding,
    Over,
}

/// One half has ended the whole session.
struct Over;

impl<'a> Course<'a> {
    /// The halves before their first byte. `up` gets its treatment when `asking` is through.
    #[must_use]
    pub fn new(asking: Asking<'a>, up: Half<'a>, down: Half<'a>) -> Course<'a> {
        Course {
            client: up.from,
            dc: up.to,
            pulse: up.pulse,
            up: Up::Asking(asking, Some(up)),
            down: Some(Flow::new(down).clamping()),
            reason: None,
            client_farewell: None,
            dc_farewell: None,
        }
    }

    /// Moves bytes until both directions have ended, or one of them has ended the session, or somebody outside has.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Relayed> {
        self.advance(context).map(|()| Relayed {
            reason: self.reason.unwrap_or(CloseReason::Error),
            client: self.client_farewell,
            dc: self.dc_farewell,
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
        self.pulse.poll_ended(context).map(|reason| self.note(reason))
    }

    fn poll_up(&mut self, context: &mut Context<'_>) -> Result<(), Over> {
        loop {
            let end = match &mut self.up {
                Up::Asking(asking, half) => match asking.as_mut().poll(context) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(Err(error)) => HalfEnd::WriteFailed(error),
                    Poll::Ready(Ok(treatment)) => {
                        // It is there until this moment.
                        if let Some(half) = half.take() {
                            self.up = Up::Flowing(Flow::new(Half { treatment, ..half }));
                        }
                        continue;
                    }
                },
                Up::Flowing(flow) => match flow.poll(context) {
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

    fn up_ended(&mut self, end: HalfEnd) -> Result<(), Over> {
        self.up = Up::Over;
        match end {
            HalfEnd::Finished => {
                self.note(CloseReason::ClientClosed);
                // To the last one who listens, closing says the same.
                if self.down.is_some() {
                    finish(self.dc, self.dc_farewell);
                }
            }
            HalfEnd::ReadFailed(error) => {
                self.note(client_failed(&error));
                self.dc_farewell = Some(Farewell::Reset);
                return Err(Over);
            }
            HalfEnd::BadRecord => {
                log::debug!("client={} sends no TLS records", self.pulse.client);
                self.note(CloseReason::Error);
                self.client_farewell = Some(Farewell::Finish);
                return Err(Over);
            }
            HalfEnd::WriteFailed(error) => {
                // What the DC sent before must still reach the client.
                self.note(dc_failed(&error));
                self.client_farewell = Some(farewell_after(&error));
                self.up = Up::Discarding;
            }
        }
        self.pulse.half_closed();
        Ok(())
    }

    fn poll_down(&mut self, context: &mut Context<'_>) -> Result<(), Over> {
        let Some(flow) = &mut self.down else { return Ok(()) };
        let Poll::Ready(end) = flow.poll(context) else {
            return Ok(());
        };
        self.down = None;
        match end {
            HalfEnd::Finished => {
                self.note(CloseReason::DcClosed);
                if !matches!(self.up, Up::Over) {
                    finish(self.client, self.client_farewell);
                }
            }
            HalfEnd::ReadFailed(error) => {
                self.note(dc_failed(&error));
                self.client_farewell = Some(Farewell::Reset);
                return Err(Over);
            }
            HalfEnd::BadRecord => return Err(Over),
            HalfEnd::WriteFailed(error) => {
                // The client takes no more, but what it sent before must still reach the DC.
                self.note(client_failed(&error));
                self.dc_farewell = Some(farewell_after(&error));
            }
        }
        self.pulse.half_closed();
        Ok(())
    }

    fn note(&mut self, reason: CloseReason) {
        self.reason.get_or_insert(reason);
    }
}

/// Passes an end on. A reset is told only once: who met it in writing has taken the error, and the reader then sees what
/// looks like an orderly end.
fn finish(receiver: &Async<TcpStream>, farewell: Option<Farewell>) {
    if farewell != Some(Farewell::Reset) {
        half::finish(receiver);
    }
}

/// What the other side is told when writing to this one failed. A peer that had closed before answers with a reset too,
/// but then the kernel calls it a broken pipe.
fn farewell_after(error: &io::Error) -> Farewell {
    if error.kind() == ErrorKind::BrokenPipe {
        Farewell::Finish
    } else {
        Farewell::Reset
    }
}

/// Reads and throws away; ready when there will be no more.
fn discard(from: &Async<TcpStream>, context: &mut Context<'_>) -> Poll<()> {
    while from.may_read(context).is_ready() {
        match from.get_ref().read(&mut [0; 4096]) {
            Ok(1..) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => from.not_readable(),
            Ok(0) | Err(_) => return Poll::Ready(()),
        }
    }
    Poll::Pending
}
