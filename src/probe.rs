//! Network test for `check --net` and the ubus method `check`: does each data centre answer, is the clock set, is the front
//! site reachable?
//!
//! A data centre works if it answers `req_pq_multi` (see [`req_pq`]). The clock and the front are reported and are never a
//! failure.
//!
//! Promises: all addresses are tested at the same time, each once, and a test takes at most 10 s.

mod address;
mod front;
mod report;
mod req_pq;
mod time_limit;

use address::test_address;
use front::test_front;
use mtrelay_core::dc::{DcId, Table};
use mtrelay_core::dial::DialOptions;
use mtrelay_core::reactor;
use mtrelay_core::sys::clock;
pub(crate) use report::{DcReport, ProbeReport};
use smol::future::{self, FutureExt as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;

/// Lowest id of a test server.
const MIN_TEST_DC_ID: i16 = 10_000;

/// Tests the table's data centres and the `front` (host and port), all at the same time.
#[must_use]
pub(crate) fn run(table: &Table, options: &DialOptions, front: Option<&str>) -> ProbeReport {
    let built_in = Table::built_in();
    let test_server = |id: DcId, addresses: &[SocketAddr]| {
        id.main().raw() >= MIN_TEST_DC_ID && built_in.lookup(id) == Some(addresses)
    };
    let tried = table.iter().filter(|(id, own)| !test_server(*id, own));
    reactor::block_on(async {
        let dcs = all(tried.map(|(id, addresses)| dc(id, addresses, options)));
        let (dcs, fronts) = future::zip(dcs, all(front.into_iter().map(test_front))).await;
        ProbeReport {
            dcs,
            clock_synchronised: clock::is_synchronised(),
            front: fronts.into_iter().next(),
        }
    })
    .expect("the system has descriptors for a reactor")
}

/// Tests every address of one data centre, all at the same time.
pub(crate) async fn dc(id: DcId, addresses: &[SocketAddr], options: &DialOptions) -> DcReport {
    let addresses = addresses
        .iter()
        .map(|&address| test_address(id, address, options));
    DcReport {
        id,
        addresses: all(addresses).await,
    }
}

/// Runs the futures concurrently and returns their outputs in order. Each wake-up polls every future, which is cheap for dozens.
fn all<'a, T: 'a>(
    futures: impl Iterator<Item = impl Future<Output = T> + 'a>,
) -> impl Future<Output = Vec<T>> {
    let mut futures: Vec<Pin<Box<dyn Future<Output = T> + 'a>>> =
        futures.map(|future| future.boxed_local()).collect();
    let mut outcomes: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    future::poll_fn(move |context| {
        for (future, outcome) in futures.iter_mut().zip(&mut outcomes) {
            if outcome.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                *outcome = Some(value);
            }
        }
        if outcomes.iter().any(Option::is_none) {
            return Poll::Pending;
        }
        Poll::Ready(outcomes.drain(..).flatten().collect())
    })
}
