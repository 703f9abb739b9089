//! The front site: whether unauthenticated clients can be connected to it.

use super::time_limit::within;
use mtrelay_core::dial;
use mtrelay_core::sys::socket;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

/// Time limit of the whole test.
const FRONT_TIMEOUT: Duration = Duration::from_secs(9);
/// Time limit of connecting to one address of the front site.
const FRONT_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The result of testing the front site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FrontReport {
    /// Host and port.
    pub address: String,
    /// Why no connection to it is possible.
    pub error: Option<String>,
}

/// Resolves the front's name and connects to its addresses until one accepts.
pub(super) async fn test_front(address: &str) -> FrontReport {
    let attempt = async {
        let addresses: Vec<SocketAddr> = smol::net::resolve(address)
            .await
            .map_err(|error| io::Error::other(format!("does not resolve ({error})")))?;
        let mut last = io::Error::other("has no address");
        for address in addresses {
            let connecting = async { dial::connect(socket::open(address, None, None)?, address).await };
            match within(FRONT_CONNECT_TIMEOUT, connecting).await {
                Ok(_) => return Ok(()),
                Err(error) => {
                    last = io::Error::other(format!("does not answer ({})", dial::classify(&error)));
                }
            }
        }
        Err(last)
    };
    let error = within(FRONT_TIMEOUT, attempt).await.err();
    FrontReport {
        address: address.to_owned(),
        error: error.map(|error| match error.kind() {
            ErrorKind::TimedOut => "does not answer (timeout)".to_owned(),
            _ => error.to_string(),
        }),
    }
}
