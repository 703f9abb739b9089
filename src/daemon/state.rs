//! StateFile that outlives a restart: the users' used quotas and the replay window, in a file that lives in RAM.
//!
//! Flash wears out, so the file is written once, when the daemon ends, and only on tmpfs or ramfs. It is opened before
//! the privileges are given up and kept open, so that an unprivileged daemon can write it. A damaged file costs its contents
//! and a warning, never the start.
//!
//! The format: the line `mtrelay state 1`; a line `quota BYTES MONTH NAME` for each user (MONTH is `-` if the date was
//! unknown); the line `replay COUNT`; COUNT replay keys of 16 bytes, the oldest first; the line `end`.

use crate::relay::{Mark, Shared};
use mtrelay_core::sys::process;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Seek as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

const HEAD: &str = "mtrelay state 1";
const END: &str = "end";
/// Length limit of a line in bytes, above the longest user name's line.
const MAX_LINE_LEN: u64 = 256;

/// The open state file.
pub(super) struct StateFile {
    path: PathBuf,
    file: File,
}

/// The file's contents.
#[derive(Default)]
struct Saved {
    quotas: Vec<(String, u64, Option<u32>)>,
    marks: Vec<Mark>,
}

impl StateFile {
    /// Opens the file, and creates it if it does not exist. Logs why it is not used.
    pub(super) fn open(path: &Path) -> Option<StateFile> {
        match open(path) {
            Ok(file) => Some(StateFile {
                path: path.to_owned(),
                file,
            }),
            Err(error) => {
                log::warn!("state: {} is not used: {error}", path.display());
                None
            }
        }
    }

    /// Reads quotas and replay keys that the previous daemon wrote.
    pub(super) fn restore(&self, shared: &Shared) {
        let saved = match read(BufReader::new(&self.file)) {
            Ok(Some(saved)) => saved,
            Ok(None) => return,
            Err(error) => return log::warn!("state: {} is not used: {error}", self.path.display()),
        };
        let users = shared.stats.users();
        for (name, used, month) in &saved.quotas {
            if let Some(user) = users.iter().find(|user| user.name() == name) {
                user.set_quota_used(*used);
                user.quota_month.set(*month);
            }
        }
        let mut replay = shared.replay.borrow_mut();
        for mark in &saved.marks {
            replay.insert(*mark);
        }
        log::info!(
            "state: restored {} quotas and {} replay keys",
            saved.quotas.len(),
            saved.marks.len()
        );
    }

    /// Writes quotas and replay keys for the next daemon.
    pub(super) fn save(&self, shared: &Shared) {
        let save = || {
            // A file without its `end` line is not read, so a write that is cut short does no harm.
            self.file.set_len(0)?;
            (&self.file).rewind()?;
            let mut out = BufWriter::new(&self.file);
            write(&mut out, shared)?;
            out.flush()
        };
        if let Err(error) = save() {
            log::warn!("state: {} is not written: {error}", self.path.display());
        }
    }
}

/// Opens or creates the file, in RAM only.
///
/// # Errors
/// When it cannot be opened, or when its folder is not in RAM. Nothing is created then.
fn open(path: &Path) -> io::Result<File> {
    let in_memory = |file: File| match process::is_in_memory(&file)? {
        true => Ok(file),
        false => Err(io::Error::other("it is not in RAM (tmpfs)")),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    in_memory(File::open(folder.unwrap_or(Path::new(".")))?)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    in_memory(options.open(path)?)
}

fn write(out: &mut dyn Write, shared: &Shared) -> io::Result<()> {
    writeln!(out, "{HEAD}")?;
    for user in shared.stats.users() {
        write!(out, "quota {} ", user.quota_used())?;
        match user.quota_month.get() {
            Some(month) => write!(out, "{month}")?,
            None => out.write_all(b"-")?,
        }
        writeln!(out, " {}", user.name())?;
    }
    let replay = shared.replay.borrow();
    writeln!(out, "replay {}", replay.len())?;
    for mark in replay.marks() {
        out.write_all(mark)?;
    }
    writeln!(out, "{END}")
}

/// Reads the file's contents; `None` for an empty file.
fn read(mut from: impl BufRead) -> io::Result<Option<Saved>> {
    let wrong = || io::Error::other("it is not a complete state file of this program");
    let mut saved = Saved::default();
    match line(&mut from)?.as_str() {
        "" => return Ok(None),
        HEAD => {}
        _ => return Err(wrong()),
    }
    let count: usize = loop {
        let line = line(&mut from)?;
        let (word, rest) = line.split_once(' ').ok_or_else(wrong)?;
        if word == "replay" {
            break rest.parse().map_err(|_| wrong())?;
        }
        let mut words = rest.splitn(3, ' ');
        let mut next = || words.next().ok_or_else(wrong);
        let (used, month, name) = (next()?, next()?, next()?);
        let used = used.parse().map_err(|_| wrong())?;
        saved.quotas.push((name.to_owned(), used, month.parse().ok()));
    };
    for _ in 0..count {
        let mut mark = Mark::default();
        from.read_exact(&mut mark)?;
        saved.marks.push(mark);
    }
    if line(&mut from)? != END {
        return Err(wrong());
    }
    Ok(Some(saved))
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    from.take(MAX_LINE_LEN).read_line(&mut line)?;
    line.truncate(line.trim_end_matches('\n').len());
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_or_foreign_file_is_refused() {
        let mut whole = b"mtrelay state 1\nquota 5 24321 a b\nquota 7 - c\nreplay 2\n".to_vec();
        whole.extend([1; 16]);
        whole.extend([2; 16]);
        whole.extend(b"end\n");
        let saved = read(&whole[..]).unwrap().unwrap();
        let quotas = [("a b".to_owned(), 5, Some(24_321)), ("c".to_owned(), 7, None)];
        assert_eq!(
            (saved.quotas, saved.marks),
            (quotas.into(), vec![[1; 16], [2; 16]])
        );
        assert!(read(&b""[..]).unwrap().is_none());
        // The last byte is the newline after `end`.
        for len in 1..whole.len() - 1 {
            assert!(read(&whole[..len]).is_err(), "{len}");
        }
        for strange in [
            "nonsense\n",
            "mtrelay state 2\n",
            "mtrelay state 1\nquota x - a\nreplay 0\nend\n",
        ] {
            assert!(read(strange.as_bytes()).is_err(), "{strange}");
        }
    }
}
