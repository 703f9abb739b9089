//! Words that pages, LuCI texts and comments of the package do not use.

use super::{files, has_ending, name, pages, prose, read, report, words_only};
use std::path::Path;

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

/// The words of [`FORBIDDEN`] in a line, whole words only.
fn forbidden_in(line: &str) -> Vec<(&'static str, &'static str)> {
    let line = line.to_lowercase();
    let words: Vec<&str> = line
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let spaced = format!(" {} ", words.join(" "));
    let found = FORBIDDEN
        .iter()
        .filter(|(word, _)| spaced.contains(&format!(" {word} ")));
    found.copied().collect()
}

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
        for (at, line) in visible(&file, &read(&file)).lines().enumerate() {
            for (word, better) in forbidden_in(line) {
                wrong.push(format!(
                    "{}: line {} of its prose says {word:?}: {better}",
                    name(&file),
                    at + 1
                ));
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

fn comment_of(line: &str) -> Option<&str> {
    let line = line.trim_start();
    ["///", "//!", "//"]
        .iter()
        .find_map(|mark| line.strip_prefix(mark))
}

/// In rustdoc each item stands alone, so its comment ends with its sentence.
#[test]
fn docs_comments_of_items_are_whole() {
    let mut wrong = Vec::new();
    for file in files("src", |path| has_ending(path, &["rs"])) {
        let text = read(&file);
        let lines: Vec<&str> = text.lines().collect();
        for (at, pair) in lines.windows(2).enumerate() {
            let is_last = pair[0].trim_start().starts_with("///") && !pair[1].trim_start().starts_with("///");
            if is_last && pair[0].trim_end().ends_with([',', ';']) {
                wrong.push(format!("{}:{}: {}", name(&file), at + 1, pair[0].trim()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} comments:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn docs_words_of_comments_are_those_of_the_field() {
    let mut wrong = Vec::new();
    for file in files("src", |path| has_ending(path, &["rs"])) {
        for (at, line) in read(&file).lines().enumerate() {
            for (word, better) in comment_of(line).map(forbidden_in).unwrap_or_default() {
                wrong.push(format!("{}:{}: {word:?}: {better}", name(&file), at + 1));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} comments:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
