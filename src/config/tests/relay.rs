//! The `relay` section.

use super::*;

#[test]
fn modes_are_a_list_or_words() {
    let dd_ee = Modes {
        plain: false,
        dd: true,
        ee: true,
    };
    assert_eq!(relay_with("list modes dd\nlist modes ee").modes, dd_ee);
    assert_eq!(relay_with("option modes 'ee dd'").modes, dd_ee);
    assert_eq!(relay_with("option modes 'dd,ee'").modes, dd_ee);
    assert_eq!(relay_with("option modes ''").modes, dd_ee);
    assert_eq!(
        relay_with("option modes plain").modes,
        Modes {
            plain: true,
            dd: false,
            ee: false
        }
    );
}

#[test]
fn several_listeners_may_stand_in_one_option() {
    assert_eq!(relay_with("option listen '0.0.0.0:1 [::]:1'").listen.len(), 2);
    assert_eq!(
        relay_with("list listen 127.0.0.1:0\nlist listen 127.0.0.1:0")
            .listen
            .len(),
        2
    );
}

#[test]
fn empty_statistics_address_is_off() {
    for text in ["''", "off", "0"] {
        assert_eq!(
            relay_with(&format!("option stats_listen {text}")).stats_listen,
            None
        );
    }
    assert_eq!(
        relay_with("option stats_listen 127.0.0.1:0").stats_listen,
        Some("127.0.0.1:0".parse().unwrap())
    );
}

#[test]
fn wrong_values_are_errors_with_their_line() {
    let cases = [
        ("enabled 'maybe'", "2: enabled 'maybe' is neither"),
        ("listen '8443'", "2: listen '8443' is not an address"),
        ("listen '192.168.1.1'", "2: listen '192.168.1.1' has no port"),
        (
            "listen '0.0.0.0:70000'",
            "2: listen '0.0.0.0:70000' has a wrong port",
        ),
        ("prefer_ipv6 'yes'", "2: prefer_ipv6 'yes'"),
        ("modes 'dd tls'", "2: modes 'tls' has an unknown mode"),
        (
            "front_domain 'https://example.org'",
            "2: front_domain 'https://example.org'",
        ),
        (
            "front_address 'example.org'",
            "2: front_address 'example.org' has no port",
        ),
        ("fwmark 'x'", "2: fwmark"),
        ("link_port '0'", "2: link_port '0' is out of bounds (1 to 65535)"),
        ("link_port '65536'", "2: link_port '65536' is out of bounds"),
        ("link_host 'a b'", "2: link_host 'a b'"),
        ("allow 'lan'", "2: allow 'lan' is not a block"),
        ("block '10.0.0.0/33'", "2: block '10.0.0.0/33'"),
        (
            "buffer_size '100'",
            "2: buffer_size '100' is out of bounds (1024 to 65536)",
        ),
        ("buffer_size '16k'", "2: buffer_size '16k' is not a whole number"),
        ("buffers '0'", "2: buffers '0'"),
        ("buffers '1000000'", "2: buffer_size times buffers"),
        ("max_sessions '0'", "2: max_sessions '0'"),
        ("connect_timeout '-1'", "2: connect_timeout '-1'"),
        ("idle_timeout '10m'", "2: idle_timeout '10m'"),
        ("idle_timeout '4294967295'", "2: idle_timeout"),
        (
            "clock_skew 'none'",
            "2: clock_skew 'none' is not a whole number (auto, or",
        ),
        (
            "socket_memory_mb '0'",
            "2: socket_memory_mb '0' is out of bounds (auto, or 1",
        ),
        ("replay_window '0'", "2: replay_window '0'"),
        ("stats_listen 'localhost:8888'", "2: stats_listen"),
        ("log_level 'verbose'", "2: log_level 'verbose'"),
        ("block_file 'list'", "2: block_file 'list'"),
        ("bind_interface 'a/b'", "2: bind_interface"),
    ];
    for (option, expected) in cases {
        assert_problems(&with_relay(&format!("option {option}")), &[expected]);
    }
}

#[test]
fn the_last_of_repeated_options_counts() {
    let text = with_relay("option buffers 10\noption buffers 20");
    assert_problems(&text, &["?3: buffers is given again, after line 2"]);
    assert_eq!(Config::from_uci(&text).unwrap().0.buffers, 20);
    assert_problems(&with_relay("list buffers 10"), &["?2: buffers takes one value"]);
}

#[test]
fn two_relay_sections_are_an_error_unless_uci_joins_them() {
    let users = user("a", A);
    assert_problems(
        &format!("config relay a\nconfig relay b\n{users}"),
        &["2: a second relay section"],
    );
    let joined = format!("config relay a\noption buffers 1\nconfig relay a\noption prewarm 2\n{users}");
    assert_problems(&joined, &["?3: the relay section is opened again"]);
    let (config, _) = Config::from_uci(&joined).unwrap();
    assert_eq!((config.buffers, config.prewarm), (1, 2));
}

#[test]
fn listeners_do_not_share_a_port() {
    assert_problems(
        &with_relay("list listen 0.0.0.0:1\nlist listen 127.0.0.1:1"),
        &["3: listen 127.0.0.1:1 is taken"],
    );
    assert_problems(
        &with_relay("list listen [::]:1\nlist listen [::]:1"),
        &["3: listen [::]:1 is taken"],
    );
    assert_problems(
        &with_relay("option listen 127.0.0.1:8888"),
        &["2: stats_listen 127.0.0.1:8888 is taken"],
    );
    relay_with("list listen 0.0.0.0:8888\noption stats_listen '[::1]:8888'");
}

#[test]
fn the_front_may_not_be_the_relay_itself() {
    let own = [
        "option front_address 127.0.0.1:8443",
        "option front_address localhost:8443",
        "option listen 192.168.1.1:443\noption front_domain a.example\noption front_address 192.168.1.1:443",
        "option listen 0.0.0.0:443\noption front_domain localhost",
        "option link_host Home.example\noption link_port 443\noption front_domain home.example",
        "option link_host home.example\noption listen 0.0.0.0:443\noption front_domain home.example",
    ];
    for lines in own {
        let found = problems(&with_relay(lines));
        assert!(
            found.len() == 1 && found[0].contains("is this relay itself"),
            "{lines}\n{found:?}"
        );
    }
    relay_with("option front_domain home.example\noption link_host home.example");
    relay_with("option front_address 127.0.0.1:443");
    relay_with("option front_domain localhost");
}

#[test]
fn a_domain_has_at_most_182_bytes() {
    let fits = "a.".repeat(90) + "bc";
    assert_eq!(fits.len(), 182);
    assert_eq!(
        relay_with(&format!("option front_domain {fits}")).front_domain,
        Some(fits.clone())
    );
    let long = format!("option front_domain {fits}d");
    assert_problems(&with_relay(&long), &["2: front_domain"]);
}
