//! A file that is not whole yet, and how far it can be believed.
//!
//! Beside `FILE.part` stands `FILE.part.sums`: a line that says which medium it is, then one SHA-256 for each MiB that was written. Whoever
//! goes on reads the part again from its beginning and believes it up to the first MiB that is not what its sum says; the rest is cut
//! off and fetched anew. So what a power failure, a full disk, another program or a bad sector left behind costs that much
//! of the download and nothing else. A medium that is another one than the line says begins anew.

use crate::source::Media;
use rustix::fs::FlockOperation;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// What one sum is about.
pub(crate) const BLOCK: u64 = 1 << 20;
/// A sum in hex, and the end of its line.
const LINE: u64 = 65;

/// A file in the making. Its methods block: they belong on a thread for that.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    part: File,
    sums: File,
    len: u64,
    size: u64,
    /// Of the block that is being filled.
    sum: Sha256,
}

/// A path with something behind its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The first line: format, its version, and what makes a medium this one.
fn title(media: &Media) -> String {
    let thumb = media.thumb_size.escape_default();
    format!(
        "mtfetch-sums 1 id={} size={} thumb={thumb}\n",
        media.id, media.size
    )
}

impl Partial {
    /// What an earlier attempt left of this file, as far as it is good; or nothing yet.
    ///
    /// # Errors
    /// As the file system; `WouldBlock` if somebody else is at it.
    pub(crate) fn open(path: &Path, media: &Media) -> io::Result<Partial> {
        let (part_path, sums_path) = (beside(path, ".part"), beside(path, ".part.sums"));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut part = options.open(&part_path)?;
        rustix::fs::flock(&part, FlockOperation::NonBlockingLockExclusive)?;
        let mut sums = options.open(&sums_path)?;
        let title = title(media);
        let mut lines = BufReader::new(&sums);
        let mut first = Vec::new();
        lines
            .by_ref()
            .take(title.len() as u64)
            .read_until(b'\n', &mut first)?;
        let good = if first == title.as_bytes() {
            good_blocks(&part, lines, media.size)?
        } else {
            sums.set_len(0)?;
            sums.rewind()?;
            sums.write_all(title.as_bytes())?;
            0
        };
        let len = (good * BLOCK).min(media.size);
        part.set_len(len)?;
        part.seek(SeekFrom::Start(len))?;
        let end = title.len() as u64 + good * LINE;
        sums.set_len(end)?;
        sums.seek(SeekFrom::Start(end))?;
        Ok(Partial {
            path: path.to_owned(),
            part,
            sums,
            len,
            size: media.size,
            sum: Sha256::new(),
        })
    }

    /// How much is there.
    #[must_use]
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// What the disk has left, if it says so.
    #[must_use]
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::fstatvfs(&self.part).ok()?;
        disk.f_bavail.checked_mul(disk.f_frsize)
    }

    /// Writes on.
    ///
    /// # Errors
    /// As the file system.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = (BLOCK - self.len % BLOCK).min(rest.len() as u64);
            let (now, later) = rest.split_at(room as usize);
            self.part.write_all(now)?;
            self.sum.update(now);
            self.len += room;
            if self.len.is_multiple_of(BLOCK) || self.len == self.size {
                self.sums
                    .write_all(line(self.sum.finalize_reset().as_slice()).as_bytes())?;
            }
            rest = later;
        }
        Ok(())
    }

    /// Everything is there: onto the disk with it, and to its place.
    ///
    /// # Errors
    /// As the file system.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.part.sync_all()?;
        fs::rename(beside(&self.path, ".part"), &self.path)?;
        // Without the sums the part would begin anew, so they go last.
        fs::remove_file(beside(&self.path, ".part.sums"))?;
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        // Some file systems do not sync folders; the file itself is safe.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

/// How many blocks are what their sums say.
fn good_blocks(mut part: &File, mut lines: impl io::BufRead, size: u64) -> io::Result<u64> {
    let mut block = Vec::new();
    let mut good = 0;
    part.rewind()?;
    while good * BLOCK < size {
        let mut said = String::new();
        // A line that is no text is no sum.
        if lines.by_ref().take(LINE).read_line(&mut said).is_err() {
            break;
        }
        let len = BLOCK.min(size - good * BLOCK);
        block.clear();
        part.take(len).read_to_end(&mut block)?;
        if block.len() as u64 != len || said != line(Sha256::digest(&block).as_slice()) {
            break;
        }
        good += 1;
    }
    Ok(good)
}

fn line(sum: &[u8]) -> String {
    let hex = sum.iter().map(|byte| format!("{byte:02x}"));
    hex.chain([String::from("\n")]).collect()
}
