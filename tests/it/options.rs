//! The table of options, held against what is made from it or must agree with it: docs/options.md, the packaged file, the init script,
//! and docs/openwrt.md. `UPDATE=1 cargo test --test it options_page` writes docs/options.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mtrelay::config::Config;
use mtrelay::config::options::{DC, OptionEntry, RELAY, USER};

use crate::{SECRET, start};
use mtrelay_test_support::relay::Signal;
use mtrelay_test_support::{Client, FakeDc, Mode, RelayConfig, Script};

const HEAD: &str = "# Options of /etc/config/mtrelay

Generated from `src/config/options.rs` by `UPDATE=1 cargo test --test it options_page`.

The file has one `relay` section, one `user` section for each user, and a `dc` section for each data centre whose built-in addresses are
replaced. An absent or empty option has its default; `stats_listen`, set but empty, is off. A list takes any number of values, each in an
entry of its own or with spaces between them. A flag is `1`, `on`, `true`, `yes` or `enabled`, or one of their opposites. `mtrelay check`
reports every mistake with its line: a wrong value is an error, an unknown option a warning.

The column *change* says what puts a changed option in force:

- `reload`: a reload, which live sessions survive. *Save & Apply* on the LuCI page and `/etc/init.d/mtrelay reload` do it.
- `restart`: a restart of the service. A reload logs a warning.
- `service`: the init script restarts the service where a reload is not enough: for a port below 1024, for a capability, for a folder
  that the jail has not mounted, for the system call filter, and for the time limit of a stop. Otherwise a reload. `enabled` starts
  and stops the service.
";

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn change(entry: &OptionEntry) -> &'static str {
    match (entry.spec.restart, entry.restarts_service) {
        (false, false) => "reload",
        (true, false) => "restart",
        (false, true) => "service",
        (true, true) => "restart, service",
    }
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for (section, table) in [("relay", RELAY), ("user", USER), ("dc", DC)] {
        page += &format!(
            "\n## {section}\n\n| option | type | default | change | what it is |\n|---|---|---|---|---|\n"
        );
        for entry in table {
            page += &format!(
                "| `{}` | {} | {} | {} | {} |\n",
                entry.spec.name,
                entry.type_text(),
                entry.default_text(),
                change(entry),
                entry.help
            );
        }
    }
    page
}

#[test]
fn options_page_is_generated_from_the_table() {
    let path = root("docs/options.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, page()).expect("docs is writable");
    }
    assert_eq!(
        fs::read_to_string(&path).unwrap_or_default(),
        page(),
        "UPDATE=1 cargo test --test it options_page"
    );
}

#[test]
fn options_have_help_that_stands_alone() {
    for entry in RELAY.iter().chain(USER).chain(DC) {
        let (name, help) = (entry.spec.name, entry.help);
        assert!(help.ends_with('.') && help.len() > 20, "{name}: {help}");
        let first = help.chars().next().expect("it is not empty");
        assert!(first.is_uppercase() || help.starts_with("dd "), "{name}: {help}");
        assert!(!help.contains('|'), "{name}: a cell of a table has no bar");
    }
}

/// Options that the packaged file shows, also in its comments: `(section, option, value)`.
fn shown(text: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.trim_start_matches('#').split_whitespace().collect();
        match words[..] {
            ["config", kind, ..] => section = kind.to_owned(),
            ["option" | "list", name, ..] => {
                let value = line.split('\'').nth(1).expect("values are quoted");
                found.push((section.clone(), name.to_owned(), value.to_owned()));
            }
            _ => {}
        }
    }
    found
}

#[test]
fn the_packaged_file_shows_options_with_their_defaults() {
    let text = read("openwrt/files/etc/config/mtrelay");
    let (config, _) = Config::from_uci(&text).expect("the packaged file is valid");
    assert_eq!(config, Config::default(), "it means what an empty file means");
    let shown = shown(&text);
    assert!(shown.len() > 8, "{shown:?}");
    for (section, name, value) in shown {
        let table = match section.as_str() {
            "relay" => RELAY,
            "user" => USER,
            _ => DC,
        };
        let entry = table.iter().find(|entry| entry.spec.name == name);
        let entry = entry.unwrap_or_else(|| panic!("{section} has no option {name}"));
        assert!(
            entry.spec.default == value || entry.spec.default.is_empty(),
            "{name}: {value}"
        );
    }
}

/// The lines of the init script that are no comments.
fn script() -> String {
    let text = read("openwrt/files/etc/init.d/mtrelay");
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_init_script_restarts_for_the_options_of_the_table() {
    let script = script();
    let words: BTreeSet<&str> = script
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    let names = RELAY.iter().map(|entry| entry.spec.name);
    let read: BTreeSet<&str> = names.filter(|name| words.contains(name)).collect();
    let mut expected: BTreeSet<&str> = RELAY
        .iter()
        .filter(|entry| entry.restarts_service)
        .map(|entry| entry.spec.name)
        .collect();
    // The script reads one more, which opens the firewall and restarts nothing.
    assert!(expected.insert("open_wan"));
    assert_eq!(read, expected);
}

#[test]
fn the_init_script_has_the_defaults_of_the_table() {
    let script = script();
    let mut checked = 0;
    for line in script.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["config_get" | "config_get_bool", _, "\"$RELAY\"", name, default] = words[..] {
            let entry = RELAY.iter().find(|entry| entry.spec.name == name);
            assert_eq!(entry.map(|entry| entry.spec.default), Some(default), "{line}");
            checked += 1;
        }
    }
    assert_eq!(checked, 4, "enabled, open_wan, seccomp, drain_timeout");
    let listen = RELAY.iter().find(|entry| entry.spec.name == "listen");
    let listen = listen.expect("there are listeners").spec.default;
    assert!(
        script.contains(&format!("|| add_listener {listen}\n")),
        "{listen}"
    );
}

