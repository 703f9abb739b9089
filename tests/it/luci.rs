//! The page's table of options, held against the daemon's own: names, defaults, bounds, choices, checks and help; and its words for every
//! counter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use mtrelay::config::Config;
use mtrelay::config::options::{DC, OptionEntry, OptionKind, RELAY, USER};
use mtrelay::metrics::table::{self as metrics, Metric};
use mtrelay_core::close::{CloseReason, ConnectFailure, Reject};

const MODULES: &str = "luci/htdocs/luci-static/resources/mtrelay";

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(MODULES).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One line of the page's table: `max_ips: number('0', 0, 100000),`.
#[derive(Debug)]
struct Line {
    kind: String,
    default: String,
    /// What follows the default, as it is written.
    rest: Vec<String>,
}

fn table(constant: &str) -> BTreeMap<String, Line> {
    let text = read("schema.js");
    let (_, body) = text
        .split_once(&format!("const {constant} = {{\n"))
        .expect("the table is there");
    let (body, _) = body.split_once("\n};").expect("the table ends");
    let line = |line: &str| {
        let (name, call) = line.trim().split_once(": ").expect("name: kind(…)");
        let (kind, arguments) = call.split_once('(').expect("kind(…)");
        let arguments = arguments.trim_end_matches(',').trim_end_matches(')');
        let (default, rest) = arguments.split_once(", ").unwrap_or((arguments, ""));
        let line = Line {
            kind: kind.to_owned(),
            default: default.trim_matches('\'').to_owned(),
            rest: rest
                .trim_matches(['[', ']', ' '])
                .split(", ")
                .map(|word| word.trim_matches('\'').to_owned())
                .collect(),
        };
        (name.to_owned(), line)
    };
    body.lines().map(line).collect()
}

fn sections() -> [(&'static str, &'static [OptionEntry], BTreeMap<String, Line>); 3] {
    [
        ("relay", RELAY, table("RELAY")),
        ("user", USER, table("USER")),
        ("dc", DC, table("DC")),
    ]
}

#[test]
fn the_page_knows_every_option_with_its_default() {
    for (section, specs, table) in sections() {
        let names: Vec<&str> = specs.iter().map(|entry| entry.spec.name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(
            table.keys().map(String::as_str).collect::<Vec<_>>(),
            sorted,
            "{section}"
        );
        for spec in specs.iter().map(|entry| entry.spec) {
            let line = &table[spec.name];
            assert_eq!(line.default, spec.default, "{section} {}", spec.name);
            // `modes` are words, chosen from a few.
            let is_list = line.kind == "list" || spec.name == "modes";
            assert_eq!(is_list, spec.list, "{section} {}: {line:?}", spec.name);
        }
    }
}

#[test]
fn the_page_has_the_types_of_the_table() {
    for (section, specs, table) in sections() {
        for spec in specs.iter().map(|entry| entry.spec) {
            let line = &table[spec.name];
            let rest: Vec<&str> = line.rest.iter().map(String::as_str).collect();
            let place = format!("{section} {}: {line:?}", spec.name);
            match spec.kind {
                OptionKind::Flag => assert_eq!((&*line.kind, &rest[..]), ("flag", &[""][..]), "{place}"),
                OptionKind::FlagOrAuto => {
                    assert_eq!(
                        (&*line.kind, &rest[..]),
                        ("choice", &["auto", "1", "0"][..]),
                        "{place}"
                    );
                }
                OptionKind::Choice(words) | OptionKind::Words(words) => {
                    assert_eq!((&*line.kind, &rest[..]), ("choice", words), "{place}");
                }
                OptionKind::Number { min, max, auto } => {
                    let kind = if auto { "numberOrAuto" } else { "number" };
                    assert_eq!(line.kind, kind, "{place}");
                    assert_eq!(rest, [min.to_string(), max.to_string()], "{place}");
                }
                OptionKind::Text => {
                    let kind = if spec.list { "list" } else { "text" };
                    assert_eq!(line.kind, kind, "{place}");
                    assert!(
                        rest.len() == 1 && rest[0].len() > 2,
                        "a check has a name: {place}"
                    );
                }
            }
        }
    }
}

/// The text of `_('…')` at the start of `source`, behind white space, and the rest.
fn translated(source: &str) -> Option<(String, &str)> {
    let body = source.trim_start().strip_prefix("_('")?;
    let mut text = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => text.push(chars.next()?.1),
            '\'' => return Some((text, body[at + 1..].strip_prefix(')')?)),
            _ => text.push(c),
        }
    }
    None
}

