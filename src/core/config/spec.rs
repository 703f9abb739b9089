//! The specification of an option: name, default, whether it is a list.

/// An option of a section.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Its name in UCI.
    pub name: &'static str,
    /// The value of an absent option. Empty: nothing set.
    pub default: &'static str,
    /// Whether it takes any number of values (`list`).
    pub list: bool,
}

/// An option with one value.
#[must_use]
pub const fn option(name: &'static str, default: &'static str) -> OptionSpec {
    OptionSpec {
        name,
        default,
        list: false,
    }
}

/// An option with any number of values.
#[must_use]
pub const fn list(name: &'static str, default: &'static str) -> OptionSpec {
    OptionSpec {
        name,
        default,
        list: true,
    }
}
