//! What the configuration accepts, refuses and says about it.

use super::options::{RELAY_OPTIONS, USER_OPTIONS};
use super::*;
use mtrelay_core::config::spec::Kind;
use mtrelay_core::dc::{DcId, Table};
use std::time::Duration;
use wire::Modes;

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
fn defaults_written_out_mean_the_same_as_absent() {
    let mut text = String::from("package mtrelay\n\nconfig relay 'main'\n");
    for spec in RELAY_OPTIONS {
        let verb = if spec.list { "list" } else { "option" };
        text.push_str(&format!("\t{verb} {} '{}'\n", spec.name, spec.default));
    }
    text.push_str(&user("family", A));
    for spec in USER_OPTIONS
        .iter()
        .filter(|spec| !matches!(spec.name, "name" | "secret"))
    {
        text.push_str(&format!("\toption {} '{}'\n", spec.name, spec.default));
    }
    assert_eq!(good(&text), good(&user("family", A)));
}

/// A value of each option that only a restart puts in force, other than its default.
const OTHER_VALUES: [(&str, &str); 8] = [
    ("enabled", "0"),
    ("seccomp", "off"),
    ("pipes", "3"),
    ("pipe_size", "65536"),
    ("ubus_socket", "/tmp/ubus"),
    ("buffer_size", "4096"),
    ("buffers", "8"),
    ("stats_listen", "off"),
];

#[test]
fn options_of_the_table_that_take_a_restart_are_compared() {
    let old = relay_with("");
    for spec in RELAY_OPTIONS.iter().filter(|spec| spec.restart) {
        let (name, value) = OTHER_VALUES
            .iter()
            .find(|(name, _)| *name == spec.name)
            .unwrap_or_else(|| panic!("{} has a value here", spec.name));
        let new = relay_with(&format!("option {name} '{value}'"));
        assert_eq!(new.needing_restart(&old), [*name]);
        assert_eq!(new.needing_restart(&new), [""; 0]);
    }
    assert_eq!(
        relay_with("option prewarm 3\noption idle_timeout 1").needing_restart(&old),
        [""; 0]
    );
    let same = relay_with("option seccomp on\noption buffers 64\noption enabled yes");
    assert_eq!(same.needing_restart(&old), [""; 0]);
}

