//! The parser of UCI text: sections, options and lists, each with its line.
//!
//! Read first: <https://openwrt.org/docs/guide-user/base-system/uci>, "File syntax". The grammar is libuci's (`file.c`),
//! because `uci` and LuCI read and rewrite the same file: what they accept must mean the same here. libuci itself is not linked
//! (docs/decisions/uci-parser.md): it stops at the first mistake, and gives options no line numbers.
//!
//! Both forms are read: written by hand (bare words, either quote, comments, `;` between commands) and as
//! `uci export` prints it (a `package` line, single quotes everywhere, `'\''` for a quote, values spanning lines).
//!
//! Promises: any text is read to its end without a panic, in time proportional to its length. Every mistake is
//! reported, with its 1-based line. No message quotes a value: it may be a secret, also one in the wrong place.

use crate::map::Map;
use crate::quote::Quoted;

pub use super::problem::{Problem, Severity};

/// A parsed file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// The names of `package` lines, with their lines. `uci export` writes one; files have none.
    pub names: Vec<(String, usize)>,
    /// Its sections, in the order in which they open.
    pub sections: Vec<Section>,
}

/// `config KIND ['NAME']` with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its type.
    pub kind: String,
    /// Its name, unless it is anonymous.
    pub name: Option<String>,
    /// The line on which it opens.
    pub line: usize,
    /// The lines on which it is opened again: UCI joins named sections of one type.
    pub reopened: Vec<usize>,
    /// Its options and list entries, in the order of the file; names may repeat.
    pub items: Vec<Item>,
}

/// `option NAME 'VALUE'` or `list NAME 'VALUE'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The option's name.
    pub name: String,
    /// Its value without quotes. Empty values are kept, although UCI drops them.
    pub value: String,
    /// Whether it was written as `list`.
    pub list: bool,
    /// The line on which it begins.
    pub line: usize,
}

/// The most mistakes of one text. After them the rest is not read: it is another kind of file, and each mistake costs memory.
const MAX_PROBLEMS: usize = 100;

/// Parses a text. The package holds all valid lines, also when others have mistakes.
#[must_use]
pub fn parse(text: &str) -> (Package, Vec<Problem>) {
    let mut parser = Parser {
        // Some editors on Windows put a byte order mark first.
        text: text.strip_prefix('\u{feff}').unwrap_or(text),
        at: 0,
        line: 1,
        ran_on: None,
        unclosed: None,
        package: Package::default(),
        named: Map::default(),
        open: Open::Nothing,
        problems: Vec::new(),
    };
    parser.file();
    (parser.package, parser.problems)
}

/// Where an `option` line belongs.
enum Open {
    /// No section has been opened yet.
    Nothing,
    /// The last `config` line was invalid and is reported. Its options are skipped without a message.
    Broken,
    /// The section at this index.
    Section(usize),
}

struct Parser<'a> {
    text: &'a str,
    /// The offset of the next byte, always at the boundary of a character.
    at: usize,
    /// The line of the offset `at`.
    line: usize,
    /// The first line whose quoted value runs on into a line that looks like a command: a quote is missing there.
    ran_on: Option<usize>,
    /// The line of the quote that was open at the end of the file.
    unclosed: Option<usize>,
    package: Package,
    /// The index of each named section.
    named: Map<String, usize>,
    open: Open,
    problems: Vec<Problem>,
}

impl<'a> Parser<'a> {
    fn file(&mut self) {
        if let Some(at) = self.text.find('\0') {
            let line = 1 + self.text[..at].matches('\n').count();
            self.error(line, "a NUL byte (the file is damaged, or no text)");
        }
        while self.at < self.text.len() {
            if self.problems.len() >= MAX_PROBLEMS {
                self.error(
                    self.line,
                    "too many mistakes, the rest is not read (is this a UCI file?)",
                );
                return;
            }
            self.command();
        }
    }

