//! Reads the options of one section against their specification, and reports what is wrong with them.
//!
//! This file has what is the same for every option: defaults, ranges, empty values, options given twice, unknown options, and the
//! form of the messages. What single values mean is in `value`.

use super::problem::Problem;
use super::spec::{Kind, OptionSpec};
use super::uci::{Item, Section, shown_name};
use super::value::{self, Read};
use crate::map::Map;
use std::net::SocketAddr;
use std::time::Duration;

/// The most entries of a list of addresses. Each is compared with each other one.
const MAX_ADDRESSES: usize = 64;

/// The options of one section.
pub struct Reader<'a> {
    items: &'a [Item],
    /// What the items are called in messages: the section's type.
    kind: &'a str,
    specs: &'static [OptionSpec],
    problems: &'a mut Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// An absent section reads as an empty one.
    pub fn new(
        section: Option<&'a Section>,
        specs: &'static [OptionSpec],
        problems: &'a mut Vec<Problem>,
    ) -> Reader<'a> {
        let (items, kind) = section.map_or((&[][..], ""), |section| {
            (&section.items[..], section.kind.as_str())
        });
        Reader {
            items,
            kind,
            specs,
            problems,
        }
    }

    /// Adds an error of this section.
    pub fn error(&mut self, line: usize, text: String) {
        self.problems.push(Problem::error(line, text));
    }

    /// Adds a warning of this section.
    pub fn warning(&mut self, line: usize, text: String) {
        self.problems.push(Problem::warning(line, text));
    }

    /// The line that decides an option, 0 if it is absent.
    #[inline(never)]
    pub fn line(&self, name: &str) -> usize {
        self.items
            .iter()
            .rev()
            .find(|item| item.name == name)
            .map_or(0, |item| item.line)
    }

    /// Whether an option is there, but empty.
    #[inline(never)]
    pub fn is_set_empty(&self, name: &str) -> bool {
        self.items
            .iter()
            .rev()
            .find(|item| item.name == name)
            .is_some_and(|item| item.value.trim().is_empty())
    }

    /// An option's text and line. The last one counts; to UCI an empty one is an absent one.
    #[inline(never)]
    pub fn text(&self, name: &str) -> Option<(&'a str, usize)> {
        let item = self.items.iter().rev().find(|item| item.name == name)?;
        let text = item.value.trim();
        (!text.is_empty()).then_some((text, item.line))
    }

    /// An option that always has a value. An absent or wrong one has its default's.
    pub fn one<T>(&mut self, name: &str, read: impl Fn(&str) -> Read<T>) -> T {
        self.one_of_type(name, &read)
    }

    // One instance per type, not per option: inlined, the sixty options take 30 KB.
    #[inline(never)]
    fn one_of_type<T>(&mut self, name: &str, read: &dyn Fn(&str) -> Read<T>) -> T {
        if let Some((text, line)) = self.text(name)
            && let Some(value) = self.read(name, text, line, read)
        {
            return value;
        }
        read(self.default(name)).expect("the defaults are valid: a test reads them")
    }

    /// An option without a default. `None`: absent or wrong.
    pub fn maybe<T>(&mut self, name: &str, read: impl Fn(&str) -> Read<T>) -> Option<T> {
        self.maybe_of_type(name, &read)
    }

    #[inline(never)]
    fn maybe_of_type<T>(&mut self, name: &str, read: &dyn Fn(&str) -> Read<T>) -> Option<T> {
        debug_assert_eq!(self.default(name), "", "{name} has a default");
        let (text, line) = self.text(name)?;
        self.read(name, text, line, read)
    }

    /// A boolean.
    #[inline(never)]
    pub fn flag(&mut self, name: &str) -> bool {
        self.one(name, value::boolean)
    }

    /// A whole number within the option's range.
    #[inline(never)]
    pub fn number(&mut self, name: &str) -> u32 {
        let range = self.range(name);
        self.one(name, |text| value::number(text, &range))
    }

    /// A whole number within the option's range. `None`: the option is absent.
    #[inline(never)]
    pub fn maybe_number(&mut self, name: &str) -> Option<u32> {
        let range = self.range(name);
        self.maybe(name, |text| value::number(text, &range))
    }

    /// A whole number within the option's range. `None`: `auto`.
    #[inline(never)]
    pub fn number_or_auto(&mut self, name: &str) -> Option<u32> {
        let range = self.range(name);
        self.one(name, |text| {
            value::or_auto(text, |text| value::number(text, &range))
        })
    }

    /// A limit: a whole number within the option's range. `None`: zero, which means none.
    pub fn limit(&mut self, name: &str) -> Option<u32> {
        let number = self.number(name);
        (number != 0).then_some(number)
    }

    /// A timeout in seconds. `None`: zero.
    pub fn seconds(&mut self, name: &str) -> Option<Duration> {
        let seconds = self.limit(name)?;
        Some(Duration::from_secs(seconds.into()))
    }

    /// One of `values`, which stand in the order of the option's words.
    pub fn choice<T: Copy>(&mut self, name: &str, values: &[T]) -> T {
        values[self.chosen(name)]
    }

    /// The position of the chosen word among the option's words.
    #[inline(never)]
    fn chosen(&mut self, name: &str) -> usize {
        let Kind::Choice(words) = self.spec(name).kind else {
            unreachable!("the table has words for {name}")
        };
        self.one(name, |text| value::choice(text, words))
    }

    /// A list's values. An empty list has its default's.
    pub fn many<T>(&mut self, name: &str, read: impl Fn(&str) -> Read<T>) -> Vec<T> {
        self.many_with_lines(name, read)
            .into_iter()
            .map(|(value, _)| value)
            .collect()
    }

    /// A list's values with their lines. An empty list has its default's with line 0. One entry may hold several values with
    /// spaces between them, as an `option` does.
    pub fn many_with_lines<T>(&mut self, name: &str, read: impl Fn(&str) -> Read<T>) -> Vec<(T, usize)> {
        self.list_texts(name)
            .into_iter()
            .filter_map(|(text, line)| Some((self.read(name, text, line, &read)?, line)))
            .collect()
    }

    /// A list of at most 64 addresses with their lines. More are an error and are cut off.
    #[inline(never)]
    pub fn addresses(&mut self, name: &str, read: fn(&str) -> Read<SocketAddr>) -> Vec<(SocketAddr, usize)> {
        let mut given = self.many_with_lines(name, read);
        if let Some(&(_, line)) = given.get(MAX_ADDRESSES) {
            let text = format!("{name} has too many entries (at most {MAX_ADDRESSES})");
            self.error(line, text);
            given.truncate(MAX_ADDRESSES);
        }
        given
    }

    #[inline(never)]
    fn list_texts(&self, name: &str) -> Vec<(&'a str, usize)> {
        let items = self.items;
        let last_option = items.iter().rposition(|item| item.name == name && !item.list);
        let counts =
            |(at, item): &(usize, &Item)| item.name == name && (item.list || Some(*at) == last_option);
        let mut texts: Vec<(&str, usize)> = Vec::new();
        for (_, item) in items.iter().enumerate().filter(counts) {
            texts.extend(item.value.split_whitespace().map(|text| (text, item.line)));
        }
        if texts.is_empty() {
            texts.extend(self.default(name).split_whitespace().map(|text| (text, 0)));
        }
        texts
    }

    /// Warns of unknown options and of options given twice. Call it once, after all options are read.
    pub fn finish(self) {
        let Reader {
            items,
            kind,
            specs,
            problems,
        } = self;
        let mut first_lines: Map<&str, usize> = Map::default();
        for Item { name, list, line, .. } in items {
            let Some(spec) = specs.iter().find(|spec| spec.name == name) else {
                problems.push(Problem::warning(*line, unknown(name, kind, specs)));
                continue;
            };
            if *list && spec.list {
                continue;
            }
            if let Some(first) = first_lines.insert(name, *line) {
                let text =
                    format!("{name} is given again, after line {first}, and the last one counts (only one)");
                problems.push(Problem::warning(*line, text));
            } else if *list {
                let text = format!("{name} takes one value (option {name} '…')");
                problems.push(Problem::warning(*line, text));
            }
        }
    }

    fn read<T>(&mut self, name: &str, text: &str, line: usize, read: &dyn Fn(&str) -> Read<T>) -> Option<T> {
        match read(text) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.wrong(name, text, line, &wrong);
                None
            }
        }
    }

    #[inline(never)]
    fn wrong(&mut self, name: &str, text: &str, line: usize, wrong: &str) {
        let shown = if self.spec(name).secret {
            String::from(NOT_SHOWN)
        } else {
            shown(text)
        };
        self.error(line, format!("{name} {shown} {wrong}"));
    }

    #[inline(never)]
    fn spec(&self, name: &str) -> &'static OptionSpec {
        self.specs
            .iter()
            .find(|spec| spec.name == name)
            .expect("every option that is read has its entry")
    }

    fn default(&self, name: &str) -> &'static str {
        self.spec(name).default
    }

    fn range(&self, name: &str) -> std::ops::RangeInclusive<u32> {
        match self.spec(name).kind {
            Kind::Number { min, max, .. } => min..=max,
            _ => unreachable!("the table has a range for {name}"),
        }
    }
}

