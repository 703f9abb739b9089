//! Mistakes in a configuration file, and the form in which they are reported.

use std::fmt;
use std::path::Path;
use std::rc::Rc;

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is used; its owner should look at it.
    Warning,
}

/// A mistake in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The 1-based line; 0 if it concerns the file as a whole.
    pub line: usize,
    /// Whether the file is refused for it.
    pub severity: Severity,
    /// What is wrong (what would be right).
    pub text: String,
    /// The file, if it is another one than the configuration's.
    pub file: Option<Rc<Path>>,
}

impl Problem {
    /// A mistake for which the file is refused.
    #[must_use]
    pub fn error(line: usize, text: impl Into<String>) -> Problem {
        Problem {
            line,
            severity: Severity::Error,
            text: text.into(),
            file: None,
        }
    }

    /// A mistake in spite of which the file is used.
    #[must_use]
    pub fn warning(line: usize, text: impl Into<String>) -> Problem {
        Problem {
            line,
            severity: Severity::Warning,
            text: text.into(),
            file: None,
        }
    }

    /// The same mistake, in another file than the configuration's.
    #[must_use]
    pub fn of(mut self, file: &Rc<Path>) -> Problem {
        self.file = Some(file.clone());
        self
    }

    /// The mistake as people read it: `FILE:LINE: what is wrong (what would be right)`. On stderr, programs write their name before
    /// it.
    #[must_use]
    pub fn in_file<'a>(&'a self, file: &'a Path) -> impl fmt::Display + 'a {
        InFile { problem: self, file }
    }
}

struct InFile<'a> {
    problem: &'a Problem,
    file: &'a Path,
}

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.problem.file.as_deref().unwrap_or(self.file);
        write!(f, "{}:", file.display())?;
        if self.problem.line > 0 {
            write!(f, "{}:", self.problem.line)?;
        }
        let kind = if self.problem.severity == Severity::Warning {
            " warning:"
        } else {
            ""
        };
        write!(f, "{kind} {}", self.problem.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_shown_with_file_and_line() {
        let file = Path::new("/etc/config/mtrelay");
        let show = |problem: Problem| problem.in_file(file).to_string();
        assert_eq!(
            show(Problem::error(3, "bad (good)")),
            "/etc/config/mtrelay:3: bad (good)"
        );
        assert_eq!(
            show(Problem::warning(3, "odd")),
            "/etc/config/mtrelay:3: warning: odd"
        );
        assert_eq!(
            show(Problem::error(0, "not found")),
            "/etc/config/mtrelay: not found"
        );
    }
}
