//! Does the network let the relay work? Every address of every data centre is tried for real, each on its own.
//!
//! Read <https://core.telegram.org/mtproto/auth_key> up to `resPQ` first: whoever answers `req_pq_multi` with our nonce
//! speaks MTProto, and no key or account is needed to ask. `dcs` is the whole of it; the front and the clock are told
//! beside it and are never a failure.
//!
//! Promises: all addresses are tried at once, each once, and a try takes at most 10 s.

use crate::stats::Emit;
use mtrelay_core::close::ConnectFailure;
use mtrelay_core::dc::{DcId, Table};
use mtrelay_core::dial::{self, DialOptions};
use mtrelay_core::reactor::{self, Async, Timer};
use mtrelay_core::sys::{clock, socket};
use smol::future::{self, FutureExt as _};
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use wire::cipher::Stream;
use wire::obfuscated2::{DcInit, Tag};

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// How long connecting may take if the owner says nothing; with the answer it must stay within 10 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(6);
/// How long the front may take altogether, and each of its addresses.
const FRONT_TIMEOUT: Duration = Duration::from_secs(9);
const FRONT_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The data centres without which Telegram does not work.
const MAIN_DCS: std::ops::RangeInclusive<i16> = 1..=5;
/// The test servers' numbers start behind this one.
const TEST_DCS: i16 = 10_000;

const REQ_PQ_MULTI: u32 = 0xbe7e_8ef1;
const RES_PQ: u32 = 0x0516_2463;
/// No answer to `req_pq_multi` is nearly as long.
const MAX_FRAME_LEN: usize = 4096;

/// What became of trying one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Where it was.
    pub address: SocketAddr,
    /// How long connecting took, if it connected.
    pub connect: Option<Duration>,
    /// How long the answer took from the connection on, if it was the right one.
    pub answer: Option<Duration>,
    /// Why it does not work: a name of [`ConnectFailure`], `silent`, `closed` or `bad_answer`.
    pub error: Option<&'static str>,
    /// What our own machine has against connecting at all (the owner's options, no descriptor).
    pub own_error: Option<String>,
    /// The owner lets sessions use this address.
    pub usable: bool,
}

/// What became of one data centre.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DcReport {
    /// Its id.
    pub id: DcId,
    /// Its addresses, in the table's order.
    pub addresses: Vec<Tried>,
}

/// What became of the front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontReport {
    /// Host and port.
    pub address: String,
    /// Why strangers cannot be sent there.
    pub error: Option<String>,
}

/// All that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// One per id that has addresses of its own.
    pub dcs: Vec<DcReport>,
    /// The kernel holds its clock for synchronised.
    pub clock_synchronised: bool,
    /// The front, if there is one.
    pub front: Option<FrontReport>,
}

/// Tries everything at once: the table's data centres, and the `front` (host and port).
#[must_use]
pub fn run(table: &Table, options: &DialOptions, front: Option<&str>) -> Report {
    let built_in = Table::built_in();
    let test_server = |id: DcId, addresses: &[SocketAddr]| {
        id.main().raw() >= TEST_DCS && built_in.lookup(id) == Some(addresses)
    };
    let tried = table.iter().filter(|(id, own)| !test_server(*id, own));
    reactor::block_on(async {
        let dcs = all(tried.map(|(id, addresses)| dc(id, addresses, options)));
        let (dcs, fronts) = future::zip(dcs, all(front.into_iter().map(try_front))).await;
        Report {
            dcs,
            clock_synchronised: clock::is_synchronised(),
            front: fronts.into_iter().next(),
        }
    })
    .expect("the system has descriptors for a reactor")
}

/// Tries every address of one data centre, all at once.
pub async fn dc(id: DcId, addresses: &[SocketAddr], options: &DialOptions) -> DcReport {
    let addresses = addresses.iter().map(|&address| try_address(id, address, options));
    DcReport {
        id,
        addresses: all(addresses).await,
    }
}

/// Waits for all of them at once, and gives their outcomes in their order. Whichever wakes, all are looked at: they are dozens.
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

