//! A client that had ended its upload lost the tail of its download when the DC reset the connection: the relay waited
//! for the client to acknowledge everything *or to finish*, took the finished upload for the latter, and the reset that it
//! passed on threw away what still stood in its own send buffer.

use crate::{SECRET, start};
use mtrelay_test_support::client::End;
use mtrelay_test_support::fake_dc::Step;
use mtrelay_test_support::rng::Stream;
use mtrelay_test_support::{Client, FakeDc, Mode, Payload, RelayConfig, Script};

#[test]
fn a_reset_does_not_overtake_the_tail() {
    // More than the client's receive buffer takes unread, less than that and the relay's send buffer together.
    const TAIL: u64 = 400_000;
    let dc = FakeDc::start(Script::Play(vec![
        Step::ReadToEnd,
        Step::Stream(Payload::new(1, TAIL)),
        Step::Gate,
        Step::Reset,
    ]));
    // With its default the tail would wait in the DC's socket, where no reset reaches it.
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()).option("notsent_lowat", 0));
    let mut client = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    rustix::net::sockopt::set_socket_recv_buffer_size(client.raw(), 16_384).expect("a small buffer");
    client.finish().expect("the end goes out");
    relay.wait_stat("bytes_down", |bytes| bytes == TAIL);
    dc.open_gate();
    relay.wait_closes(1);
    assert_eq!(
        client.reader.stream_to_end(&mut Stream::new(1)),
        (TAIL, End::Reset)
    );
}
