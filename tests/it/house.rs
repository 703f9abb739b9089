//! The house rules, read from the sources: which room may look at which (the table of `src/lib.rs`, in both directions), no circles
//! between files, sizes of files and functions, where `unsafe` is, and a reason for every dependency.

mod source;

use source::{CRATES, File, Sources, root};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Lines of a file, tests in it not counted.
const MAX_FILE_LINES: usize = 450;
/// Lines of a function.
const MAX_FUNCTION_LINES: usize = 70;
/// Arguments of a function, `self` included.
const MAX_ARGUMENTS: usize = 6;
/// Lines of the function that serves a session.
const MAX_SESSION_LINES: usize = 60;
/// Files that are tables: their length is the number of their rows.
const TABLES: [&str; 2] = ["src/config/options.rs", "src/metrics/table.rs"];

/// The crates that each crate may use.
fn permitted_crates(name: &str) -> &'static [&'static str] {
    match name {
        "mtrelay" => &["mtrelay_core", "wire"],
        "mtfetch" => &["mtrelay_core", "wire"],
        "mtrelay_core" => &["wire"],
        "wire" => &["mtrelay_cipher"],
        _ => &[],
    }
}

fn fail_with(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The table in the documentation of `src/lib.rs`: each room with the rooms that it may look at.
fn map() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("src/lib.rs")).expect("the map is in src/lib.rs");
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | "));
    let names =
        |cell: &str| -> BTreeSet<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let mut map = BTreeMap::new();
    for row in rows.skip(1) {
        let cells: Vec<&str> = row.split('|').collect();
        let room = names(cells[0]).pop_first().expect("a room in the first column");
        map.insert(room, names(cells[2]));
    }
    let all: BTreeSet<String> = map.keys().cloned().collect();
    let daemon = map.get_mut("daemon").expect("the daemon is in the map");
    // "every room but `cli`", and nothing starts the program again.
    let but: BTreeSet<String> = [
        std::mem::take(daemon),
        ["main", "daemon"].map(str::to_owned).into(),
    ]
    .into_iter()
    .flatten()
    .collect();
    *daemon = &all - &but;
    map
}

#[test]
fn the_map_of_rooms_is_what_the_code_imports() {
    let sources = Sources::read();
    let map = map();
    assert!(map.len() > 10, "only {} rooms in the map", map.len());
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let relay = |file: &&File| CRATES[file.krate].name == "mtrelay" && !file.module.is_empty();
    for file in sources.files.iter().filter(relay) {
        used.entry(&file.module[0])
            .or_default()
            .extend(sources.rooms(file));
    }
    let mut wrong = Vec::new();
    for (room, used) in &used {
        match map.get(*room) {
            Some(allowed) => {
                wrong.extend(
                    used.difference(allowed)
                        .map(|other| format!("{room} looks at {other}: not in the map")),
                );
                wrong.extend(
                    allowed
                        .difference(used)
                        .map(|other| format!("the map says that {room} looks at {other}: it does not")),
                );
            }
            None => wrong.push(format!("the map has no room {room}")),
        }
    }
    wrong.extend(
        map.keys()
            .filter(|room| !used.contains_key(room.as_str()))
            .map(|room| format!("there is no room {room}")),
    );
    fail_with(&wrong);
}

#[test]
fn crates_use_only_crates_below_them() {
    let sources = Sources::read();
    let mut wrong = Vec::new();
    for file in &sources.files {
        let permitted = permitted_crates(CRATES[file.krate].name);
        for other in sources.crates(file) {
            let other = CRATES[other].name;
            if !permitted.contains(&other) && file.module != ["main"] {
                wrong.push(format!("{} uses {other}", file.path));
            }
        }
    }
    fail_with(&wrong);
}

/// Whether `to` can be reached from `from` in a graph.
fn reaches(graph: &[BTreeSet<usize>], from: usize, to: usize) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(at) = open.pop() {
        for next in &graph[at] {
            if *next == to {
                return true;
            }
            if seen.insert(*next) {
                open.push(*next);
            }
        }
    }
    false
}

#[test]
fn no_file_is_in_a_circle_with_another() {
    let sources = Sources::read();
    let graph: Vec<BTreeSet<usize>> = sources.files.iter().map(|file| sources.uses(file)).collect();
    let mut wrong = Vec::new();
    for (at, uses) in graph.iter().enumerate() {
        for other in uses {
            if at < *other && reaches(&graph, *other, at) {
                wrong.push(format!(
                    "{} and {} are in a circle",
                    sources.files[at].path, sources.files[*other].path
                ));
            }
            if at > *other && reaches(&graph, *other, at) {
                wrong.push(format!(
                    "{} → {} (in a circle)",
                    sources.files[at].path, sources.files[*other].path
                ));
            }
        }
    }
    fail_with(&wrong);
}

