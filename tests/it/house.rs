//! Which room of the house may look at which: read from the sources, held against the table.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The room, and the rooms it may look at besides itself.
const RULES: [(&str, &[&str]); 14] = [
    ("main", &["cli"]),
    ("lib", &[]),
    ("cli", &["config", "link", "daemon", "http", "metrics", "probe"]),
    ("probe", &["metrics"]),
    (
        "daemon",
        &[
            "access", "config", "relay", "http", "metrics", "stats", "pool", "link", "probe", "ubus",
        ],
    ),
    ("access", &[]),
    ("config", &["access"]),
    ("link", &["config"]),
    ("relay", &["access", "pool", "stats"]),
    ("http", &["metrics"]),
    ("ubus", &["metrics"]),
    ("stats", &["metrics"]),
    ("metrics", &[]),
    ("pool", &[]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("the folder is readable").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The rooms named behind `prefix` (`crate::`), alone or in braces.
fn looks_at<'a>(code: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            rooms.insert(word(rest));
            continue;
        };
        let (mut depth, mut start) = (0, true);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && c.is_alphabetic() => {
                    rooms.insert(word(&list[at..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    rooms
}

#[test]
fn rooms_look_only_where_they_may() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&src, &mut paths);
    assert!(paths.len() > 40, "only {} sources", paths.len());
    let mut wrong = Vec::new();
    for path in paths {
        let inside = path.strip_prefix(&src).expect("found in src");
        let first = inside.iter().next().expect("not empty").to_string_lossy();
        let room = first.trim_end_matches(".rs");
        let text = fs::read_to_string(&path).expect("sources are readable");
        let code: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        let code = code.join("\n");
        let is_unsafe = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
        if !inside.starts_with("core/sys")
            && !inside.starts_with("core/sys.rs")
            && is_unsafe.iter().any(|word| code.contains(word))
        {
            wrong.push(format!("{}: unsafe outside src/sys", inside.display()));
        }
        if room == "wire" || room == "core" || room == "fetch" {
            let ours: &[&str] = match room {
                "wire" => &["mtrelay::", "mtrelay_core::", "mtfetch::"],
                "core" => &["mtrelay::", "mtfetch::"],
                _ => &["mtrelay::"],
            };
            for name in ours.iter().filter(|name| code.contains(**name)) {
                wrong.push(format!("{}: {room} looks at {name}", inside.display()));
            }
            continue;
        }
        if code.contains("mtfetch::") {
            wrong.push(format!("{}: {room} looks at fetch", inside.display()));
        }
        let rule = RULES.iter().find(|(name, _)| *name == room);
        let allowed = match rule {
            Some((_, allowed)) => *allowed,
            None => {
                wrong.push(format!("{}: the table has no room {room}", inside.display()));
                continue;
            }
        };
        for prefix in ["crate::", "mtrelay::"] {
            for other in looks_at(&code, prefix) {
                if other != room && !allowed.contains(&other) {
                    wrong.push(format!("{}: {room} looks at {other}", inside.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
