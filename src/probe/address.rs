//! One DC address: connects, and asks for an MTProto answer.

use super::req_pq::{is_res_pq, req_pq_multi};
use super::time_limit::within;
use crate::metrics::Emit;
use mtrelay_core::close::ConnectFailure;
use mtrelay_core::dc::DcId;
use mtrelay_core::dial::{self, DialOptions};
use mtrelay_core::reactor::Async;
use mtrelay_core::sys::{clock, random, socket};
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use wire::cipher::Stream;
use wire::obfuscated2::{DcInit, Tag};

/// Time limit of the answer, from the connection on.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// Time limit of connecting if the configuration has none.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Upper bound of a configured time limit of connecting. With [`ANSWER_TIMEOUT`] a test ends within 10 s.
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(6);
/// Length limit of an answer's frame in bytes, far above the length of `resPQ`.
const MAX_FRAME_LEN: usize = 4096;

/// The result of testing one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddressReport {
    /// The address.
    pub address: SocketAddr,
    /// Time that connecting took, if it connected.
    pub connect: Option<Duration>,
    /// Time from the connection to the answer, if the answer was valid.
    pub answer: Option<Duration>,
    /// Why the address does not work: a name of [`ConnectFailure`], `silent`, `closed` or `bad_answer`.
    pub error: Option<&'static str>,
    /// A local error that prevents connections (an egress option, no descriptor).
    pub own_error: Option<String>,
    /// The configuration allows sessions to use this address.
    pub usable: bool,
}

impl AddressReport {
    /// Whether sessions can use the address.
    #[must_use]
    pub(crate) fn works(&self) -> bool {
        self.usable && self.answer.is_some()
    }

    pub(super) fn family(&self) -> &'static str {
        if self.address.is_ipv4() { "IPv4" } else { "IPv6" }
    }

    /// Writes the report as a table.
    pub(super) fn emit(&self, out: &mut dyn Emit) {
        let ms = |out: &mut dyn Emit, name: &str, time: Option<Duration>| match time {
            Some(time) => out.int(name, time.as_millis() as i64),
            None => out.null(name),
        };
        out.table("");
        out.str("address", &self.address.to_string());
        out.str("family", if self.address.is_ipv4() { "ipv4" } else { "ipv6" });
        ms(out, "connect_ms", self.connect);
        ms(out, "answer_ms", self.answer);
        match self.error {
            Some(error) => out.str("error", error),
            None => out.null("error"),
        }
        out.end();
    }
}

/// Tests one address.
pub(super) async fn test_address(id: DcId, address: SocketAddr, options: &DialOptions) -> AddressReport {
    let mut report = AddressReport {
        address,
        connect: None,
        answer: None,
        error: None,
        own_error: None,
        usable: dial::allowed(address, options.prefer_ipv6),
    };
    let begun = clock::now();
    let timeout = options
        .connect_timeout
        .unwrap_or(DEFAULT_CONNECT_TIMEOUT)
        .min(MAX_CONNECT_TIMEOUT);
    let opened = match socket::open(address, options.bind_interface.as_deref(), options.fwmark) {
        // The kernel has no such address family.
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            report.error = Some(ConnectFailure::Unreachable.name());
            return report;
        }
        Err(error) => {
            report.error = Some(ConnectFailure::Other.name());
            report.own_error = Some(error.to_string());
            return report;
        }
        Ok(opened) => opened,
    };
    let connection = match within(timeout, dial::connect(opened, address)).await {
        Ok(connection) => connection,
        Err(error) => {
            report.error = Some(dial::classify(&error).name());
            return report;
        }
    };
    let connected = clock::now();
    report.connect = Some(connected.saturating_duration_since(begun));
    socket::tune(connection.get_ref());
    match within(ANSWER_TIMEOUT, ask(connection, id)).await {
        Ok(()) => report.answer = Some(clock::now().saturating_duration_since(connected)),
        Err(error) => {
            report.error = Some(match error.kind() {
                ErrorKind::TimedOut => "silent",
                ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => "closed",
                ErrorKind::InvalidData => "bad_answer",
                _ => dial::classify(&error).name(),
            });
        }
    }
    report
}

/// Sends the obfuscated2 header and `req_pq_multi`, and reads the answer.
///
/// # Errors
/// As the connection, and `InvalidData` if the answer is not a `resPQ`.
async fn ask(connection: Async<TcpStream>, id: DcId) -> io::Result<()> {
    let mut nonce = [0; 16];
    random::fill(&mut nonce);
    let mut init = DcInit::new(Tag::Intermediate, id.raw(), &mut random::fill);
    let mut request = req_pq_multi(clock::unix_now(), &nonce);
    init.up.apply(&mut request);
    let mut opening = init.header.to_vec();
    opening.extend_from_slice(&request);
    let mut connection = &connection;
    connection.write_all(&opening).await?;

    let mut down = Stream::new(&init.down);
    let mut length = [0; 4];
    connection.read_exact(&mut length).await?;
    down.apply(&mut length);
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME_LEN {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    connection.read_exact(&mut message).await?;
    down.apply(&mut message);
    if is_res_pq(&message, &nonce) {
        Ok(())
    } else {
        Err(ErrorKind::InvalidData.into())
    }
}
