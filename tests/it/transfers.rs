//! Bytes arrive as they were sent, in every mode, with fast mode on and off, over one connection and over many.

use crate::{SECRET, modes, start};
use mtrelay_test_support::rng::Stream;
use mtrelay_test_support::{Client, FakeDc, Mode, Payload, RelayConfig, Script};
use std::thread;

const MIB: u64 = 1 << 20;
const IN_ALL: u64 = 64 * MIB;

/// Moves `bytes` each way at once over each of `connections`.
fn both_ways(mode: &Mode, fast_mode: bool, connections: u64, bytes: u64) {
    both_ways_with(&|config| config.fast_mode(fast_mode), mode, connections, bytes);
}

fn both_ways_with(configure: &dyn Fn(RelayConfig) -> RelayConfig, mode: &Mode, connections: u64, bytes: u64) {
    let dc = FakeDc::start(Script::Both {
        send: Payload::asked(bytes),
        expect: Some(Payload::asked(bytes)),
    });
    let relay = start(&configure(RelayConfig::simple(SECRET, dc.addr())));
    let addr = relay.addr();
    thread::scope(|scope| {
        for seed in 1..=connections {
            scope.spawn(move || {
                let (mut reader, mut writer) = Client::connect(mode.clone(), addr, SECRET, 2).split();
                thread::scope(|scope| {
                    scope.spawn(|| {
                        writer.ask(seed).expect("the seed goes out");
                        writer
                            .send_stream(&mut Stream::new(!seed), bytes)
                            .expect("the upload goes out");
                        writer.finish().expect("the end goes out");
                    });
                    let (came, end) = reader.stream_to_end(&mut Stream::new(seed));
                    assert_eq!((came, end.to_string().as_str()), (bytes, "end of stream"));
                });
            });
        }
    });
    for connection in dc.wait_ended(connections as usize) {
        connection.assert_upload();
    }
    let closes = relay.wait_closes(connections as usize);
    assert_eq!(closes.len(), connections as usize);
    for close in closes {
        assert!(close.down == bytes && close.up >= bytes, "{}", close.line);
    }
}

#[test]
fn every_byte_arrives_over_one_connection() {
    for mode in modes() {
        for fast_mode in [true, false] {
            both_ways(&mode, fast_mode, 1, IN_ALL);
        }
    }
}

#[test]
fn every_byte_arrives_over_32_connections() {
    for mode in modes() {
        for fast_mode in [true, false] {
            both_ways(&mode, fast_mode, 32, IN_ALL / 32);
        }
    }
}

#[test]
fn every_byte_arrives_whatever_the_size_of_a_block() {
    // A little more than a record, so that each block makes two.
    for (buffer_size, buffers) in [(1024, 64), (16_385, 64), (65_536, 8), (65_536, 1)] {
        let configure = |config: RelayConfig| {
            let config = config.fast_mode(false);
            config
                .option("buffer_size", buffer_size)
                .option("buffers", buffers)
        };
        both_ways_with(&configure, &Mode::ee("example.org"), 2, 8 * MIB);
    }
}
