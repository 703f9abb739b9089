//! What must outlive a restart: the users' quotas and the handshakes seen before, in a file that lives in RAM.
//!
//! Flash wears out, so the file is written once, when the daemon ends, and only on tmpfs or ramfs. It is opened before
//! the privileges are given up and kept open, so that a daemon without any rights can still write it. Whatever is wrong
//! with it costs what it held and a warning, never the start.
//!
//! The form: lines of text, `mtrelay state 1`, `quota BYTES MONTH NAME` for each user (MONTH is `-` where no calendar was
//! known), `replay COUNT`, then so many times 16 bytes, the oldest first, and `end`.

use crate::relay::Shared;
use crate::relay::replay::Mark;
use mtrelay_core::sys::process;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Seek as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

const HEAD: &str = "mtrelay state 1";
const END: &str = "end";
/// Longer than a user's line can be.
const MAX_LINE_LEN: u64 = 256;

/// The file.
pub(super) struct State {
    path: PathBuf,
    file: File,
}

/// Quotas and marks as they stand in the file.
#[derive(Default)]
struct Saved {
    quotas: Vec<(String, u64, Option<u32>)>,
    marks: Vec<Mark>,
}

impl State {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> Option<State> {
        match open(path) {
            Ok(file) => Some(State {
                path: path.to_owned(),
                file,
            }),
            Err(error) => {
                log::warn!("state: {} is not used: {error}", path.display());
                None
            }
        }
    }

    /// Takes over what the last daemon left.
    pub(super) fn restore(&self, shared: &Shared) {
        let saved = match read(BufReader::new(&self.file)) {
            Ok(Some(saved)) => saved,
            Ok(None) => return,
            Err(error) => return log::warn!("state: {} is not used: {error}", self.path.display()),
        };
        let users = shared.stats.users();
        for (name, used, month) in &saved.quotas {
            if let Some(user) = users.iter().find(|user| user.name() == name) {
                user.quota_used.set(*used);
                user.quota_month.set(*month);
            }
        }
        let mut replay = shared.replay.borrow_mut();
        for mark in &saved.marks {
            replay.insert(*mark);
        }
        log::info!(
            "state: {} quotas and {} handshakes from before",
            saved.quotas.len(),
            saved.marks.len()
        );
    }

    /// Leaves it to the next daemon.
    pub(super) fn save(&self, shared: &Shared) {
        let save = || {
            // What is half written has no end and is not believed.
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

/// # Errors
/// When it cannot be opened, or is not in RAM; not even an empty file is made elsewhere.
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
        write!(out, "quota {} ", user.quota_used.get())?;
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

/// `None` for an empty file.
fn read(mut from: impl BufRead) -> io::Result<Option<Saved>> {
    let wrong = || io::Error::other("it was not written by this program, or not to its end");
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
    fn what_is_cut_short_or_strange_is_not_believed() {
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
        // The last byte is the line's end behind `end`.
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
