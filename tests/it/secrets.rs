//! Secrets: wherever the relay writes, there is none of them; at the loudest log level, in every page, in every mistake.

use crate::{SECRET, modes};
use mtrelay_test_support::relay::Signal;
use mtrelay_test_support::{Client, FakeDc, Relay, RelayConfig, Script};
use std::io::Write;

const OTHER: [u8; 16] = *b"\x10\x2f\x3e\x4d\x5c\x6b\x7a\x89\x98\xa7\xb6\xc5\xd4\xe3\xf2\x01";

fn hex(secret: &[u8; 16]) -> String {
    secret.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The secret in the forms in which it could slip out: hex, and as a list of numbers.
fn forms(secret: &[u8; 16]) -> [String; 4] {
    let hex = hex(secret);
    let list = format!("{secret:?}");
    [
        hex.to_uppercase(),
        hex[4..28].to_owned(),
        hex,
        list.trim_matches(['[', ']']).to_owned(),
    ]
}

#[test]
fn no_secret_is_ever_written() {
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::simple(SECRET, dc.addr())
        .user("other", OTHER)
        .user_option("enabled", 0)
        .option("handshake_timeout", 1)
        .option("log_level", "trace");
    let mut relay = Relay::spawn(env!("CARGO_BIN_EXE_mtrelay"), &config.to_uci(), &["-vv"]);
    relay.wait_listening(config.listeners(), true);
    for mode in modes() {
        let mut client = Client::connect(mode.clone(), relay.addr(), SECRET, 2);
        client.send(b"hello").expect("the relay reads");
        assert_eq!(client.recv_exact(5).expect("an echo"), b"hello");
        let replay = client.opening.clone();
        drop(client);
        for bytes in [&replay[..], &replay[..40]] {
            let mut socket = std::net::TcpStream::connect(relay.addr()).expect("the relay accepts");
            socket.write_all(bytes).expect("it reads");
        }
        drop(Client::builder(mode, relay.addr(), OTHER, 2).connect());
    }
    relay.wait_stat("closes_user_disabled", |n| n >= 4);
    let pages: Vec<String> = ["/stats", "/metrics", "/status", "/status.txt"]
        .map(|page| relay.get(page).1)
        .into();
    // Secrets where they do not belong, and twice.
    let misplaced = format!(
        "{}\nconfig user\n\toption name '{}'\n\toption secret '{}'\n\toption expires '{}'\nconfig {}\n\toption modes '{}'\n",
        config.to_uci(),
        hex(&OTHER),
        hex(&SECRET),
        hex(&SECRET),
        hex(&OTHER),
        hex(&SECRET)
    );
    relay.rewrite_file(&misplaced);
    relay.signal(Signal::HUP);
    relay.wait_stat("config_rejected", |n| n == 1);
    relay.signal(Signal::TERM);
    relay.wait_exit();
    let written = [relay.log_lines(), relay.stdout_lines(), pages]
        .concat()
        .join("\n");
    assert!(written.len() > 5000, "too little to prove anything");
    for form in forms(&SECRET).iter().chain(&forms(&OTHER)) {
        assert!(!written.contains(form), "{form} was written:\n{written}");
    }
}