#[test]
fn the_page_has_the_help_of_the_table() {
    let views = [("settings.js", RELAY), ("users.js", USER), ("dcs.js", DC)];
    for (view, entries) in views {
        let text = read(&format!("../view/mtrelay/{view}"));
        for entry in entries {
            let name = entry.spec.name;
            // `add(s, 'tab', form.Value, 'name', _('Title'), _('Help'))`; a title follows no other mention of a name.
            let help = text.split(&format!("'{name}', ")).skip(1).find_map(|rest| {
                let (_, rest) = translated(rest)?;
                translated(rest.strip_prefix(',')?)
            });
            let help = help.map(|(help, _)| help);
            assert_eq!(help.as_deref(), Some(entry.help), "{view} {name}");
        }
    }
}

/// Every word of a choice has a text on the page.
#[test]
fn the_page_names_every_choice() {
    let views = [("settings.js", RELAY), ("users.js", USER)];
    for (view, entries) in views {
        let text = read(&format!("../view/mtrelay/{view}"));
        for entry in entries {
            let words: &[&str] = match entry.spec.kind {
                OptionKind::Choice(words) | OptionKind::Words(words) => words,
                OptionKind::FlagOrAuto => &["auto", "1", "0"],
                _ => continue,
            };
            let name = entry.spec.name;
            let (_, rest) = text
                .split_once(&format!("'{name}', _('"))
                .expect("it is on the page");
            let rest = rest.split("'service', form").next().unwrap_or(rest);
            for word in words {
                let is_named = [
                    format!("{word}: "),
                    format!("'{word}': "),
                    format!("value('{word}', "),
                ]
                .iter()
                .any(|form| rest.contains(form));
                assert!(is_named, "{view} {name}: {word}");
            }
        }
    }
}

/// What the daemon says against one option with this value, if anything.
fn refusal(section: &str, name: &str, value: &str) -> Option<String> {
    let mut text = format!("config {section}\n");
    if section == "user" {
        text += "\toption name 'a'\n\toption secret '6ab1f50c3e9d27884fd2b0179ce35a61'\n";
    }
    text += &format!("\toption {name} '{value}'\n");
    let problems = Config::from_uci(&text).err()?;
    let own = format!("{name} '{value}'");
    let mut told = problems.into_iter().map(|problem| problem.text);
    told.find(|text| text.contains(&own))
}

#[test]
fn the_page_has_the_bounds_of_the_daemon() {
    let mut checked = 0;
    for (section, _, table) in sections() {
        for (name, line) in table {
            if !line.kind.starts_with("number") {
                continue;
            }
            let bound = |at: usize| line.rest[at].parse::<i64>().expect("a bound is a number");
            let (low, high) = (bound(0), bound(1));
            for good in [low, high] {
                assert_eq!(
                    refusal(section, &name, &good.to_string()),
                    None,
                    "{section} {name}"
                );
            }
            for bad in [low - 1, high + 1] {
                assert!(
                    refusal(section, &name, &bad.to_string()).is_some(),
                    "{section} {name} takes {bad}"
                );
            }
            let takes_auto = refusal(section, &name, "auto").is_none();
            assert_eq!(takes_auto, line.kind == "numberOrAuto", "{section} {name}");
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn the_page_has_the_choices_of_the_daemon() {
    for (section, _, table) in sections() {
        for (name, line) in table.iter().filter(|(_, line)| line.kind == "choice") {
            for word in &line.rest {
                assert_eq!(refusal(section, name, word), None, "{section} {name}");
            }
            assert!(
                refusal(section, name, "perhaps").is_some(),
                "{section} {name} takes anything"
            );
        }
    }
}

/// The page's sentence for each path of a number: the lines `'sessions.active': _('…'),`.
fn metric_helps() -> BTreeMap<String, String> {
    let text = read("metrics.js");
    let (_, body) = text.split_once("const HELP = {\n").expect("the table is there");
    let (body, _) = body.split_once("\n};").expect("the table ends");
    let line = |line: &str| {
        let (path, text) = line.trim().split_once(": ").expect("'path': _('…')");
        let (help, _) = translated(text).expect("a text");
        (path.trim_matches('\'').to_owned(), help)
    };
    body.lines().map(line).collect()
}

#[test]
fn the_page_has_the_help_of_the_metrics() {
    let prefixes: [(&str, &[Metric]); 4] = [
        ("dcs.", &metrics::DC),
        ("addresses.", &metrics::ADDRESS),
        ("users.", &metrics::USER),
        ("", &metrics::RELAY),
    ];
    let mut checked = 0;
    for (path, help) in metric_helps() {
        let (prefix, rows) = prefixes
            .into_iter()
            .find(|(prefix, _)| path.starts_with(prefix))
            .expect("the last one fits all");
        let own = &path[prefix.len()..];
        let row = rows.iter().find(|metric| metric.path == own);
        assert_eq!(row.map(|metric| metric.help), Some(&*help), "{path}");
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
}

/// The words that stand in `text` between `before` and the next character that no path has.
fn paths_behind<'a>(text: &'a str, before: &str) -> BTreeSet<&'a str> {
    let path = |rest: &'a str| {
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && !matches!(c, '_' | '.'));
        &rest[..end.unwrap_or(rest.len())]
    };
    text.split(before).skip(1).map(path).collect()
}

