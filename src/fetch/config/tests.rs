//! What files say, and what is said of those that are wrong.

use super::*;
use mtrelay_core::dc::DcId;
use wire::secret::Form;

const HASH: &str = "0123456789abcdef0123456789abcdef";
const KEY: &str = "6ab1f50c3e9d27884fd2b0179ce35a61";

fn good(text: &str) -> Config {
    let (config, problems) = Config::parse(text).unwrap();
    assert_eq!(problems, []);
    config
}

/// `line: text` of each.
fn problems(text: &str) -> Vec<String> {
    let problems = Config::parse(text).map_or_else(|problems| problems, |(_, problems)| problems);
    problems
        .iter()
        .map(|problem| format!("{}: {}", problem.line, problem.text))
        .collect()
}

#[test]
fn the_defaults() {
    let config = Config::default();
    assert_eq!(config.listen, ["127.0.0.1:8099".parse().unwrap()]);
    assert!(
        config.is_private() && config.token.is_none() && config.api.is_none() && config.proxies.is_empty()
    );
    assert_eq!((config.connections, config.streams, config.remuxes), (2, 8, 1));
    assert_eq!(config.account, Path::new("/etc/mtfetch/account"));
}

#[test]
fn a_whole_file() {
    let config = good(&format!(
        "config mtfetch 'main'\n\toption enabled '1'\n\toption api_id '12345'\n\toption api_hash '{HASH}'\n\
         \toption account '/mnt/usb/account'\n\toption connections '4'\n\tlist listen '0.0.0.0:8099'\n\
         \tlist listen '[::1]:8099'\n\toption token 'open-sesame'\n\toption cache '/var/run/mtfetch/cache'\n\
         \tlist proxy 'tg://proxy?server=a.example&port=443&secret=dd{KEY}'\n\
         config proxy\n\toption server '[2001:db8::1]:8443'\n\toption secret '{KEY}'\n\
         config dc\n\toption id '2'\n\tlist address '127.0.0.1:4431'\n"
    ));
    assert_eq!(config.api, Some((12345, HASH.into())));
    assert_eq!(config.connections, 4);
    assert!(!config.is_private());
    assert_eq!(config.token.as_deref(), Some("open-sesame"));
    assert_eq!(config.cache.as_deref(), Some(Path::new("/var/run/mtfetch/cache")));
    let servers: Vec<String> = config
        .proxies
        .iter()
        .map(|proxy| proxy.server.to_string())
        .collect();
    assert_eq!(servers, ["a.example:443", "[2001:db8::1]:8443"]);
    assert_eq!(
        (&config.proxies[0].secret.form, &config.proxies[1].secret.form),
        (&Form::Dd, &Form::Plain)
    );
    let id = DcId::new(2).unwrap();
    assert_eq!(
        config.dcs.lookup(id).unwrap(),
        ["127.0.0.1:4431".parse().unwrap()]
    );
}

#[test]
fn links_of_proxies_in_their_forms() {
    let ee = format!("ee{KEY}6578616d706c652e6f7267");
    for link in [
        format!("tg://proxy?server=192.0.2.1&port=443&secret={ee}"),
        format!("https://t.me/proxy?port=443&secret={ee}&server=192.0.2.1"),
        format!("TG://Proxy?server=192.0.2.1&port=443&secret={ee}&x=1"),
    ] {
        let proxy: Proxy = link.parse().unwrap();
        assert_eq!(proxy.server.to_string(), "192.0.2.1:443", "{link}");
        assert_eq!(proxy.secret.form, Form::Ee("example.org".into()));
    }
    let v6: Proxy = format!("tg://proxy?server=2001:db8::1&port=443&secret={KEY}")
        .parse()
        .unwrap();
    assert_eq!(v6.server.to_string(), "[2001:db8::1]:443");
    for link in [
        "",
        "tg://proxy",
        "tg://proxy?server=a&port=443",
        "tg://proxy?server=a&port=0&secret=dd",
        "tg://socks?server=a&port=1&secret=00",
        "https://example.org/proxy?server=a&port=1&secret=00",
        "tg://proxy?server=a&port=443&secret=00",
    ] {
        assert!(link.parse::<Proxy>().is_err(), "{link}");
    }
}

#[test]
fn every_mistake_has_its_line() {
    let text = "config mtfetch\n\toption api_id 'x'\n\toption connections '9'\n\tlist listen '127.0.0.1'\n\
                \toption token 'short'\n\toption colour 'red'\nconfig dc\n\toption id '0'\nconfig proxy\n\
                \toption server 'a:1'\nconfig mtfetch other\nconfig user\n";
    let found = problems(text);
    let lines: Vec<&str> = found.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(
        lines,
        ["2", "3", "4", "5", "6", "8", "7", "9", "11", "12"],
        "{found:#?}"
    );
}

#[test]
fn what_is_odd_is_only_said() {
    for (text, word) in [
        ("option connections '8'", "seldom help"),
        ("option api_id '5'", "belong together"),
        ("option colour 'red'", "unknown option"),
    ] {
        let (_, found) = Config::parse(&format!("config mtfetch\n\t{text}\n")).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].text.contains(word), "{}", found[0].text);
    }
}

#[test]
fn no_message_shows_a_secret() {
    for text in [
        format!("option api_hash '{HASH}-'"),
        format!("option token '{HASH}/'"),
        format!("list proxy 'tg://proxy?server=a&secret={HASH}'"),
        format!("option cache 'redis:{HASH}'"),
        format!("option connections '{HASH}{HASH}'"),
        format!("option {HASH} '1'"),
    ] {
        let found = problems(&format!("config mtfetch\n\t{text}\n"));
        assert_eq!(found.len(), 1, "{text}");
        assert!(!found[0].contains("0123456789"), "{}", found[0]);
    }
}

#[test]
fn the_shipped_file_says_what_the_defaults_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openwrt/mtfetch/files/etc/config/mtfetch");
    let text = std::fs::read_to_string(path).unwrap();
    let (package, _) = uci::parse(&text);
    good(&text);
    for item in &package.sections[0].items {
        let spec = MAIN_OPTIONS.iter().find(|spec| spec.name == item.name).unwrap();
        assert!(
            item.value == spec.default || item.value.is_empty(),
            "{}",
            item.name
        );
    }
}

#[test]
fn a_redis_needs_its_feature() {
    let text = "config mtfetch\n\toption cache 'redis://127.0.0.1'\n";
    assert_eq!(Config::parse(text).is_ok(), cfg!(feature = "redis"));
}

/// The table of options in docs/mtfetch.md is made from the table here; `UPDATE=1 cargo test -p mtfetch --lib docs_` writes it.
#[test]
fn docs_have_the_table_of_options() {
    const HEAD: &str = "| option | default | type | what it is |\n|---|---|---|---|\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/mtfetch.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let mut table = HEAD.to_owned();
    for entry in options::MAIN {
        let (name, default, form) = (entry.spec.name, entry.default_text(), entry.type_text());
        table += &format!("| `{name}` | {default} | {form} | {} |\n", entry.help);
    }
    let (before, rest) = page.split_once(HEAD).expect("the table has this head");
    let (_, after) = rest.split_once("\n\n").expect("a blank line ends the table");
    let fresh = format!("{before}{table}\n{after}");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), fresh);
}
