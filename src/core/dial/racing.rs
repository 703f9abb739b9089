//! Races with real sockets: what [`super::attempts`] decides is carried out here and logged.

use super::attempts::{Action, EndReason, NextDial, Race, RetrySchedule};
use super::connecting::{self, BeginError, OpenAttempt, classify, next_outcome};
use super::dialer::Dialer;
use super::health::{AddressFailure, AddressHealth, HealthState};
use super::options::DialOptions;
use super::outcome::{Connected, DialError, OnFailure};
use crate::reactor::{Async, Timer};
use crate::sys::{clock, random, socket};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

impl Dialer {
    /// Races in rounds until one is won or the schedule is exhausted.
    pub(super) async fn dial(
        &self,
        addresses: &[SocketAddr],
        schedule: &mut RetrySchedule,
        on_failure: &mut OnFailure<'_>,
    ) -> Result<Connected, DialError> {
        loop {
            match schedule.poll_next(addresses, random::u32()) {
                NextDial::Dial { after } if after.is_zero() => {}
                NextDial::Dial { after } => {
                    log::debug!(
                        "dial: every address was tried; again in {} ms",
                        after.as_millis() as u64
                    );
                    Timer::after(after).await;
                }
                NextDial::Refused => return Err(DialError::Refused),
                NextDial::Exhausted => return Err(DialError::Exhausted),
            }
            let tried = schedule.tried();
            let mut failed = |address, kind| {
                schedule.handle_failed(address, kind);
                on_failure(address, kind);
            };
            if let Some((connection, address)) = self.race(addresses, &tried, &mut failed).await {
                schedule.handle_connected(address);
                return Ok(Connected {
                    connection,
                    address,
                    ipv6_fallback: self.is_ipv6_fallback(address, addresses),
                    warm: false,
                });
            }
        }
    }

    /// Runs one race. `None`: no attempt connected.
    pub(super) async fn race(
        &self,
        addresses: &[SocketAddr],
        tried: &[SocketAddr],
        failed: &mut OnFailure<'_>,
    ) -> Option<(Async<TcpStream>, SocketAddr)> {
        let options = self.options();
        let begun = clock::now();
        let policy = Race::new(
            addresses,
            &self.health.borrow(),
            options.prefer_ipv6,
            tried,
            begun,
        );
        let mut race = RunningRace {
            dialer: self,
            race: policy.with_timeout(options.connect_timeout),
            options: &options,
            attempts: Vec::new(),
            begun,
            failed,
        };
        let mut timer = Timer::never();
        loop {
            match race.race.poll_action(clock::now()) {
                Action::Start(address) => race.start(address),
                Action::End(address, reason) => race.end(address, reason),
                Action::Done(winner) => return race.finish(winner, addresses.len()),
                Action::Wait(until) => {
                    match until {
                        Some(until) => timer.set_at(until),
                        None => timer = Timer::never(),
                    }
                    if let Some((at, outcome)) = next_outcome(&race.attempts, &mut timer).await {
                        race.handle_outcome(at, outcome);
                    }
                }
            }
        }
    }

    /// Opens a socket and begins to connect. Without a free descriptor the prewarmed connections are closed first.
    fn begin(&self, address: SocketAddr, options: &DialOptions) -> Result<Async<TcpStream>, BeginError> {
        let opened = match connecting::open(address, options) {
            Err(error) if socket::is_out_of_descriptors(&error) && self.drop_warm() => {
                connecting::open(address, options)
            }
            opened => opened,
        };
        let opened = opened.map_err(|error| {
            if !self.warned.replace(true) {
                log::warn!("no connection can be made: {error}");
            }
            BeginError::Local(error)
        })?;
        connecting::begin(opened, address)
    }

    pub(super) fn note_address_failure(&self, address: SocketAddr, failure: AddressFailure) {
        let now = clock::now();
        let mut health = self.health.borrow_mut();
        health.handle_failure(address, failure, now, random::u32());
        log::debug!("dial: {address}: {}", Described(health.report(address, now)));
    }

