//! Which texts each type of value accepts.

use super::*;

#[test]
fn booleans_are_the_words_of_uci() {
    for text in ["1", "on", "true", "yes", "enabled"] {
        assert_eq!(boolean(text), Ok(true));
    }
    for text in ["0", "off", "false", "no", "disabled"] {
        assert_eq!(boolean(text), Ok(false));
    }
    for text in ["", "2", "maybe", "-1", "00"] {
        assert!(boolean(text).is_err(), "{text}");
    }
}

#[test]
fn numbers_are_whole_and_bounded() {
    assert_eq!(number("1024", &(1024..=65536)), Ok(1024));
    assert_eq!(number("65536", &(1024..=65536)), Ok(65536));
    for text in [
        "1023",
        "65537",
        "4294967296",
        "99999999999999999999",
        "-1",
        "+5000",
        "16k",
        "1e4",
        "0x4000",
        "5000.0",
        "",
    ] {
        assert!(number(text, &(1024..=65536)).is_err(), "{text}");
    }
}

#[test]
fn marks_are_decimal_or_hex() {
    assert_eq!(mark("256"), Ok(Some(256)));
    assert_eq!(mark("0x100"), Ok(Some(256)));
    assert_eq!(mark("0xffffffff"), Ok(Some(u32::MAX)));
    assert_eq!(mark("0"), Ok(None));
    for text in ["", "0x", "+1", "0x+1", "100/0xff00", "0x100000000", "ff"] {
        assert!(mark(text).is_err(), "{text}");
    }
}

#[test]
fn addresses_have_a_port() {
    assert_eq!(
        socket_address("0.0.0.0:8443"),
        Ok("0.0.0.0:8443".parse().unwrap())
    );
    assert_eq!(socket_address("[::]:0"), Ok("[::]:0".parse().unwrap()));
    let cases = [
        ("149.154.167.51", "(149.154.167.51:443)"),
        ("2001:67c:4e8:f002::a", "([2001:67c:4e8:f002::a]:443)"),
        ("[2001:67c:4e8:f002::a]", "([2001:67c:4e8:f002::a]:443)"),
        ("2001:67c:4e8:f002:0:0:0:a:443", "needs brackets"),
        ("1.2.3.4:99999", "port"),
        ("1.2.3.4:", "port"),
        ("1.2.3:443", "is not an address"),
        ("example.org:443", "is not an address"),
        (":8443", "is not an address"),
        ("8443", "is not an address"),
        ("", "is not an address"),
    ];
    for (text, expected) in cases {
        let message = socket_address(text).unwrap_err();
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn what_is_connected_to_is_one_machine_with_a_port() {
    assert!(remote_address("127.0.0.1:1").is_ok());
    for text in ["127.0.0.1:0", "0.0.0.0:443", "[::]:443", "224.0.0.1:443"] {
        assert!(remote_address(text).is_err(), "{text}");
    }
}

#[test]
fn hosts_with_ports_are_names_or_addresses() {
    for text in [
        "example.org:443",
        "localhost:8443",
        "192.0.2.1:443",
        "[2001:db8::1]:443",
        "my_nas:1",
    ] {
        assert_eq!(host_port(text).map(|h| h.to_string()), Ok(text.to_owned()));
    }
    assert_eq!(host_port("[2001:db8::1]:443").unwrap().host, "2001:db8::1");
    let wrong = [
        "example.org",
        "192.0.2.1",
        "2001:db8::1",
        "example.org:",
        "example.org:0",
        "example.org:65536",
        "https://example.org:443",
        ":443",
        "a b:443",
        "192.0.2.1:0",
        "",
    ];
    for text in wrong {
        assert!(host_port(text).is_err(), "{text}");
    }
}

#[test]
fn a_domain_is_any_host_name() {
    let long = format!("{}.org", "a.".repeat(89).trim_end_matches('.'));
    for text in [
        "www.example.org",
        "localhost",
        "xn--e1afmkfd.xn--p1ai",
        "a_b.example",
        "WWW.Example.ORG",
        &long,
    ] {
        assert_eq!(domain(text), Ok(text.to_owned()));
    }
    let too_long = format!("{}.org", "a".repeat(63)).repeat(3);
    let wrong = [
        "",
        "https://example.org/",
        "example.org/",
        "example.org:443",
        "пример.рф",
        "a b",
        "-a.org",
        "a..b",
        &too_long,
    ];
    for text in wrong {
        assert!(domain(text).is_err(), "{text}");
    }
}

#[test]
fn the_host_of_a_link_is_a_name_or_an_address() {
    for text in ["myrouter.duckdns.org", "203.0.113.7", "2001:db8::1", "роутер.рф"] {
        assert_eq!(public_host(text), Ok(text.to_owned()));
    }
    assert_eq!(public_host("[2001:db8::1]"), Ok("2001:db8::1".to_owned()));
    for text in [
        "",
        "example.org:8443",
        "tg://x",
        "a b",
        "0.0.0.0",
        "::",
        "a&b",
        "«x»",
    ] {
        assert!(public_host(text).is_err(), "{text}");
    }
}

#[test]
fn names_of_the_kernel_are_bounded() {
    assert!(interface("pppoe-wan").is_ok() && interface("eth0.2").is_ok() && interface("br-lan").is_ok());
    assert!(
        interface("a/b").is_err() && interface("averyveryverylong").is_err() && interface("a b").is_err()
    );
    assert!(algorithm("bbr").is_ok() && algorithm("b b").is_err());
    assert!(path("/etc/mtrelay.allow").is_ok() && path("allow").is_err());
}

#[test]
fn modes_are_words() {
    assert_eq!(
        modes("dd ee"),
        Ok(Modes {
            plain: false,
            dd: true,
            ee: true
        })
    );
    assert_eq!(
        modes("plain,dd, ee"),
        Ok(Modes {
            plain: true,
            dd: true,
            ee: true
        })
    );
    assert!(modes("dd tls").is_err());
    assert!(modes("DD").is_err());
}
