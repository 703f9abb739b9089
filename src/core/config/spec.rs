//! The specification of an option: name, type, default, range, help, and whether a change takes a restart.
//!
//! A program keeps one table of [`OptionEntry`] for each section type. [`specs`] takes from it, at compile time, what the reader needs;
//! units and help texts stay out of the binary.

/// The type of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A boolean: `1` or `0`.
    Flag,
    /// A boolean, or `auto`.
    FlagOrAuto,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One or more of these words.
    Words(&'static [&'static str]),
    /// A whole number within these bounds.
    Number {
        /// The smallest value.
        min: u32,
        /// The largest value.
        max: u32,
        /// Whether the word `auto` is a value too.
        auto: bool,
    },
    /// Text with a parser of its own.
    Text,
}

/// What the reader knows about an option.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Its name in UCI.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// The value of an absent option. Empty: not set.
    pub default: &'static str,
    /// Whether it takes any number of values (`list`).
    pub list: bool,
    /// Whether messages must not show its value.
    pub secret: bool,
    /// Whether only a restart of the daemon puts a change in force.
    pub restart: bool,
}

/// A row of the table of options: what the reader knows, and what owners read.
#[derive(Clone, Copy, Debug)]
pub struct OptionEntry {
    /// What the reader knows.
    pub spec: OptionSpec,
    /// The unit of a number; the form of a text.
    pub unit: &'static str,
    /// What the option does, in the words of the settings page.
    pub help: &'static str,
    /// Whether the init script can restart the service for a change.
    pub restarts_service: bool,
}

impl OptionEntry {
    const fn new(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        unit: &'static str,
        help: &'static str,
    ) -> Self {
        OptionEntry {
            spec: OptionSpec {
                name,
                kind,
                default,
                list: false,
                secret: false,
                restart: false,
            },
            unit,
            help,
            restarts_service: false,
        }
    }

    /// The option takes any number of values.
    #[must_use]
    pub const fn list(mut self) -> Self {
        self.spec.list = true;
        self
    }

    /// Messages do not show the option's value.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.spec.secret = true;
        self
    }

    /// Only a restart of the daemon puts a change in force.
    #[must_use]
    pub const fn restart(mut self) -> Self {
        self.spec.restart = true;
        self
    }

    /// The init script restarts the service for a change that a signal cannot apply.
    #[must_use]
    pub const fn restarts_service(mut self) -> Self {
        self.restarts_service = true;
        self
    }
}

/// Rows of the generated pages of options. The programs do not call this.
impl OptionEntry {
    /// The type of the option's value, in words.
    #[must_use]
    pub fn type_text(&self) -> String {
        let words = |words: &[&str]| {
            let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            quoted.join(", ")
        };
        let text = match self.spec.kind {
            Kind::Flag => "flag".to_owned(),
            Kind::FlagOrAuto => "`auto`, or a flag".to_owned(),
            Kind::Choice(choice) => format!("one of {}", words(choice)),
            Kind::Words(any) => format!("any of {}", words(any)),
            Kind::Number { min, max, auto } => {
                let auto = if auto { "`auto`, or " } else { "" };
                format!("{auto}{min} to {max} {}", self.unit)
                    .trim_end()
                    .to_owned()
            }
            Kind::Text => self.unit.to_owned(),
        };
        if self.spec.list {
            format!("list: {text}")
        } else {
            text
        }
    }

    /// The option's default, as code; empty without one.
    #[must_use]
    pub fn default_text(&self) -> String {
        match self.spec.default {
            "" => String::new(),
            default => format!("`{default}`"),
        }
    }
}

/// A boolean.
#[must_use]
pub const fn flag(name: &'static str, default: &'static str, help: &'static str) -> OptionEntry {
    OptionEntry::new(name, Kind::Flag, default, "", help)
}

/// One of `words`.
#[must_use]
pub const fn choice(
    name: &'static str,
    default: &'static str,
    words: &'static [&'static str],
    help: &'static str,
) -> OptionEntry {
    OptionEntry::new(name, Kind::Choice(words), default, "", help)
}

/// A whole number from `bounds.0` to `bounds.1`.
#[must_use]
pub const fn number(
    name: &'static str,
    default: &'static str,
    bounds: (u32, u32),
    unit: &'static str,
    help: &'static str,
) -> OptionEntry {
    let (min, max) = bounds;
    let kind = Kind::Number {
        min,
        max,
        auto: false,
    };
    OptionEntry::new(name, kind, default, unit, help)
}

/// A whole number from `bounds.0` to `bounds.1`, or `auto`, which is the default.
#[must_use]
pub const fn number_or_auto(
    name: &'static str,
    bounds: (u32, u32),
    unit: &'static str,
    help: &'static str,
) -> OptionEntry {
    let (min, max) = bounds;
    let kind = Kind::Number { min, max, auto: true };
    OptionEntry::new(name, kind, "auto", unit, help)
}

/// Text of the form that `form` names.
#[must_use]
pub const fn text(
    name: &'static str,
    default: &'static str,
    form: &'static str,
    help: &'static str,
) -> OptionEntry {
    OptionEntry::new(name, Kind::Text, default, form, help)
}

/// An option of another type.
#[must_use]
pub const fn other(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> OptionEntry {
    OptionEntry::new(name, kind, default, "", help)
}

/// The reader's part of a table of `N` rows.
#[must_use]
pub const fn specs<const N: usize>(table: &[OptionEntry]) -> [OptionSpec; N] {
    assert!(table.len() == N, "N is the number of rows");
    let mut specs = [table[0].spec; N];
    let mut at = 0;
    while at < N {
        specs[at] = table[at].spec;
        at += 1;
    }
    specs
}