#[test]
fn every_number_on_the_page_has_its_tooltip() {
    let helps = metric_helps();
    let view = |name: &str| read(&format!("../view/mtrelay/{name}"));
    let (overview, users) = (view("overview.js"), view("users.js"));
    let body_of = |name: &str| {
        let (_, body) = overview
            .split_once(&format!("function {name}("))
            .expect("the function is there");
        body.split("\n}").next().expect("it ends").to_owned()
    };
    let mut shown = BTreeSet::new();
    let cards = overview.split_once("function showCards").expect("it is there").1;
    let cards = cards.split("\n\t\t}").next().expect("it ends");
    for path in paths_behind(cards, "at('") {
        if !matches!(path, "version" | "buffers.size") {
            shown.insert(
                path.strip_suffix(".up")
                    .or(path.strip_suffix(".down"))
                    .unwrap_or(path)
                    .to_owned(),
            );
        }
    }
    shown.extend(
        paths_behind(&overview, "wordTable('")
            .into_iter()
            .map(str::to_owned),
    );
    for (function, prefix) in [
        ("dcRow", "dcs."),
        ("addressLine", "addresses."),
        ("loadUsers", "users."),
    ] {
        let body = body_of(function);
        for before in ["row.", "address."] {
            for field in paths_behind(&body, before) {
                let is_text = matches!(
                    field,
                    "" | "address" | "last_error" | "expires" | "name" | "state.levels"
                );
                if !is_text {
                    shown.insert(format!("{prefix}{field}"));
                }
            }
        }
        if body.contains("downUp(row)") {
            shown.insert(format!("{prefix}bytes"));
        }
    }
    for field in paths_behind(&users, "user.") {
        if matches!(field, "quota" | "quota_used" | "active") {
            shown.insert(format!("users.{field}"));
        }
    }
    let shown: BTreeSet<String> = shown.into_iter().filter(|path| !path.is_empty()).collect();
    let explained: BTreeSet<String> = helps.keys().cloned().collect();
    assert_eq!(shown, explained, "numbers on the page, and those with a sentence");
    for path in &explained {
        let is_used = [&overview, &users].into_iter().any(|text| {
            text.split("metrics.help(").skip(1).any(|call| {
                call.split(')')
                    .next()
                    .is_some_and(|list| list.contains(&format!("'{path}'")))
            })
        });
        let is_set = ["closes", "connect_failures", "rejects"].contains(&&**path);
        assert!(
            is_used || (is_set && overview.contains("metrics.help(set)")),
            "{path}"
        );
    }
}

/// Each word with its meaning, in the order of the daemon.
fn meanings<const N: usize>(words: [(&str, &str); N]) -> Vec<(String, String)> {
    words
        .map(|(word, meaning)| (word.to_owned(), meaning.to_owned()))
        .to_vec()
}

#[test]
fn the_page_explains_every_word_as_the_daemon_does() {
    let text = read("words.js");
    let words_of = |constant: &str| -> Vec<(String, String)> {
        let (_, body) = text
            .split_once(&format!("const {constant} = {{\n"))
            .expect("the words are there");
        let (body, _) = body.split_once("\n};").expect("the words end");
        let word = |line: &str| {
            let (word, text) = line.trim().split_once(": ").expect("word: _('…')");
            (word.to_owned(), translated(text).expect("a text").0)
        };
        body.lines().map(word).collect()
    };
    let closes = CloseReason::ALL.map(|word| (word.name(), word.meaning()));
    let failures = ConnectFailure::ALL.map(|word| (word.name(), word.meaning()));
    let rejects = Reject::ALL.map(|word| (word.name(), word.meaning()));
    assert_eq!(words_of("CLOSES"), meanings(closes));
    assert_eq!(words_of("CONNECT_FAILURES"), meanings(failures));
    assert_eq!(words_of("REJECTS"), meanings(rejects));
}