/// Connects to one address and asks.
async fn try_address(id: DcId, address: SocketAddr, options: &DialOptions) -> Tried {
    let mut tried = Tried {
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
        .unwrap_or(CONNECT_TIMEOUT)
        .min(MAX_CONNECT_TIMEOUT);
    let opened = match socket::open(address, options.bind_interface.as_deref(), options.fwmark) {
        // A kernel without this family.
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            tried.error = Some(ConnectFailure::Unreachable.name());
            return tried;
        }
        Err(error) => {
            tried.error = Some(ConnectFailure::Other.name());
            tried.own_error = Some(error.to_string());
            return tried;
        }
        Ok(opened) => opened,
    };
    let connection = match within(timeout, dial::connect(opened, address)).await {
        Ok(connection) => connection,
        Err(error) => {
            tried.error = Some(dial::classify(&error).name());
            return tried;
        }
    };
    let connected = clock::now();
    tried.connect = Some(connected.saturating_duration_since(begun));
    socket::tune(connection.get_ref());
    match within(ANSWER_TIMEOUT, ask(connection, id)).await {
        Ok(()) => tried.answer = Some(clock::now().saturating_duration_since(connected)),
        Err(error) => {
            tried.error = Some(match error.kind() {
                ErrorKind::TimedOut => "silent",
                ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => "closed",
                ErrorKind::InvalidData => "bad_answer",
                _ => dial::classify(&error).name(),
            });
        }
    }
    tried
}

/// Sends the header and `req_pq_multi`, and reads until it is answered. `InvalidData`: by something else than `resPQ`.
async fn ask(connection: Async<TcpStream>, id: DcId) -> io::Result<()> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    let mut random = Ok(());
    let mut init = DcInit::new(Tag::Intermediate, id.raw(), &mut |bytes| {
        if let Err(error) = getrandom::fill(bytes) {
            random = Err(error);
            // Zeros would be drawn again for ever.
            bytes.fill(1);
        }
    });
    random.map_err(io::Error::other)?;
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

/// The frame, in the intermediate transport: length, then an unencrypted message.
fn req_pq_multi(unix_time: u32, nonce: &[u8; 16]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(44);
    frame.extend_from_slice(&40_u32.to_le_bytes());
    frame.extend_from_slice(&[0; 8]);
    frame.extend_from_slice(&(u64::from(unix_time) << 32).to_le_bytes());
    frame.extend_from_slice(&20_u32.to_le_bytes());
    frame.extend_from_slice(&REQ_PQ_MULTI.to_le_bytes());
    frame.extend_from_slice(nonce);
    frame
}

fn is_res_pq(message: &[u8], nonce: &[u8; 16]) -> bool {
    let mut wanted = RES_PQ.to_le_bytes().to_vec();
    wanted.extend_from_slice(nonce);
    // Behind the key's id (zero), the message's id and its length.
    message.starts_with(&[0; 8]) && message.get(20..40) == Some(wanted.as_slice())
}

