//! Statements of the pages that other files decide: texts of LuCI, figures, options, fuzz targets, tests.

use super::{files, has_ending, name, pages, read, report, root};

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
const FIGURES: [(&str, &str, &str, &str); 24] = [
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
        "performance.md",
        "512 for pending handshakes",
        "src/daemon",
        "u64 = 512",
    ),
    (
        "performance.md",
        "two for each of 64 front connections",
        "src/daemon",
        "u64 = 64",
    ),
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

/// The table of options in docs/mtfetch.md has the names and defaults of mtfetch's own table.
#[test]
fn docs_have_the_options_of_mtfetch() {
    let source = read(&root().join("src/fetch/config/options.rs"));
    let (_, table) = source.split_once("const MAIN: ").expect("the table is there");
    let (table, _) = table.split_once("\n];").expect("the table ends");
    let page = read(&root().join("docs/mtfetch.md"));
    let mut wrong = Vec::new();
    let mut checked = 0;
    for line in table.lines() {
        let quoted: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        let [option, default, ..] = quoted[..] else {
            continue;
        };
        checked += 1;
        let row = page.lines().find(|row| {
            row.starts_with('|')
                && row
                    .split('|')
                    .nth(1)
                    .is_some_and(|cell| cell.contains(&format!("`{option}`")))
        });
        let said = row
            .and_then(|row| row.split('|').nth(2))
            .map(|cell| cell.trim().trim_matches('`'));
        if said != Some(default) {
            wrong.push(format!("docs/mtfetch.md: {option}: {said:?}, not {default:?}"));
        }
    }
    assert!(checked > 15, "only {checked} options");
    report(&wrong);
}
