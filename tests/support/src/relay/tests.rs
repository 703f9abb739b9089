//! The harness on a daemon that a shell plays.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// A script that says what the daemon would, then echoes `reload` at SIGHUP and ends at SIGTERM.
const DAEMON: &str = r#"#!/bin/sh
trap 'echo "info reload" >&2' HUP
trap 'exit 3' TERM
echo "info listening on 127.0.0.1:4001" >&2
echo "info listening on [::1]:4002" >&2
echo "info statistics on http://127.0.0.1:4003/" >&2
echo "info close: user=a client=::1 dc=-2 addr=- secs=0.1 up=1 down=2 by=client reason=client_closed" >&2
echo "$1 $2"
head -n 1 "$3"
while :; do sleep 0.05; done
"#;

#[test]
fn harness_follows_a_daemon_from_start_to_exit() {
    let dir = TempDir::new();
    let bin = dir.write("daemon", DAEMON);
    std::fs::set_permissions(&bin, std::fs::Permissions::from_mode(0o700)).expect("our own file");
    let config = RelayConfig::new().listen(&["127.0.0.1:0", "[::1]:0"]);
    let uci = config.to_uci();
    // Not `start`: whoever runs these tests may have set MTRELAY_BIN.
    let mut relay = Relay::spawn_command(Command::new(&bin), &uci, &[]);
    relay.wait_listening(2, true);
    assert_eq!(relay.addr().port(), 4001);
    assert_eq!(relay.addr_v6().port(), 4002);
    assert_eq!(relay.stats_addr().port(), 4003);
    assert_eq!(relay.wait_closes(1)[0].down, 2);
    assert!(relay.fd_count() >= 3);
    assert!(relay.rss_kib() > 0);
    relay.wait_for("its output", |relay| {
        (relay.stdout_lines().len() == 2).then_some(())
    });
    assert_eq!(relay.stdout_lines(), ["run -c", "config relay 'main'"]);
    relay.signal(Signal::HUP);
    relay.wait_log("reload");
    relay.signal(Signal::TERM);
    assert_eq!(relay.wait_exit().code(), Some(3));
}