/// The message about an unknown option, with the known one that was most likely meant.
fn unknown(name: &str, kind: &str, specs: &[OptionSpec]) -> String {
    let near = specs
        .iter()
        .map(|spec| (distance(name, spec.name), spec.name))
        .min();
    let right = match near {
        Some((0..=2, meant)) => format!("{meant}, perhaps"),
        _ => format!("{kind} has none of this name"),
    };
    format!("unknown option {} ({right})", shown_name(name))
}

/// The Levenshtein distance of `a` and `b`, exact up to two; case does not count.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(!x.eq_ignore_ascii_case(y));
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Stands in a message in place of a value that is or may be a secret.
const NOT_SHOWN: &str = "(not shown)";

/// A value for a message: in quotes, its first line, at most 60 characters. A value with 20 hex digits in a row may be a secret in
/// the wrong place and is not shown.
pub fn shown(value: &str) -> String {
    let mut hex_run = 0;
    for byte in value.bytes() {
        hex_run = if byte.is_ascii_hexdigit() { hex_run + 1 } else { 0 };
        if hex_run >= 20 {
            return String::from(NOT_SHOWN);
        }
    }
    let line = value.split(['\n', '\r']).next().unwrap_or("");
    let start: String = line
        .chars()
        .take(60)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    let more = if start.len() < value.len() { "…" } else { "" };
    format!("'{start}{more}'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::spec::{OptionSpec, specs, text};

    const RELAY_OPTIONS: &[OptionSpec] = &specs::<4>(&[
        text("front_address", "", "", ""),
        text("front_domain", "", "", ""),
        text("fast_mode", "", "", ""),
        text("buffers", "", "", ""),
    ]);

    #[test]
    fn a_mistyped_option_is_recognised() {
        let cases = [
            ("front_adress", "(front_address, perhaps)"),
            ("frontdomain", "(front_domain, perhaps)"),
            ("Fast_Mode", "(fast_mode, perhaps)"),
            ("buffer", "(buffers, perhaps)"),
            ("colour", "(relay has none of this name)"),
            ("", "(relay has none of this name)"),
            ("ä", "(relay has none of this name)"),
        ];
        for (name, expected) in cases {
            let message = unknown(name, "relay", RELAY_OPTIONS);
            assert!(message.ends_with(expected), "{name}: {message}");
        }
    }

    #[test]
    fn values_are_shown_short_and_without_what_may_be_a_secret() {
        assert_eq!(shown("16k"), "'16k'");
        assert_eq!(shown("one\noption secret"), "'one…'");
        assert_eq!(shown(&"x".repeat(99)), format!("'{}…'", "x".repeat(60)));
        assert_eq!(shown("\u{1b}[31m"), "'\u{fffd}[31m'");
        assert_eq!(shown("ee6ab1f50c3e9d27884fd2b0179ce35a61"), "(not shown)");
    }
}
