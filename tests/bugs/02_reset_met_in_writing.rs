//! A DC that reset the connection in the middle of an upload looked to the client as if it had ended in order: the kernel
//! reports a reset once, to whoever comes first. When that was the half that writes, the half that reads saw an end of
//! stream, and passed that on before the reset.

use crate::{SECRET, modes, start};
use mtrelay_test_support::client::End;
use mtrelay_test_support::{Client, FakeDc, RelayConfig, Script};

#[test]
fn a_reset_in_the_middle_of_an_upload_is_passed_on_as_one() {
    let dc = FakeDc::start(Script::ResetAt(100_000));
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()));
    for round in 0..5 {
        for mode in modes() {
            let client = Client::connect(mode.clone(), relay.addr(), SECRET, 2);
            let (mut reader, mut writer) = client.split();
            // The reset may come before all of it is written.
            let _ = writer.send(&vec![3; 200_000]);
            assert_eq!(reader.recv_to_end().1, End::Reset, "{mode:?}, round {round}");
        }
    }
    let closes = relay.wait_closes(20);
    assert!(
        closes.iter().all(|close| close.reason == "dc_reset"),
        "{closes:?}"
    );
}
