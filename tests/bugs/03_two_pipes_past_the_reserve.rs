//! The last quarter of the pipes is for sessions that drain. A fake-TLS session takes two pipes at once, but was asked
//! whether its reader had room in the light of one: with half of the pipes held by stalled readers, the next reader that
//! stalled took the second half whole, and everybody else copied until one of them read on.

use crate::{SECRET, start};
use mtrelay_test_support::client::End;
use mtrelay_test_support::rng::Stream;
use mtrelay_test_support::{Client, FakeDc, Mode, RelayConfig, Script, Then};

#[test]
fn stalled_readers_behind_tls_records_leave_the_last_pipes_as_well() {
    const ALL: u64 = 32 << 20;
    const READ: u64 = 2 << 20;
    let dc = FakeDc::start(Script::source(3, ALL, Then::Close));
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()).option("pipes", 4));
    let stalled: Vec<_> = (0..8)
        .map(|_| {
            let mut client = Client::connect(Mode::ee("example.org"), relay.addr(), SECRET, 2);
            let mut stream = Stream::new(3);
            client.reader.expect_stream(&mut stream, READ);
            (client, stream)
        })
        .collect();
    relay.wait_still("bytes_down");
    relay.wait_stat("pipes_in_use", |pipes| pipes <= 3);
    for (mut client, mut stream) in stalled {
        assert_eq!(client.reader.stream_to_end(&mut stream), (ALL - READ, End::Eof));
    }
}
