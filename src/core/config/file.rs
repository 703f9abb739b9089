//! Reads a configuration file as text, up to a bound.

use super::problem::Problem;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The largest file that is read, in bytes. A file of a thousand users has 150 KiB.
const MAX_FILE_LEN: u64 = 1 << 20;

/// The text of the file at `path`. Bytes that are not UTF-8 become `U+FFFD`.
///
/// # Errors
/// When the file cannot be read or has more than 1 MiB. The problem has no line.
pub fn read_file(path: &Path) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_LEN + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let text = format!("cannot be read: {error} (a file in UCI format)");
        return Err(Problem::error(0, text));
    }
    if bytes.len() as u64 > MAX_FILE_LEN {
        let text = format!("is too large (at most {MAX_FILE_LEN} bytes)");
        return Err(Problem::error(0, text));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
