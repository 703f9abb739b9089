//! The documents, held against the tree they describe: links, paths, targets of `make`, and the words that prose avoids.
//!
//! `make docs-check` runs this module and the spelling; the generated pages have tests of their own with `docs` in their names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

mod agreement;
mod words;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Folders that hold nothing written by hand.
const SKIPPED: [&str; 6] = [
    "target",
    "dist",
    "node_modules",
    "corpus",
    "artifacts",
    "__pycache__",
];

/// All files below `folder` for which `wanted` says yes, sorted.
fn files(folder: &str, wanted: fn(&Path) -> bool) -> Vec<PathBuf> {
    fn walk(folder: &Path, wanted: fn(&Path) -> bool, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("the folder is readable") {
            let path = entry.expect("the entry is readable").path();
            let name = path
                .file_name()
                .expect("it has a name")
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
                    walk(&path, wanted, found);
                }
            } else if wanted(&path) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), wanted, &mut found);
    found.sort();
    assert!(!found.is_empty(), "{folder} holds no such file");
    found
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    path.extension()
        .is_some_and(|ending| endings.contains(&&*ending.to_string_lossy()))
}

fn pages() -> Vec<PathBuf> {
    files("", |path| has_ending(path, &["md"]))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The page without its fenced blocks.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push(line);
        }
    }
    lines.join("\n")
}

/// What stands in backticks, outside of fenced blocks.
fn code_spans(prose: &str) -> Vec<&str> {
    prose.split('`').skip(1).step_by(2).collect()
}

/// The page's prose without what stands in backticks.
fn words_only(prose: &str) -> String {
    prose.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

/// Targets of `[text](target)` and `![text](target)`.
fn links(prose: &str) -> Vec<&str> {
    let targets = prose.split("](").skip(1);
    targets
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
        .collect()
}

/// The anchors that GitHub makes of the page's headings.
fn anchors(prose: &str) -> BTreeSet<String> {
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

fn report(wrong: &[String]) {
    assert!(
        wrong.is_empty(),
        "{} mistakes:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn docs_links_lead_somewhere() {
    let mut wrong = Vec::new();
    let mut followed = 0;
    for page in pages() {
        let text = prose(&read(&page));
        let folder = page.parent().expect("a page has a folder");
        for target in links(&text) {
            if target.contains("://") {
                continue;
            }
            followed += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let led = if path.is_empty() {
                page.clone()
            } else {
                folder.join(path)
            };
            if !led.exists() {
                wrong.push(format!("{}: {target} does not exist", name(&page)));
            } else if !anchor.is_empty() && !anchors(&prose(&read(&led))).contains(anchor) {
                wrong.push(format!("{}: {target} names no heading", name(&page)));
            }
        }
    }
    assert!(followed > 20, "only {followed} links");
    report(&wrong);
}

#[test]
fn docs_name_only_paths_that_exist() {
    const ROOMS: [&str; 5] = ["src/", "tests/", "openwrt/", "luci/", "docs/"];
    let mut wrong = Vec::new();
    let mut checked = 0;
    for page in pages() {
        for span in code_spans(&prose(&read(&page))) {
            let path = span.split([':', ' ']).next().unwrap_or(span);
            let is_pattern = path.contains(['*', '{', '…', '<', 'N']) && !root().join(path).exists();
            if ROOMS.iter().any(|room| path.starts_with(room)) && !is_pattern {
                checked += 1;
                if !root().join(path).exists() {
                    wrong.push(format!("{}: {path} does not exist", name(&page)));
                }
            }
        }
    }
    assert!(checked > 10, "only {checked} paths");
    report(&wrong);
}

#[test]
fn docs_named_in_sources_exist() {
    let sources = |path: &Path| {
        has_ending(path, &["rs", "py", "js", "toml", "conf", "sh"])
            || ["Makefile", "run"].iter().any(|name| path.ends_with(name))
    };
    let mut wrong = Vec::new();
    for file in files("", sources)
        .into_iter()
        .filter(|file| !file.ends_with(file!()))
    {
        for (at, _) in read(&file).match_indices("docs/") {
            let text = read(&file);
            let (before, rest) = (&text[..at], &text[at..]);
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"/._-".contains(c));
            let path = rest[..end.unwrap_or(rest.len())].trim_end_matches('.');
            // `tests/docs/…` or a URL is another place.
            let is_ours = !before.ends_with('/') && path.ends_with(".md");
            if is_ours && !root().join(path).exists() {
                wrong.push(format!("{}: {path} does not exist", name(&file)));
            }
        }
    }
    report(&wrong);
}

#[test]
fn docs_name_only_targets_that_make_has() {
    let makefile = read(&root().join("Makefile"));
    let is_target = |word: &str| makefile.lines().any(|line| line.starts_with(&format!("{word}:")));
    let mut wrong = Vec::new();
    let mut checked = 0;
    for page in pages() {
        let text = read(&page);
        let fenced = text.lines().filter_map(|line| line.strip_prefix("make "));
        let prose = prose(&text);
        let spans = code_spans(&prose);
        let inline = spans.iter().filter_map(|span| span.strip_prefix("make "));
        for rest in fenced.chain(inline) {
            let target = rest.split([' ', '\n']).next().unwrap_or(rest);
            checked += 1;
            if !is_target(target) {
                wrong.push(format!("{}: make {target}", name(&page)));
            }
        }
    }
    assert!(checked > 20, "only {checked} targets");
    report(&wrong);
}

#[test]
fn docs_are_all_listed() {
    let mut seen = BTreeSet::new();
    let mut open = vec![root().join("README.md")];
    while let Some(page) = open.pop() {
        if !seen.insert(page.canonicalize().expect("the page exists")) {
            continue;
        }
        let folder = page.parent().expect("a page has a folder").to_owned();
        for target in links(&prose(&read(&page))) {
            let path = folder.join(target.split('#').next().unwrap_or(target));
            if has_ending(&path, &["md"]) && path.exists() {
                open.push(path);
            }
        }
    }
    let unlisted = files("docs", |path| has_ending(path, &["md"]))
        .into_iter()
        .filter(|page| !seen.contains(&page.canonicalize().expect("it was found")));
    report(
        &unlisted
            .map(|page| format!("{}: no page leads to it", name(&page)))
            .collect::<Vec<_>>(),
    );
}
