//! Reading UCI files: text in, sections and typed values out, every mistake with its line.
//!
//! Which options exist is the program's: it hands over its table of [`spec::OptionSpec`].

pub mod dc;
pub mod problem;
pub mod read;
pub mod spec;
pub mod uci;
pub mod value;

mod file;

pub use file::read_file;
pub use problem::{Problem, Severity};
pub use value::HostPort;
