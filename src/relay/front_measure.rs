//! Measuring the front site's flight: the length of the encrypted records that follow its ServerHello.
//!
//! Our own answers to authenticated clients carry random bytes of that length, so that they look like the site's certificate flight.

use crate::relay::front_site::FrontSite;
use mtrelay_core::reactor::{Async, Interest, Timer};
use mtrelay_core::sys::random;
use smol::future::FutureExt as _;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::rc::Weak;
use std::time::Duration;
use wire::faketls::flight::{self, Flight};

/// Delay of the first measurement after a start, when the router has other work.
const INITIAL_DELAY: Duration = Duration::from_secs(30);
/// TLS handshakes of one measurement: the length of a signature differs by a few bytes between them.
const HANDSHAKES: usize = 3;
/// Silence after which the site's flight is complete.
const FLIGHT_PAUSE: Duration = Duration::from_secs(1);
/// Time for one handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Measures the flight at every interval, for as long as the configuration has this site.
pub async fn keep_measured(site: Weak<FrontSite>) {
    let Some(interval) = site.upgrade().and_then(|site| site.site.measure) else {
        return;
    };
    let mut pause = interval.min(INITIAL_DELAY);
    loop {
        // One to two intervals, at random: the site's operator sees no regular pattern.
        Timer::after(pause + pause * random::below(256) as u32 / 256).await;
        let Some(site) = site.upgrade() else { return };
        if let Some((shortest, longest)) = measure(&site).await {
            log::debug!("front: a flight of {shortest} to {longest} bytes");
            site.set_flight(shortest, longest);
        }
        pause = interval;
    }
}

async fn measure(site: &FrontSite) -> Option<(usize, usize)> {
    let mut measured: Option<(usize, usize)> = None;
    for _ in 0..HANDSHAKES {
        let connection = site.connect().await?;
        let hello = flight::client_hello(site.site.server_name.as_deref(), &mut random::fill);
        let timeout = async {
            Timer::after(HANDSHAKE_TIMEOUT).await;
            Ok(None)
        };
        let len = handshake(&connection, &hello).or(timeout).await.ok()??;
        let (shortest, longest) = measured.unwrap_or((len, len));
        measured = Some((shortest.min(len), longest.max(len)));
    }
    measured
}

/// Sends a ClientHello and counts the bytes of the answer until the site falls silent. `None`: the site has closed, so it sent no flight.
///
/// # Errors
/// When the connection fails.
async fn handshake(site: &Async<TcpStream>, mut hello: &[u8]) -> io::Result<Option<usize>> {
    while !hello.is_empty() {
        let len = site
            .try_io(Interest::Write, |mut socket| socket.write(hello))
            .await?;
        hello = &hello[len..];
    }
    let mut flight = Flight::default();
    loop {
        let received = site.try_io(Interest::Read, |mut socket| {
            let mut piece = [0; 2048];
            let len = socket.read(&mut piece)?;
            flight.handle_input(&piece[..len]);
            Ok(len)
        });
        let silence = async {
            Timer::after(FLIGHT_PAUSE).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        match received.or(silence).await {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(flight.encrypted_len()),
            Err(error) => return Err(error),
        }
    }
}
