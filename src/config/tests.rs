//! What the configuration accepts, refuses and says about it.

use super::options::{RELAY_OPTIONS, USER_OPTIONS};
use super::*;
use mtrelay_core::config::spec::Kind;
use mtrelay_core::dc::{DcId, Table};
use std::time::Duration;
use wire::Modes;

mod files;
mod relay;
mod table;
mod users;

const A: &str = "6ab1f50c3e9d27884fd2b0179ce35a61";
const B: &str = "c2049be67d13f85aa0412e9f36d7580b";

fn user(name: &str, secret: &str) -> String {
    format!("config user\n\toption name '{name}'\n\toption secret '{secret}'\n")
}

/// A file with these lines in its relay section, and one good user behind it.
fn with_relay(lines: &str) -> String {
    format!("config relay 'main'\n{lines}\n{}", user("family", A))
}

fn good(text: &str) -> Config {
    let (config, warnings) =
        Config::from_uci(text).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"));
    assert_eq!(warnings, [], "{text}");
    config
}

fn relay_with(lines: &str) -> Config {
    good(&with_relay(lines))
}

/// Every mistake as `LINE: text`, warnings with a `?` before it.
fn problems(text: &str) -> Vec<String> {
    let problems = match Config::from_uci(text) {
        Ok((_, warnings)) => {
            assert!(
                warnings
                    .iter()
                    .all(|problem| problem.severity == Severity::Warning)
            );
            warnings
        }
        Err(problems) => {
            assert!(problems.iter().any(|problem| problem.severity == Severity::Error));
            problems
        }
    };
    let mark = |problem: &Problem| {
        if problem.severity == Severity::Warning {
            "?"
        } else {
            ""
        }
    };
    problems
        .iter()
        .map(|problem| format!("{}{}: {}", mark(problem), problem.line, problem.text))
        .collect()
}

#[track_caller]
fn assert_problems(text: &str, expected: &[&str]) {
    let found = problems(text);
    let same = found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| f.starts_with(e));
    assert!(same, "{text}\nfound {found:#?}\nexpected {expected:#?}");
    for problem in found {
        assert!(problem.contains('('), "says what would be right: {problem}");
    }
}

#[test]
fn an_empty_file_means_the_defaults() {
    let config = Config::default();
    assert!(config.enabled && config.fast_mode && config.seccomp && !config.open_wan);
    assert_eq!(config.listen, ["0.0.0.0:8443".parse().unwrap()]);
    assert_eq!(config.stats_listen, Some("127.0.0.1:8888".parse().unwrap()));
    assert_eq!(
        config.modes,
        Modes {
            plain: false,
            dd: true,
            ee: true
        }
    );
    assert_eq!(
        (config.buffer_size, config.buffers, config.max_sessions),
        (16384, 64, 1024)
    );
    assert_eq!(
        (config.max_sessions_per_ip, config.replay_window, config.prewarm),
        (None, 16384, 0)
    );
    assert_eq!(config.connect_timeout, Some(Duration::from_secs(5)));
    assert_eq!(config.handshake_timeout, Some(Duration::from_secs(5)));
    assert_eq!(config.answer_timeout, Some(Duration::from_secs(4)));
    assert_eq!(config.idle_timeout, Some(Duration::from_secs(600)));
    assert_eq!(config.drain_timeout, Some(Duration::from_secs(10)));
    assert_eq!(
        (config.clock_skew, config.prefer_ipv6),
        (ClockSkew::Auto, PreferIpv6::Auto)
    );
    assert_eq!(
        (config.notsent_lowat, config.sndbuf, config.socket_memory_mb),
        (Some(16384), None, None)
    );
    assert_eq!(
        (config.front_domain, config.front_address, config.link_host),
        (None, None, None)
    );
    assert_eq!(config.log_level, log::LevelFilter::Info);
    assert_eq!(config.dcs, Table::built_in());
    assert!(config.users.is_empty());
}

