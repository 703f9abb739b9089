//! The documents, held against the tree they describe: links, paths, targets of `make`, and the words that STYLE forbids.
//!
//! `make docs-check` runs this module and the spelling; the generated pages have tests of their own with `docs` in their names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

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
    /// Files that the pages describe already and that are about to be written.
    const COMING: [&str; 9] = [
        "tests/README.md",
        "docs/options.md",
        "docs/metrics.md",
        "src/metrics/table.rs",
        "src/relay/session.rs",
        "src/relay/handshake.rs",
        "src/relay/first_request.rs",
        "src/relay/flow_control.rs",
        "src/daemon/scheduler.rs",
    ];
    const ROOMS: [&str; 5] = ["src/", "tests/", "openwrt/", "luci/", "docs/"];
    let mut wrong = Vec::new();
    let mut checked = 0;
    for page in pages() {
        for span in code_spans(&prose(&read(&page))) {
            let path = span.split([':', ' ']).next().unwrap_or(span);
            let is_pattern = path.contains(['*', '{', '…', '<', 'N']) && !root().join(path).exists();
            if ROOMS.iter().any(|room| path.starts_with(room)) && !is_pattern && !COMING.contains(&path) {
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

/// Words that mark a sentence to write again, and what to write in their place.
const FORBIDDEN: [(&str, &str); 7] = [
    ("whoever", "name the party: a client, an owner, a program"),
    ("nobody", "name who does not"),
    ("anew", "again, or the verb alone"),
    ("for ever", "without end, or for good"),
    ("so many", "the number"),
    ("stranger", "an unauthenticated client"),
    ("strangers", "unauthenticated clients"),
];

/// The lines of a text that a reader of the outside sees, by kind of file.
fn visible(path: &Path, text: &str) -> String {
    if has_ending(path, &["md"]) {
        return words_only(&prose(text));
    }
    if has_ending(path, &["js"]) {
        return text
            .split("_('")
            .skip(1)
            .map(|rest| rest.split("')").next().unwrap_or(rest))
            .collect::<Vec<_>>()
            .join("\n");
    }
    let comments = text
        .lines()
        .filter_map(|line| line.split_once('#').map(|(_, comment)| comment));
    comments.collect::<Vec<_>>().join("\n")
}

#[test]
fn docs_have_no_words_of_a_private_language() {
    let mut read_files = pages();
    read_files.extend(files("luci/htdocs", |path| has_ending(path, &["js"])));
    read_files.extend(files("openwrt", |path| {
        !has_ending(path, &["json", "md", "ld", "pyc"])
    }));
    let mut wrong = Vec::new();
    for file in read_files {
        let text = visible(&file, &read(&file)).to_lowercase();
        for (at, line) in text.lines().enumerate() {
            let words: Vec<&str> = line
                .split(|c: char| !c.is_alphanumeric())
                .filter(|word| !word.is_empty())
                .collect();
            let spaced = format!(" {} ", words.join(" "));
            for (word, better) in FORBIDDEN {
                if spaced.contains(&format!(" {word} ")) {
                    wrong.push(format!(
                        "{}: line {} of its prose says {word:?}: {better}",
                        name(&file),
                        at + 1
                    ));
                }
            }
        }
    }
    report(&wrong);
}

#[test]
fn docs_name_no_machine() {
    let texts = |path: &Path| {
        has_ending(path, &["md", "rs", "py", "js", "toml", "html"]) || path.ends_with("Makefile")
    };
    let mut wrong = Vec::new();
    for file in files("", texts) {
        // The words are put together here so that this file does not hold them.
        for place in ["/work", "/home", "/Users"].map(|place| format!("{place}/")) {
            if read(&file).contains(&place) {
                wrong.push(format!("{}: {place}", name(&file)));
            }
        }
    }
    report(&wrong);
}

/// Every verdict that docs/luci.md explains is one that the page can say, with numbers in place of its placeholders.
#[test]
fn docs_quote_luci_as_it_speaks() {
    let texts: String = ["verdict.js", "daemon.js"]
        .map(|file| {
            read(
                &root()
                    .join("luci/htdocs/luci-static/resources/mtrelay")
                    .join(file),
            )
        })
        .concat();
    let said: Vec<&str> = texts
        .split("_('")
        .skip(1)
        .filter_map(|rest| rest.split("')").next())
        .collect();
    let page = read(&root().join("docs/luci.md"));
    let (_, table) = page
        .split_once("| it says | it means |\n|---|---|\n")
        .expect("the table is there");
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 5, "{rows:?}");
    let mut wrong = Vec::new();
    for row in rows {
        let quoted = row.split('|').nth(1).expect("a cell").trim();
        let is_said = said.iter().any(|text| {
            let parts: Vec<&str> = text.split("%s").flat_map(|part| part.split("%d")).collect();
            let mut rest = quoted;
            parts.iter().all(|part| match rest.find(part) {
                Some(at) => {
                    rest = &rest[at + part.len()..];
                    true
                }
                None => false,
            }) && quoted.starts_with(parts[0])
                && rest.is_empty()
        });
        if !is_said {
            wrong.push(format!("docs/luci.md: the page never says {quoted:?}"));
        }
    }
    report(&wrong);
}

#[test]
fn docs_name_every_fuzz_target() {
    let page = read(&root().join("docs/security.md"));
    for target in files("tests/fuzz/targets", |path| has_ending(path, &["rs"])) {
        let target = target.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(
            page.contains(&format!("`{target}`")),
            "docs/security.md does not name the fuzz target {target}"
        );
    }
}

/// `cargo test … --test it NAME` in a page or in the Makefile selects at least one test.
#[test]
fn docs_name_tests_that_exist() {
    let mut texts = pages();
    texts.push(root().join("Makefile"));
    let mut sources = String::new();
    for file in files("tests", |path| has_ending(path, &["rs"])) {
        let module = file.file_stem().expect("a name").to_string_lossy().into_owned();
        sources.push_str(&format!("\nmod {module};\n{}", read(&file)));
    }
    let mut checked = 0;
    let mut wrong = Vec::new();
    for page in texts {
        let text = read(&page);
        for rest in text.lines().flat_map(|line| line.split("--test ").skip(1)) {
            let command = rest.split('`').next().unwrap_or(rest);
            let filters = command
                .split(' ')
                .skip(1)
                .filter(|word| !word.is_empty() && !word.starts_with('-'));
            for filter in filters.filter(|filter| *filter != "NAME") {
                checked += 1;
                let parts: Vec<&str> = filter.split("::").filter(|part| !part.is_empty()).collect();
                let exists = parts.iter().all(|part| {
                    sources.contains(&format!("fn {part}")) || sources.contains(&format!("mod {part}"))
                });
                if !exists && !sources.contains(filter) {
                    wrong.push(format!("{}: no test is called {filter}", name(&page)));
                }
            }
        }
    }
    assert!(checked > 5, "only {checked} filters");
    report(&wrong);
}

/// Figures that a page states and a constant decides: the page, its words, the room of the constant, the constant's value as it is
/// written. A figure that changes in one place fails here until it changes in both.
const FIGURES: [(&str, &str, &str, &str); 22] = [
    (
        "dialing.md",
        "The next attempt starts 250 ms",
        "src/core/dial",
        "from_millis(250)",
    ),
    (
        "dialing.md",
        "cools down for about 2 s",
        "src/core/dial",
        "from_secs(2)",
    ),
    ("dialing.md", "up to 5 min", "src/core/dial", "from_secs(300)"),
    (
        "dialing.md",
        "start one second after",
        "src/core/dial",
        "from_secs(1)",
    ),
    (
        "dialing.md",
        "during the last ten minutes",
        "src/core/dial",
        "from_secs(600)",
    ),
    ("dialing.md", "45 to 60 s old", "src/core/dial", "from_secs(60)"),
    (
        "dialing.md",
        "acknowledges nothing for 300 s",
        "src/core/sys",
        "from_secs(300)",
    ),
    (
        "dialing.md",
        "after 600 s without a byte",
        "src/core/sys",
        "from_secs(600)",
    ),
    (
        "performance.md",
        "| TCP_USER_TIMEOUT | 300 s |",
        "src/core/sys",
        "from_secs(300)",
    ),
    (
        "performance.md",
        "600 s idle, then every 60 s",
        "src/core/sys",
        "from_secs(60)",
    ),
    ("performance.md", "(`pipe_size` 1 MiB)", "src/daemon", "1 << 20"),
    ("performance.md", "more than 2 ms", "src/relay", "from_millis(2)"),
    (
        "performance.md",
        "A confirmed client 5 ms away",
        "src/relay",
        "from_millis(5)",
    ),
    (
        "security.md",
        "at most 512 pending handshakes",
        "src/daemon",
        "512",
    ),
    (
        "security.md",
        "after 200 ms gets its connection to the site",
        "src/relay",
        "from_millis(200)",
    ),
    ("security.md", "within −20 and +10 minutes", "src/daemon", "1200"),
    (
        "ubus.md",
        "the first attempt follows after 250 ms",
        "src",
        "from_millis(250)",
    ),
    ("ubus.md", "more than 8 KiB of arguments", "src/ubus", "8 << 10"),
    (
        "ubus.md",
        "An answer has at most 256 KiB",
        "src/ubus",
        "256 << 10",
    ),
    (
        "ubus.md",
        "at most 64 KiB and one answer are queued",
        "src/ubus",
        "64 << 10",
    ),
    ("ubus.md", "closed after 30 s", "src/ubus", "from_secs(30)"),
    (
        "ubus.md",
        "at most 10 s; other calls",
        "src/daemon",
        "from_secs(10)",
    ),
];

#[test]
fn docs_state_the_figures_of_the_code() {
    let mut wrong = Vec::new();
    for (page, words, room, value) in FIGURES {
        let text = read(&root().join("docs").join(page)).replace('\n', " ");
        if !text.contains(words) {
            wrong.push(format!("docs/{page} no longer says {words:?}"));
        }
        let sources = files(room, |path| has_ending(path, &["rs"]));
        // Only constants count, not tests.
        let decides = |line: &str| line.contains("const ") && line.contains(value);
        if !sources.iter().any(|file| read(file).lines().any(decides)) {
            wrong.push(format!(
                "docs/{page} says {words:?}, and no constant in {room} is {value}"
            ));
        }
    }
    report(&wrong);
}

/// A word that a page uses as an option (`option NAME '…'`, `mtrelay.main.NAME=…`) is one. The names are those of LuCI's table, which
/// another test compares with the daemon's.
#[test]
fn docs_name_only_options_that_exist() {
    let table = read(&root().join("luci/htdocs/luci-static/resources/mtrelay/schema.js"));
    let is_option = |word: &str| {
        table
            .lines()
            .any(|line| line.trim_start().starts_with(&format!("{word}: ")))
    };
    let mut wrong = Vec::new();
    let mut checked = 0;
    for page in pages()
        .into_iter()
        .filter(|page| !page.ends_with("docs/mtfetch.md"))
    {
        let text = read(&page);
        for line in text.lines() {
            for rest in line
                .split("option ")
                .skip(1)
                .chain(line.split("mtrelay.main.").skip(1))
            {
                let word = rest
                    .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .next()
                    .unwrap_or("");
                let is_written_as_option = rest[word.len()..].starts_with([' ', '=', '`']) && word.len() > 2;
                let has_value = rest[word.len()..].trim_start().starts_with(['\'', '=', '`']);
                if is_written_as_option && has_value {
                    checked += 1;
                    if !is_option(word) {
                        wrong.push(format!("{}: option {word}", name(&page)));
                    }
                }
            }
        }
    }
    assert!(checked > 8, "only {checked} options");
    report(&wrong);
}