/// Whether the front's name resolves, and anything there accepts a connection.
async fn try_front(address: &str) -> FrontReport {
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

async fn within<T>(time: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = async {
        Timer::after(time).await;
        Err(ErrorKind::TimedOut.into())
    };
    future::or(work, late).boxed_local().await
}

impl Tried {
    /// Sessions can use it.
    #[must_use]
    pub fn works(&self) -> bool {
        self.usable && self.answer.is_some()
    }

    fn family(&self) -> &'static str {
        if self.address.is_ipv4() { "IPv4" } else { "IPv6" }
    }

    fn emit(&self, out: &mut dyn Emit) {
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

impl DcReport {
    /// Sessions can use at least one address.
    #[must_use]
    pub fn works(&self) -> bool {
        self.addresses.iter().any(Tried::works)
    }

    /// One sentence: how each address fares, and what that means.
    #[must_use]
    pub fn verdict(&self) -> String {
        let each: Vec<String> = self
            .addresses
            .iter()
            .map(|tried| match (tried.answer, tried.error) {
                (Some(answer), _) => format!("{} {} ms", tried.family(), answer.as_millis() as u64),
                (None, error) => format!(
                    "{} {}",
                    tried.family(),
                    error.unwrap_or_default().replace('_', " ")
                ),
            })
            .collect();
        let over = |ipv4: bool| {
            self.addresses
                .iter()
                .any(|tried| tried.works() && tried.address.is_ipv4() == ipv4)
        };
        let answers = self.addresses.iter().any(|tried| tried.answer.is_some());
        let means = match (over(true), over(false)) {
            (true, true) => "works over IPv4 and IPv6",
            (true, false) => "works over IPv4",
            (false, true) => "works over IPv6",
            (false, false) if answers => "answers only over IPv6, which prefer_ipv6 rules out",
            (false, false) => "does not answer",
        };
        format!("DC {}: {}: {means}", self.id, each.join(", "))
    }

    /// The fields `addresses` and `verdict`, into a table that is open.
    pub fn emit(&self, out: &mut dyn Emit) {
        out.array("addresses");
        for tried in &self.addresses {
            tried.emit(out);
        }
        out.end();
        out.str("verdict", &self.verdict());
    }
}

impl Report {
    /// Every main data centre of the table works.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let main = |dc: &&DcReport| MAIN_DCS.contains(&dc.id.raw());
        self.dcs.iter().filter(main).all(DcReport::works)
    }

    /// A line for people per thing tried.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.dcs.iter().map(DcReport::verdict).collect();
        if let Some(own) = self.own_error() {
            lines.push(format!("this machine cannot connect: {own}"));
        }
        lines.push(String::from(if self.clock_synchronised {
            "clock: synchronised"
        } else {
            "clock: not synchronised yet: hello times are not checked"
        }));
        if let Some(FrontReport { address, error }) = &self.front {
            lines.push(match error {
                None => format!("front: {address} answers"),
                Some(error) => format!("warning: front: {address} {error}"),
            });
        }
        lines
    }

    /// The same as data, into a table that is open.
    pub fn emit(&self, out: &mut dyn Emit) {
        out.array("dcs");
        for dc in &self.dcs {
            out.table("");
            out.int("id", dc.id.raw().into());
            dc.emit(out);
            out.end();
        }
        out.end();
        match self.own_error() {
            Some(own) => out.str("own_error", own),
            None => out.null("own_error"),
        }
        out.table("clock");
        out.bool("synchronised", self.clock_synchronised);
        out.end();
        match &self.front {
            None => out.null("front"),
            Some(FrontReport { address, error }) => {
                out.table("front");
                out.str("address", address);
                out.bool("answers", error.is_none());
                match error {
                    Some(error) => out.str("error", error),
                    None => out.null("error"),
                }
                out.end();
            }
        }
    }

    /// The first word of our own machine against connecting; it is usually the same for all addresses.
    fn own_error(&self) -> Option<&str> {
        let mut all = self.dcs.iter().flat_map(|dc| &dc.addresses);
        all.find_map(|tried| tried.own_error.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mtrelay_core::dial::PreferIpv6;

    fn tried(address: &str, result: Result<u64, &'static str>, prefer: PreferIpv6) -> Tried {
        let address = address.parse().unwrap();
        Tried {
            address,
            connect: None,
            answer: result.ok().map(Duration::from_millis),
            error: result.err(),
            own_error: None,
            usable: dial::allowed(address, prefer),
        }
    }

    #[test]
    fn a_verdict_is_one_plain_sentence() {
        let cases = [
            (
                Ok(41),
                Err("unreachable"),
                PreferIpv6::Auto,
                "DC 2: IPv4 41 ms, IPv6 unreachable: works over IPv4",
            ),
            (
                Ok(41),
                Ok(40),
                PreferIpv6::Auto,
                "DC 2: IPv4 41 ms, IPv6 40 ms: works over IPv4 and IPv6",
            ),
            (
                Err("silent"),
                Ok(40),
                PreferIpv6::Auto,
                "DC 2: IPv4 silent, IPv6 40 ms: works over IPv6",
            ),
            (
                Err("refused"),
                Err("bad_answer"),
                PreferIpv6::Auto,
                "DC 2: IPv4 refused, IPv6 bad answer: does not answer",
            ),
            (
                Err("refused"),
                Ok(40),
                PreferIpv6::Never,
                "DC 2: IPv4 refused, IPv6 40 ms: answers only over IPv6, which prefer_ipv6 rules out",
            ),
        ];
        for (ipv4, ipv6, prefer, verdict) in cases {
            let dc = DcReport {
                id: DcId::new(2).unwrap(),
                addresses: vec![
                    tried("192.0.2.1:443", ipv4, prefer),
                    tried("[2001:db8::1]:443", ipv6, prefer),
                ],
            };
            assert_eq!(dc.verdict(), verdict);
            assert_eq!(dc.works(), verdict.contains("works"));
        }
    }

    #[test]
    fn only_our_own_nonce_is_an_answer() {
        let nonce = [7; 16];
        let frame = req_pq_multi(1, &nonce);
        assert_eq!(frame.len(), 44);
        assert_eq!(frame[12..20], [0, 0, 0, 0, 1, 0, 0, 0]);
        let mut message = frame[4..].to_vec();
        assert!(!is_res_pq(&message, &nonce));
        message[20..24].copy_from_slice(&RES_PQ.to_le_bytes());
        assert!(is_res_pq(&message, &nonce));
        assert!(!is_res_pq(&message, &[8; 16]));
        assert!(!is_res_pq(&message[..39], &nonce));
        assert!(!is_res_pq(&(-404_i32).to_le_bytes(), &nonce));
    }
}
