//! The page's table of options, held against the daemon's own: names, defaults, bounds, choices, checks and help; and its words for every
//! counter.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mtrelay::config::Config;
use mtrelay::config::options::{DC, OptionEntry, OptionKind, RELAY, USER};
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

#[test]
fn the_page_explains_every_word() {
    let text = read("words.js");
    let words_of = |constant: &str| -> Vec<String> {
        let (_, body) = text
            .split_once(&format!("const {constant} = {{\n"))
            .expect("the words are there");
        let (body, _) = body.split_once("\n};").expect("the words end");
        let word = |line: &str| {
            line.trim()
                .split_once(": _('")
                .expect("word: _('…')")
                .0
                .to_owned()
        };
        body.lines().map(word).collect()
    };
    assert_eq!(words_of("CLOSES"), CloseReason::ALL.map(|word| word.name()));
    assert_eq!(
        words_of("CONNECT_FAILURES"),
        ConnectFailure::ALL.map(|word| word.name())
    );
    assert_eq!(words_of("REJECTS"), Reject::ALL.map(|word| word.name()));
}
