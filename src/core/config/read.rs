//! Reads the options of one section against their specification, and says what is wrong with them.
//!
//! All that holds for every option alike is here: defaults, empty values, options given twice, unknown ones, and the
//! form of the messages. What the values mean is in `value`.

use super::problem::Problem;
use super::spec::OptionSpec;
use super::uci::{Item, Section, shown_name};
use super::value::{self, Read};
use crate::map::Map;
use std::ops::RangeInclusive;
use std::time::Duration;

/// More than a week is no timeout.
pub const MAX_TIMEOUT_SECS: u32 = 7 * 24 * 3600;

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

    /// An option's text and line; to UCI an empty one is an absent one, and the last one counts.
    #[inline(never)]
    pub fn text(&self, name: &str) -> Option<(&'a str, usize)> {
        let item = self.items.iter().rev().find(|item| item.name == name)?;
        let text = item.value.trim();
        (!text.is_empty()).then_some((text, item.line))
    }

    /// An option that always has a value: if it is absent or wrong, its default's.
    pub fn one<T>(&mut self, name: &str, read: impl Fn(&str) -> Read<T>) -> T {
        self.one_of_type(name, &read)
    }

    // Once for each type, not for each option: inlined, the sixty options take 30 KB.
    #[inline(never)]
    fn one_of_type<T>(&mut self, name: &str, read: &dyn Fn(&str) -> Read<T>) -> T {
        if let Some((text, line)) = self.text(name)
            && let Some(value) = self.read(name, text, line, read)
        {
            return value;
        }
        read(self.default(name)).expect("the defaults are valid: a test reads them")
    }

    /// An option whose default is that nothing is set.
    pub fn maybe<T>(&mut self, name: &str, read: impl Fn(&str) -> Read<T>) -> Option<T> {
        self.maybe_of_type(name, &read)
    }

    #[inline(never)]
    fn maybe_of_type<T>(&mut self, name: &str, read: &dyn Fn(&str) -> Read<T>) -> Option<T> {
        debug_assert_eq!(self.default(name), "", "{name} has a default");
        let (text, line) = self.text(name)?;
        self.read(name, text, line, read)
    }

    /// A whole number within `range`.
    #[inline(never)]
    pub fn number(&mut self, name: &str, range: RangeInclusive<u32>) -> u32 {
        self.one(name, |text| value::number(text, &range))
    }

    /// A whole number within `range`, or nothing where the option is absent.
    #[inline(never)]
    pub fn maybe_number(&mut self, name: &str, range: RangeInclusive<u32>) -> Option<u32> {
        self.maybe(name, |text| value::number(text, &range))
    }

    /// A timeout in seconds; zero is none.
    #[inline(never)]
    pub fn seconds(&mut self, name: &str) -> Option<Duration> {
        let seconds = self.number(name, 0..=MAX_TIMEOUT_SECS);
        (seconds != 0).then(|| Duration::from_secs(seconds.into()))
    }

    /// A list's values; without any, its default's.
    pub fn many<T>(&mut self, name: &str, read: impl Fn(&str) -> Read<T>) -> Vec<T> {
        self.many_with_lines(name, read)
            .into_iter()
            .map(|(value, _)| value)
            .collect()
    }

    /// A list's values with their lines; without any, its default's with line 0. Several values may also stand in
    /// one entry, with spaces between them, as they do in an `option`.
    pub fn many_with_lines<T>(&mut self, name: &str, read: impl Fn(&str) -> Read<T>) -> Vec<(T, usize)> {
        self.list_texts(name)
            .into_iter()
            .filter_map(|(text, line)| Some((self.read(name, text, line, &read)?, line)))
            .collect()
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

    /// Says what is unknown or given twice. Call it once, at the end.
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
        self.error(line, format!("{name} {} {wrong}", shown(text)));
    }

    #[inline(never)]
    fn default(&self, name: &str) -> &'static str {
        self.specs
            .iter()
            .find(|spec| spec.name == name)
            .expect("every option that is read has its entry")
            .default
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

/// How many letters must be put in, left out or changed to make `b` of `a`; more than two are not counted exactly.
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

/// A value for a message: in quotes, of one line, not too long, and not at all if it could be a misplaced secret.
pub fn shown(value: &str) -> String {
    let mut hex_run = 0;
    for byte in value.bytes() {
        hex_run = if byte.is_ascii_hexdigit() { hex_run + 1 } else { 0 };
        if hex_run >= 20 {
            return String::from("(not shown)");
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
    use crate::config::spec::{OptionSpec, option};

    const RELAY_OPTIONS: &[OptionSpec] = &[
        option("front_address", ""),
        option("front_domain", ""),
        option("fast_mode", ""),
        option("buffers", ""),
    ];

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