#[test]
fn docs_name_what_restarts_the_service() {
    let text = read("docs/openwrt.md").replace('\n', " ");
    let (_, rest) = text
        .split_once("cannot apply restarts the daemon:")
        .expect("docs/openwrt.md says what restarts the daemon");
    let rest = &rest[..rest.len().min(700)];
    for entry in RELAY.iter().filter(|entry| entry.restarts_service) {
        let name = entry.spec.name;
        let said = match name {
            // It stops the service.
            "enabled" => continue,
            "listen" => "a listener below port 1024",
            _ => name,
        };
        assert!(rest.contains(said), "{name}: {rest}");
    }
}

/// Figures of help texts that a constant decides: the option, its words, the room of the constant, and what the constant's line contains.
const FIGURES: [(&str, &str, &str, [&str; 2]); 6] = [
    (
        "pipe_size",
        "Empty: 1 MiB.",
        "src/daemon",
        ["PIPE_SIZE", "1 << 20"],
    ),
    ("pipes", "Empty: 4 to 32,", "src/daemon", ["PIPES", "4..=32"]),
    (
        "socket_memory_mb",
        "an eighth of the RAM",
        "src/daemon",
        ["SOCKET_MEMORY_DIVISOR", "= 8;"],
    ),
    (
        "clock_skew",
        "20 minutes behind",
        "src/daemon",
        ["CLOCK_BEHIND_S", "= 1200;"],
    ),
    (
        "clock_skew",
        "10 minutes ahead",
        "src/daemon",
        ["CLOCK_AHEAD_S", "= 600;"],
    ),
    (
        "limit_lan",
        "an eighth of the pending",
        "src/relay",
        ["SOURCE_SHARE_DIVISOR", "= 8;"],
    ),
];

#[test]
fn help_states_the_figures_of_the_code() {
    for (name, words, room, parts) in FIGURES {
        let entry = RELAY.iter().chain(USER).find(|entry| entry.spec.name == name);
        let entry = entry.unwrap_or_else(|| panic!("no option {name}"));
        assert!(entry.help.contains(words), "{name}: {}", entry.help);
        let is_decided = rust_files(&root(room)).iter().any(|file| {
            let text = fs::read_to_string(file).expect("sources are readable");
            text.lines()
                .any(|line| line.contains("const ") && parts.iter().all(|part| line.contains(part)))
        });
        assert!(is_decided, "{name}: no constant in {room} has {parts:?}");
    }
}

/// All Rust files below a folder.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the entry is readable").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// `drain_timeout 0` means one thing to the daemon, the init script, the table and the page: sessions end at once.
#[test]
fn drain_timeout_0_ends_sessions_at_once() {
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::simple(SECRET, dc.addr());
    let mut relay = start(&config.option("drain_timeout", 0).option("idle_timeout", 0));
    let mut client = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    client.send(b"held").expect("it is taken");
    client.recv_exact(4).expect("it comes back");
    relay.signal(Signal::TERM);
    assert_eq!(relay.wait_exit().code(), Some(0));
    let close = relay.wait_closes(1).remove(0);
    assert_eq!(close.reason, "shutdown");

    let script = script();
    assert!(
        script.contains("procd_set_param term_timeout $((drain + 5))"),
        "procd waits no longer than the daemon takes"
    );
    let entry = RELAY.iter().find(|entry| entry.spec.name == "drain_timeout");
    let help = entry.expect("it is an option").help;
    assert!(help.ends_with("0: they are ended at once."), "{help}");
}

/// Defaults that pages state: `` `OPTION` (VALUE `` and table rows `` | `OPTION` | VALUE | `` with a number, in any page but the generated one
/// and that of mtfetch.
#[test]
fn docs_state_the_defaults_of_the_table() {
    let mut checked = 0;
    let mut wrong = Vec::new();
    for file in fs::read_dir(root("docs")).expect("docs is readable") {
        let path = file.expect("the entry is readable").path();
        let is_other = path.ends_with("options.md") || path.ends_with("mtfetch.md");
        if is_other || path.extension().is_none_or(|ending| ending != "md") {
            continue;
        }
        let text = fs::read_to_string(&path)
            .expect("the page is readable")
            .replace('\n', " ");
        for entry in RELAY
            .iter()
            .filter(|entry| entry.spec.default.parse::<u32>().is_ok())
        {
            let name = entry.spec.name;
            for form in [format!("`{name}` ("), format!("| `{name}` | ")] {
                for rest in text.split(&form).skip(1) {
                    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
                    if digits.is_empty() {
                        continue;
                    }
                    checked += 1;
                    if digits != entry.spec.default {
                        wrong.push(format!("{}: {name} {digits}", path.display()));
                    }
                }
            }
        }
    }
    assert!(checked >= 2, "only {checked} defaults");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
