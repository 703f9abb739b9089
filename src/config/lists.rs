//! The allow and block lists: the blocks of the options, and the files with more.
//!
//! A file has one block of addresses on a line; text after `#` or `;` is a comment. One bad line refuses the whole configuration, as
//! any other mistake does: a half-read block list would admit addresses that its owner wants blocked.

use super::cidr::Cidr;
use super::model::Config;
use super::options::RELAY_OPTIONS;
use crate::access::AddressSet;
use mtrelay_core::config::problem::Problem;
use mtrelay_core::config::read::{self, Reader};
use mtrelay_core::config::uci::Package;
use mtrelay_core::config::value;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::rc::Rc;

/// The largest list file, in bytes: more than the lists of all countries together have.
const MAX_FILE_LEN: u64 = 32 << 20;
/// The most mistakes of one file that are reported by line; the others are counted. A file that is not a list has one on each line.
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

/// Adds the blocks of `allow_file` and `block_file`.
pub(super) fn add_files(config: &mut Config, package: &Package, problems: &mut Vec<Problem>) {
    let relay = package.sections.iter().find(|section| section.kind == "relay");
    let access = Rc::make_mut(&mut config.access);
    let mut read = |name: &str, path: &Path, set: &mut AddressSet| {
        let line = Reader::new(relay, RELAY_OPTIONS, problems).line(name);
        if let Err(error) = add_file(path, set, problems) {
            let text = format!(
                "{name} '{}' cannot be read: {error} (a file with a block of addresses on each line)",
                path.display()
            );
            problems.push(Problem::error(line, text));
        } else if set.is_empty() {
            let text = format!(
                "{name} '{}' has no address (such as 192.0.2.0/24)",
                path.display()
            );
            problems.push(Problem::warning(line, text));
        }
    };
    if let Some(path) = &config.allow_file {
        read("allow_file", path, access.allow.get_or_insert_default());
    }
    if let Some(path) = &config.block_file {
        read("block_file", path, &mut access.block);
    }
}

/// Adds the blocks of a file to `set`.
///
/// # Errors
/// When it cannot be read. Mistakes on its lines go to `problems`.
fn add_file(path: &Path, set: &mut AddressSet, problems: &mut Vec<Problem>) -> io::Result<()> {
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