    /// Parses one command: `package`, `config`, `option` or `list`, up to the end of its line or a `;`.
    fn command(&mut self) {
        let Some((verb, line)) = self.next_word() else {
            return;
        };
        let first = self.next_word();
        let second = if first.is_some() { self.next_word() } else { None };
        let mut too_many = false;
        if second.is_some() {
            while self.next_word().is_some() {
                too_many = true;
            }
        }
        if let Some(opened) = self.unclosed.take() {
            let line = self.ran_on.unwrap_or(opened);
            return self.error(
                line,
                "a quote is opened and never closed (the same quote again behind the value)",
            );
        }
        if too_many {
            self.error(
                line,
                "too many words (quotes around a value that has spaces or quotes in it)",
            );
        }
        let (first, second) = (first.map(|word| word.0), second.map(|word| word.0));
        match verb.as_str() {
            "package" | "p" => self.package_line(line, first, second),
            "config" | "c" => self.config_line(line, first, second),
            "option" | "o" => self.item_line(line, first, second, false),
            "list" | "l" => self.item_line(line, first, second, true),
            _ if verb.contains('.') && verb.contains('=') => {
                self.error(line, "no UCI command (this looks like `uci show`; `uci export mtrelay` prints what is read here)");
            }
            _ => self.error(
                line,
                format!(
                    "{} is not a UCI command (config, option or list)",
                    shown_name(&verb)
                ),
            ),
        }
    }

    fn package_line(&mut self, line: usize, name: Option<String>, extra: Option<String>) {
        match (name, extra) {
            (Some(name), None) => self.package.names.push((name, line)),
            _ => self.error(line, "a package line takes one name (package mtrelay)"),
        }
        self.open = Open::Nothing;
    }

    fn config_line(&mut self, line: usize, kind: Option<String>, name: Option<String>) {
        self.open = Open::Broken;
        let Some(kind) = kind.filter(|kind| kind.bytes().all(|b| b.is_ascii_graphic()) && !kind.is_empty())
        else {
            return self.error(
                line,
                "a section without a type (config relay, config user or config dc)",
            );
        };
        // An empty name means none: `config user ''`.
        let name = name.filter(|name| !name.is_empty());
        if let Some(name) = &name {
            if !is_identifier(name) {
                // libuci refuses such a file as a whole, so `uci` and LuCI could not read it.
                let text = format!("section name {} (letters, digits and _ only)", shown_name(name));
                return self.error(line, text);
            }
            if let Some(&at) = self.named.get(name) {
                let section = &mut self.package.sections[at];
                if section.kind == kind {
                    section.reopened.push(line);
                    self.open = Open::Section(at);
                    return;
                }
                let text = format!(
                    "section name {} is taken by the {} on line {} (a name of its own)",
                    shown_name(name),
                    shown_name(&section.kind),
                    section.line
                );
                return self.error(line, text);
            }
            self.named.insert(name.clone(), self.package.sections.len());
        }
        self.open = Open::Section(self.package.sections.len());
        self.package.sections.push(Section {
            kind,
            name,
            line,
            reopened: Vec::new(),
            items: Vec::new(),
        });
    }

    fn item_line(&mut self, line: usize, name: Option<String>, value: Option<String>, list: bool) {
        let verb = if list { "list" } else { "option" };
        match self.open {
            Open::Nothing => self.error(line, format!("{verb} before any section (config … first)")),
            Open::Broken => {}
            Open::Section(at) => match (name, value) {
                (Some(name), Some(value)) if is_identifier(&name) => {
                    self.package.sections[at].items.push(Item {
                        name,
                        value,
                        list,
                        line,
                    });
                }
                (Some(name), _) if !is_identifier(&name) => {
                    let text = format!("{verb} name {} (letters, digits and _ only)", shown_name(&name));
                    self.error(line, text);
                }
                (Some(name), None) => {
                    let text = format!(
                        "{verb} {} without a value ({verb} NAME 'VALUE')",
                        shown_name(&name)
                    );
                    self.error(line, text);
                }
                _ => self.error(line, format!("{verb} without a name ({verb} NAME 'VALUE')")),
            },
        }
    }

    fn error(&mut self, line: usize, text: impl Into<String>) {
        self.problems.push(Problem::error(line, text));
    }