#[test]
fn bounds_of_the_table_are_those_of_the_reader() {
    for (head, specs) in [
        ("config relay\n", RELAY_OPTIONS),
        (&user("a", A)[..], USER_OPTIONS),
    ] {
        for spec in specs {
            let says = |value: &str| {
                let text = format!("{head}\toption {} '{value}'\n", spec.name);
                let told = problems(&text);
                let own = format!(": {} '{value}'", spec.name);
                told.into_iter().find(|problem| problem.contains(&own))
            };
            match spec.kind {
                Kind::Number { min, max, auto } => {
                    assert_eq!((says(&min.to_string()), says(&max.to_string())), (None, None));
                    let right = format!("{min} to {max})");
                    for bad in [i64::from(min) - 1, i64::from(max) + 1] {
                        assert!(says(&bad.to_string()).unwrap().ends_with(&right), "{}", spec.name);
                    }
                    assert_eq!(says("auto").is_none(), auto, "{}", spec.name);
                }
                Kind::Choice(words) | Kind::Words(words) => {
                    assert!(words.iter().all(|word| says(word).is_none()), "{}", spec.name);
                    let wrong = says("perhaps").unwrap();
                    assert!(words.iter().all(|word| wrong.contains(word)), "{wrong}");
                }
                Kind::Flag | Kind::FlagOrAuto => {
                    assert!(["0", "1", "yes", "off"].iter().all(|word| says(word).is_none()));
                    assert!(says("perhaps").unwrap().contains("1 or 0)"), "{}", spec.name);
                    assert_eq!(says("auto").is_none(), spec.kind == Kind::FlagOrAuto);
                }
                Kind::Text => {}
            }
        }
    }
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
        ("listen '8443'", "2: listen '8443' is no address"),
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
        ("allow 'lan'", "2: allow 'lan' is no block"),
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
        "11: 'foo' is no UCI",
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

#[test]
fn users_have_a_name_and_a_secret_of_their_own() {
    let text = format!(
        "config user\n{}{}{}config user b\n",
        user("a", A),
        user("a", B),
        user("c", A)
    );
    let expected = [
        "1: a user without a name",
        "1: a user without a secret",
        "6: name 'a' is taken by the user on line 3",
        "10: secret is the same as on line 4",
        "11: a user without a secret",
    ];
    assert_problems(&text, &expected);
    let written_otherwise = format!(
        "{}{}",
        user("a", A),
        user("b", &format!("dd{}", A.to_uppercase()))
    );
    assert_problems(&written_otherwise, &["6: secret is the same as on line 3"]);
    let reopened = format!("config user a\noption secret {A}\nconfig user a\noption max_ips 1\n");
    assert_problems(&reopened, &["3: this user's section is opened again"]);
}

#[test]
fn names_of_users_are_text() {
    good(&user("Мама-2", A));
    assert_problems(&user("two words", A), &["?2: name 'two words' is hard to find"]);
    assert_problems(&user(&"n".repeat(65), A), &["2: name 'nnn"]);
    assert_problems(
        &user("a\u{7}b", A),
        &["2: name 'a\u{fffd}b' is too long or not text"],
    );
}

#[test]
fn secrets_are_read_in_every_form() {
    let key = |text: &str| good(&user("a", text)).users[0].secret.to_hex();
    assert_eq!(key(&A.to_uppercase()), A);
    assert_eq!(key(&format!("dd{A}")), A);
    assert_eq!(key(&format!("ee{A}6578616d706c652e6f7267")), A);
    assert_eq!(key("arH1DD6dJ4hP0rAXnONaYQ"), A);
    let other = format!(
        "config relay\noption front_domain b.example\n{}",
        user("a", &format!("ee{A}6578616d706c652e6f7267"))
    );
    assert_problems(&other, &["?5: secret carries another domain"]);
    for wrong in [
        "123",
        "",
        &A[1..],
        &format!("{A}0"),
        "password",
        &format!("0x{A}"),
        "пароль",
    ] {
        let found = problems(&user("a", wrong));
        assert!(
            found.len() == 1 && !found[0].starts_with('?'),
            "{wrong}: {found:?}"
        );
    }
}

#[test]
fn secrets_made_up_by_people_are_warned_about() {
    let weak = [
        "00000000000000000000000000000000",
        "0123456789abcdef0123456789abcdef",
        "00112233445566778899aabbccddeeff",
        "000102030405060708090a0b0c0d0e0f",
        "12345678901234567890123456789012",
        "deadbeefdeadbeefdeadbeefdeadbeef",
        "6d792073656372657420706173737764",
    ];
    for secret in weak {
        assert_problems(&user("a", secret), &["?3: secret is easy to guess"]);
    }
}

#[test]
fn no_user_is_a_warning() {
    assert_problems("", &["?1: no user,"]);
    assert_problems("# x\nconfig relay main\n", &["?2: no user,"]);
    assert_problems(
        &format!("{}option enabled 0", user("a", A)),
        &["?1: no enabled user,"],
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

#[test]
fn no_message_shows_a_secret() {
    let bad = &A[..31];
    let texts = [
        user("a", bad),
        user("a", &format!("{A} {B}")),
        user(A, "1"),
        format!("{}{}", user("a", A), user("b", A)),
        format!("config user\noption name 'a\noption secret '{A}'\n"),
        format!("config user\noption name 'a\noption secret {A}'\noption expires '{A}\n'\n"),
        format!("config user\noption {A} 1\noption secret 1\n"),
        format!("config {A}\n"),
        format!("config relay\noption link_host '{A}:1'\noption modes {A}\n"),
        format!("config dc\noption id {A}\nlist address {A}\n"),
        format!("package {A}\npackage b{B}\n"),
    ];
    for text in texts {
        for problem in problems(&text) {
            assert!(
                !problem.contains(&A[4..20]) && !problem.contains(&B[4..20]),
                "{text}\n{problem}"
            );
        }
    }
}

#[test]
fn files_that_cannot_be_read_say_so() {
    let missing = Path::new("/nonexistent/mtrelay");
    let problems = Config::load(missing).unwrap_err();
    let line = problems[0].in_file("mtrelay", missing).to_string();
    assert!(
        line.starts_with("mtrelay: /nonexistent/mtrelay: cannot be read: "),
        "{line}"
    );
    let endless = Config::load(Path::new("/dev/zero")).unwrap_err();
    assert!(endless[0].text.contains("too large"), "{endless:?}");
}

#[test]
fn list_files_are_read_and_their_mistakes_have_file_and_line() {
    let folder = std::env::temp_dir().join(format!("mtrelay-lists-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let [config, allow, block] = ["config", "allow", "block"].map(|name| folder.join(name));
    let load = |allow_lines: &str, block_lines: &str| {
        let text = format!(
            "option allow_file '{}'\noption block_file '{}'\nlist block 10.0.0.1\n",
            allow.display(),
            block.display()
        );
        std::fs::write(&config, with_relay(&text)).unwrap();
        std::fs::write(&allow, allow_lines).unwrap();
        std::fs::write(&block, block_lines).unwrap();
        Config::load(&config)
    };
    let (good, _) = load(
        "# ours\n\n10.0.0.0/8 # all of them\r\n  fd00::/8\t; and these\n::ffff:192.0.2.0/120",
        "10.0.0.2\n",
    )
    .unwrap();
    let admitted = [
        "10.0.0.3",
        "fd12::3",
        "192.0.2.9",
        "10.0.0.1",
        "10.0.0.2",
        "192.0.3.1",
    ]
    .map(|ip| good.access.admits(ip.parse().unwrap()));
    assert_eq!(admitted, [true, true, true, false, false, false]);

    let problems = load("10.0.0.0/8\n\n10.0.0.0/33\n", "nonsense\n").unwrap_err();
    let lines: Vec<_> = problems
        .iter()
        .map(|p| p.in_file("mtrelay", &config).to_string())
        .collect();
    for start in [
        format!("mtrelay: {}:3: '10.0.0.0/33' has a wrong length", allow.display()),
        format!("mtrelay: {}:1: 'nonsense' is no block", block.display()),
    ] {
        assert!(lines.iter().any(|line| line.starts_with(&start)), "{lines:?}");
    }

    let (_, warnings) = load("# nobody\n", "").unwrap();
    let warned = warnings
        .iter()
        .filter(|problem| problem.text.contains("names no address"));
    assert_eq!(warned.count(), 1, "the block list has one address: {warnings:?}");
    std::fs::remove_file(&block).unwrap();
    let missing = load_error(&config);
    assert!(
        missing.contains("block_file") && missing.starts_with("mtrelay: "),
        "{missing}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

fn load_error(config: &Path) -> String {
    let problems = Config::load(config).unwrap_err();
    let error = problems
        .iter()
        .find(|problem| problem.severity == Severity::Error);
    error.unwrap().in_file("mtrelay", config).to_string()
}

#[test]
fn hostile_files_end_in_time() {
    let big = |piece: &str| piece.repeat((1 << 18) / piece.len());
    for piece in [
        "config user a\n",
        "config user\n",
        "config dc\n",
        "config relay\n",
    ] {
        assert!(!problems(&big(piece)).is_empty());
    }
    for piece in [
        "list listen 127.0.0.1:0\n",
        "option buffers 1\n",
        "option x 1\n",
        "list modes dd\n",
        "list allow ::/0\n",
    ] {
        let _ = Config::from_uci(&with_relay(&big(piece)));
    }
    assert!(
        !problems(&format!(
            "config dc\noption id 2\n{}",
            big("list address 127.0.0.1:1\n")
        ))
        .is_empty()
    );
}
