//! The allow and block lists: what stands in the options, and the files with more.
//!
//! A file has one block of addresses on a line; what follows `#` or `;` is a comment. One bad line refuses the whole
//! configuration, as any other mistake does: a list that is half read would let in whom its owner meant to keep out.

use super::{Cidr, read, value};
use crate::access::AddressSet;
use mtrelay_core::config::problem::Problem;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::rc::Rc;

/// Longer than the lists of all countries together.
const MAX_FILE_LEN: u64 = 32 << 20;
/// A file that is no list has a mistake on each line; so many are told.
const MAX_TOLD: usize = 20;

/// The set of `blocks`.
pub(super) fn set(blocks: &[Cidr]) -> AddressSet {
    let mut set = AddressSet::default();
    for block in blocks {
        block.add_to(&mut set);
    }
    set.seal();
    set
}

/// Adds the blocks of a file to `set`.
///
/// # Errors
/// When it cannot be read. Mistakes on its lines go to `problems`.
pub(super) fn add_file(path: &Path, set: &mut AddressSet, problems: &mut Vec<Problem>) -> io::Result<()> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut file = BufReader::new(file.take(MAX_FILE_LEN));
    let name: Rc<Path> = path.into();
    let (mut line, mut number, mut mistakes) = (Vec::new(), 0, 0_usize);
    while file.read_until(b'\n', &mut line)? > 0 {
        number += 1;
        let end = line.iter().position(|byte| matches!(byte, b'#' | b';'));
        let text = String::from_utf8_lossy(&line[..end.unwrap_or(line.len())]);
        let text = text.trim();
        if !text.is_empty() {
            let read: value::Read<Cidr> = text.parse();
            match read {
                Ok(block) => block.add_to(set),
                Err(wrong) => {
                    mistakes += 1;
                    if mistakes <= MAX_TOLD {
                        let text = format!("{} {wrong}", read::shown(text));
                        problems.push(Problem::error(number, text).of(&name));
                    }
                }
            }
        }
        line.clear();
    }
    if mistakes > MAX_TOLD {
        let text = format!(
            "{} more mistakes (one block of addresses on each line)",
            mistakes - MAX_TOLD
        );
        problems.push(Problem::error(0, text).of(&name));
    }
    if file.into_inner().limit() == 0 {
        return Err(io::Error::other(format!("larger than {MAX_FILE_LEN} bytes")));
    }
    set.seal();
    Ok(())
}