    /// Whether a connection to `address` is IPv4 although `addresses` has IPv6, because IPv6 is failing.
    pub(super) fn is_ipv6_fallback(&self, address: SocketAddr, addresses: &[SocketAddr]) -> bool {
        let (health, now) = (self.health.borrow(), clock::now());
        let is_failing = |address: &SocketAddr| health.state(*address, now) >= HealthState::Probation;
        let mut ipv6 = addresses.iter().filter(|address| address.is_ipv6());
        address.is_ipv4() && ipv6.any(is_failing)
    }
}

/// A race with its sockets.
struct RunningRace<'a, 'b> {
    dialer: &'a Dialer,
    race: Race,
    options: &'a DialOptions,
    attempts: Vec<OpenAttempt>,
    begun: Instant,
    failed: &'a mut OnFailure<'b>,
}

impl RunningRace<'_, '_> {
    /// Milliseconds since the race began.
    fn elapsed_ms(&self) -> u64 {
        clock::now().saturating_duration_since(self.begun).as_millis() as u64
    }

    fn start(&mut self, address: SocketAddr) {
        let health = self.dialer.report(address, clock::now());
        log::debug!(
            "dial: {address} begun at {} ms ({})",
            self.elapsed_ms(),
            Described(health)
        );
        match self.dialer.begin(address, self.options) {
            Ok(connection) => self.attempts.push(OpenAttempt { address, connection }),
            Err(error) => {
                let (error, is_remote) = match &error {
                    BeginError::Local(error) => (error, false),
                    BeginError::Remote(error) => (error, true),
                };
                self.race.handle_failed(address);
                self.note_failure(address, error, is_remote);
            }
        }
    }

    fn end(&mut self, address: SocketAddr, reason: EndReason) {
        self.attempts.retain(|attempt| attempt.address != address);
        match reason {
            EndReason::TimedOut => self.note_failure(address, &ErrorKind::TimedOut.into(), true),
            EndReason::Overtaken => {
                log::debug!("dial: {address} overtaken at {} ms", self.elapsed_ms());
                self.dialer
                    .note_address_failure(address, AddressFailure::Overtaken);
            }
            EndReason::Unneeded => log::trace!("dial: {address} not needed at {} ms", self.elapsed_ms()),
        }
    }

    fn handle_outcome(&mut self, at: usize, outcome: io::Result<()>) {
        let (now, address) = (clock::now(), self.attempts[at].address);
        match outcome {
            Ok(()) => {
                let rtt = self.race.handle_connected(address, now).unwrap_or_default();
                log::debug!(
                    "dial: {address} connected at {} ms ({} ms)",
                    self.elapsed_ms(),
                    rtt.as_millis() as u64
                );
                self.dialer
                    .health
                    .borrow_mut()
                    .handle_connected(address, rtt, now);
            }
            Err(error) => {
                self.attempts.remove(at);
                self.race.handle_failed(address);
                self.note_failure(address, &error, true);
            }
        }
    }

    fn note_failure(&mut self, address: SocketAddr, error: &io::Error, is_remote: bool) {
        let kind = classify(error);
        log::debug!(
            "dial: {address} failed at {} ms: {kind} ({error})",
            self.elapsed_ms()
        );
        if is_remote {
            self.dialer
                .note_address_failure(address, AddressFailure::Connect(kind));
        }
        (self.failed)(address, kind);
    }

    fn finish(self, winner: Option<SocketAddr>, count: usize) -> Option<(Async<TcpStream>, SocketAddr)> {
        let at = self.elapsed_ms();
        let Some(winner) = winner else {
            log::debug!("dial: none of {count} connected in {at} ms");
            return None;
        };
        let mut attempts = self.attempts.into_iter();
        let won = attempts.find(|attempt| attempt.address == winner)?;
        socket::tune(won.connection.get_ref());
        log::debug!("dial: {winner} chosen at {at} ms: the first to connect");
        Some((won.connection, winner))
    }
}

/// An address's health in words, for the log.
struct Described(AddressHealth);

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(health) = self;
        f.write_str(match health.state {
            HealthState::Healthy => "healthy",
            HealthState::Untried => "untried",
            HealthState::Probation => "cool-down over",
            HealthState::Cooling => "cooling",
        })?;
        if let Some(rtt) = health.rtt {
            write!(f, ", {} ms", rtt.as_millis() as u64)?;
        }
        if let Some(retry_in) = health.retry_in {
            write!(f, " for {} ms", retry_in.as_millis() as u64)?;
        }
        Ok(())
    }
}
