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