    /// The next word of this command and its line. At the end of the command it consumes the end and returns `None`.
    fn next_word(&mut self) -> Option<(String, usize)> {
        loop {
            match self.peek()? {
                '\n' | ';' => {
                    self.take(1);
                    return None;
                }
                '#' => {
                    let rest = self.rest();
                    self.take(rest.find('\n').unwrap_or(rest.len()));
                }
                '\\' if self.continuation().is_some() => self.escape(&mut String::new()),
                c if is_space(c) => drop(self.take(1)),
                _ => {
                    let line = self.line;
                    return Some((self.word(), line));
                }
            }
        }
    }

    /// Parses a word: bare and quoted pieces without a space between them.
    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(c) = self.peek() {
            match c {
                '\'' => self.single_quoted(&mut word),
                '"' => self.double_quoted(&mut word),
                '\\' => self.escape(&mut word),
                // In UCI a comment may begin inside of a bare word.
                '\n' | ';' | '#' => break,
                c if is_space(c) => break,
                _ => {
                    let ends = |c: char| matches!(c, '\'' | '"' | '\\' | '\n' | ';' | '#') || is_space(c);
                    let rest = self.rest();
                    word.push_str(self.take(rest.find(ends).unwrap_or(rest.len())));
                }
            }
        }
        word
    }

    /// Parses `'…'`, in which every character stands for itself, the end of a line too.
    fn single_quoted(&mut self, word: &mut String) {
        let opened = self.line;
        self.take(1);
        let rest = self.rest();
        let len = rest.find('\'');
        word.push_str(self.take_quoted(len.unwrap_or(rest.len())));
        self.close_quote(opened, len.is_some());
    }

    /// Parses `"…"`, in which a backslash takes the next character as it is, and joins lines.
    fn double_quoted(&mut self, word: &mut String) {
        let opened = self.line;
        self.take(1);
        loop {
            let rest = self.rest();
            let len = rest.find(['"', '\\']);
            word.push_str(self.take_quoted(len.unwrap_or(rest.len())));
            if self.peek() != Some('\\') {
                return self.close_quote(opened, len.is_some());
            }
            self.escape(word);
        }
    }

    fn close_quote(&mut self, opened: usize, closed: bool) {
        if closed {
            self.take(1);
        } else {
            self.unclosed = Some(opened);
        }
    }

    /// Parses a backslash. At the end of a line it joins the next line; any other character after it stands for itself.
    fn escape(&mut self, word: &mut String) {
        if let Some(len) = self.continuation() {
            self.take(len);
            return;
        }
        self.take(1);
        let len = self.peek().map_or(0, char::len_utf8);
        word.push_str(self.take(len));
    }

    /// The length of a backslash with the end of line after it, if both are next.
    fn continuation(&self) -> Option<usize> {
        let rest = self.rest().strip_prefix('\\')?;
        if rest.starts_with("\r\n") {
            Some(3)
        } else {
            rest.starts_with('\n').then_some(2)
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn take(&mut self, len: usize) -> &'a str {
        let piece = &self.rest()[..len];
        self.at += len;
        self.line += piece.matches('\n').count();
        piece
    }

    /// Consumes a quoted value of `len` bytes. A value may span lines. If a line of it looks like a command, a closing quote is
    /// probably missing; the line is remembered, because the parser fails only at the end of the file.
    fn take_quoted(&mut self, len: usize) -> &'a str {
        let start = self.line;
        let piece = self.take(len);
        if self.ran_on.is_none() {
            let is_command =
                |line: &str| matches!(line.split_whitespace().next(), Some("config" | "option" | "list"));
            let before = piece.split('\n').skip(1).position(is_command);
            self.ran_on = before.map(|lines| start + lines);
        }
        piece
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\x0b' | '\x0c')
}

fn is_identifier(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A name for a message: in quotes, without control characters. A name of 22 characters or more may be a secret in the wrong place
/// and is not shown.
#[must_use]
pub fn shown_name(name: &str) -> String {
    // The shortest secret is 22 characters of base64; the longest option name has 19.
    if name.chars().count() >= 22 {
        String::from("(a long word)")
    } else {
        Quoted {
            mark: '\'',
            text: name,
        }
        .to_string()
    }
}

#[cfg(test)]
mod tests;