#[test]
fn no_file_takes_anything_from_its_parent() {
    let sources = Sources::read();
    let mut wrong = Vec::new();
    for file in sources.files.iter().filter(|file| file.module.len() > 1) {
        let parent = &file.module[..file.module.len() - 1];
        for used in sources.uses(file).into_iter().map(|used| &sources.files[used]) {
            if used.krate == file.krate && used.module == parent {
                wrong.push(format!("{} takes from its parent {}", file.path, used.path));
            }
        }
    }
    fail_with(&wrong);
}

#[test]
fn files_and_functions_are_of_a_size_to_read() {
    let sources = Sources::read();
    assert!(sources.files.len() > 100, "only {} sources", sources.files.len());
    let mut wrong = Vec::new();
    for file in &sources.files {
        let lines = file
            .text
            .lines()
            .take_while(|line| !line.starts_with("#[cfg(test)]"))
            .count();
        if lines > MAX_FILE_LINES && !TABLES.contains(&file.path.as_str()) {
            wrong.push(format!("{}: {lines} lines", file.path));
        }
        for function in file.functions.iter().filter(|function| !function.excused) {
            if function.lines > MAX_FUNCTION_LINES || function.arguments > MAX_ARGUMENTS {
                wrong.push(format!(
                    "{}:{}: {} has {} lines and {} arguments (a comment `// long: …` above gives the reason)",
                    file.path, function.line, function.name, function.lines, function.arguments
                ));
            }
        }
    }
    fail_with(&wrong);
}

#[test]
fn a_session_is_one_short_function_in_one_file() {
    let sources = Sources::read();
    let file = sources
        .files
        .iter()
        .find(|file| file.path == "src/relay/session.rs");
    let file = file.expect("a session has its file");
    let run = file
        .functions
        .iter()
        .find(|function| function.name == "run")
        .expect("its function");
    assert!(run.lines <= MAX_SESSION_LINES, "{} lines", run.lines);
    let text: Vec<&str> = file.text.lines().collect();
    let body = text[run.line..run.line + run.lines].join("\n");
    let stages = ["// Handshake", "// Admit", "// Connect", "// Duplex", "// Count"];
    let places = stages.map(|stage| body.find(stage).unwrap_or_else(|| panic!("no stage {stage}")));
    assert!(places.is_sorted(), "the stages are in the order of the bytes");
}

#[test]
fn unsafe_code_is_in_core_sys_alone() {
    let sources = Sources::read();
    let is_sys = |file: &File| file.path.starts_with("src/core/sys/") || file.path == "src/core/sys.rs";
    let found: Vec<String> = sources
        .files
        .iter()
        .filter(|file| file.has_unsafe && !is_sys(file))
        .map(|file| format!("{}: unsafe outside src/core/sys", file.path))
        .collect();
    fail_with(&found);
    assert!(
        sources.files.iter().any(|file| file.has_unsafe),
        "it is found where it is"
    );
}

#[test]
fn every_dependency_has_its_reason_above_it() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for manifest in [
        "Cargo.toml",
        "src/core/Cargo.toml",
        "src/wire/Cargo.toml",
        "src/wire/cipher/Cargo.toml",
        "src/fetch/Cargo.toml",
    ] {
        let text = fs::read_to_string(root().join(manifest)).expect("each crate has its manifest");
        let (mut in_dependencies, mut has_reason) = (false, false);
        for line in text.lines() {
            if line.starts_with('[') {
                in_dependencies = line.ends_with("dependencies]") || line.ends_with("dependencies\"]");
                has_reason = false;
            } else if line.starts_with('#') {
                has_reason = true;
            } else if line.trim().is_empty() {
                has_reason = false;
            } else if in_dependencies {
                seen += 1;
                // The reason of a workspace dependency is in the workspace's manifest.
                let is_ours = line.contains("workspace = true")
                    || line.contains("path = ")
                    || line.starts_with("wire")
                    || line.starts_with("mtrelay-core")
                    || line.starts_with("mtrelay-test");
                if !has_reason && !is_ours {
                    wrong.push(format!("{manifest}: {line}"));
                }
            }
        }
    }
    assert!(seen > 20, "only {seen} dependencies found");
    fail_with(&wrong);
}