#[test]
fn a_file_as_a_person_types_it() {
    let config = good(&format!(
        "config relay 'main'\n\
         \tlist listen '0.0.0.0:443'\n\tlist listen '[::]:443'\n\
         \toption modes 'plain dd ee'   # all of them\n\
         \toption front_domain www.example.org\n\
         \toption link_host 'home.example.net'\n\toption link_port 8443\n\
         \toption fwmark 0x100\n\toption fast_mode off\n\toption idle_timeout 0\n\
         \tlist allow 192.168.1.1/24\n\tlist allow fd00::/8\n\
         config user\n\toption name family\n\toption secret {A}\n\toption expires 2028-02-29\n\
         config user 'guest'\n\toption secret \"{B}\"\n\toption enabled no\n\toption quota_mb 1000\n\
         \toption quota_reset monthly\n\
         config dc\n\toption id -2\n\tlist address 149.154.167.151:443\n\
         \tlist address '[2001:67c:4e8:f002::b]:443'\n"
    ));
    assert_eq!(config.listen.len(), 2);
    assert_eq!(
        config.modes,
        Modes {
            plain: true,
            dd: true,
            ee: true
        }
    );
    assert_eq!(config.front_address.unwrap().to_string(), "www.example.org:443");
    assert_eq!(
        (config.link_port, config.fwmark, config.fast_mode),
        (Some(8443), Some(256), false)
    );
    assert_eq!(config.idle_timeout, None);
    let admitted =
        ["192.168.1.77", "fdab::1", "192.0.2.1"].map(|ip| config.access.admits(ip.parse().unwrap()));
    assert_eq!(admitted, [true, true, false]);
    let [family, guest] = &config.users[..] else {
        panic!("two users")
    };
    assert_eq!(
        (family.name.as_str(), family.secret.to_hex().as_str()),
        ("family", A)
    );
    assert_eq!(family.expires.unwrap().to_string(), "2028-02-29");
    assert_eq!((guest.name.as_str(), guest.enabled), ("guest", false));
    assert_eq!(
        (guest.quota_mb, guest.quota_reset),
        (Some(1000), QuotaReset::Monthly)
    );
    let media = config.dcs.lookup(DcId::new(-2).unwrap()).unwrap();
    assert_eq!(media.len(), 2);
    assert_eq!(
        config.dcs.lookup(DcId::new(2).unwrap()),
        Table::built_in().lookup(DcId::new(2).unwrap())
    );
}

#[test]
fn every_mistake_is_reported_not_only_the_first() {
    let text = "config relay 'main'\n\toption fast_mode maybe\n\toption buffers none\n\toption colour red\n\
                config user\n\toption name a\n\toption secret 123\n\toption expires 2025-02-30\n\
                config dc\n\toption id 0\nfoo\n";
    let expected = [
        "2: fast_mode",
        "3: buffers",
        "?4: unknown option 'colour'",
        "7: secret is",
        "8: expires",
        "9: a dc without an address",
        "10: id '0'",
        "11: 'foo' is not a UCI",
    ];
    assert_problems(text, &expected);
}

#[test]
fn unknown_options_and_sections_are_warnings() {
    let text = format!(
        "config relay\n\toption frontdomain x\n\tlist fastmode 1\nconfig proxy\n\toption a 1\n{}",
        user("a", A)
    );
    assert_problems(
        &text,
        &[
            "?2: unknown option 'frontdomain' (front_domain, perhaps)",
            "?3: unknown option 'fastmode'",
            "?4: unknown section type 'proxy'",
        ],
    );
}

#[test]
fn data_centres_are_numbers_with_addresses() {
    let dc = |lines: &str| format!("{}config dc\n{lines}", user("a", A));
    assert_problems(&dc("option id 2"), &["4: a dc without an address"]);
    assert_problems(&dc("list address 1.2.3.4:443"), &["4: a dc without an id"]);
    for id in ["0", "x", "99999", "-32768", "+2", "2.0"] {
        let found = problems(&dc(&format!("option id {id}\nlist address 1.2.3.4:443")));
        assert!(
            found.len() == 1 && found[0].starts_with("5: id '"),
            "{id}: {found:?}"
        );
    }
    let addresses = [
        "1.2.3.4",
        "1.2.3.4:0",
        "[::1]",
        "::1:443",
        "example.org:443",
        "1.2.3.4:65536",
    ];
    for address in addresses {
        assert_problems(
            &dc(&format!("option id 2\nlist address {address}")),
            &["6: address '"],
        );
    }
    let twice =
        dc("option id 2\nlist address 1.2.3.4:443\nconfig dc\noption id 2\nlist address 1.2.3.5:443\n");
    assert_problems(&twice, &["8: id 2 is taken by the dc on line 5"]);
    assert_problems(
        &dc("option id 2\nlist address 1.2.3.4:443\nlist address 1.2.3.4:443"),
        &["?7: address 1.2.3.4:443"],
    );
    let pair =
        dc("option id 2\nlist address 1.2.3.4:443\nconfig dc\noption id -2\nlist address 1.2.3.5:443\n");
    assert_eq!(
        good(&pair).dcs.iter().count(),
        Table::built_in().iter().count() + 1
    );
    let in_one = good(&dc("option id 10002\noption address '127.0.0.1:1 [::1]:2'"));
    assert_eq!(in_one.dcs.lookup(DcId::new(10002).unwrap()).unwrap().len(), 2);
}

#[test]
fn the_package_is_ours() {
    let users = user("a", A);
    good(&format!("package mtrelay\n{users}"));
    assert_problems(
        &format!("package network\n{users}"),
        &["?1: package 'network' (mtrelay)"],
    );
    assert_problems(
        &format!("package mtrelay\n{users}package network\n"),
        &["5: a second package"],
    );
}
