//! An incomplete file with checksums, so that a download can be resumed.
//!
//! `FILE.part.sums` lies beside `FILE.part`: a line that identifies the medium, then one SHA-256 per MiB. Resuming reads the part
//! from its start, keeps it up to the first MiB with a wrong checksum, and downloads the rest again. So a power failure, a full
//! disk, another program or a bad sector costs the bytes behind it and nothing else. Another medium starts from zero.

use crate::source::Media;
use rustix::fs::FlockOperation;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// Bytes per checksum.
pub(crate) const BLOCK: u64 = 1 << 20;
/// Bytes of a checksum line: hex and a line feed.
const LINE_LEN: u64 = 65;

/// An incomplete file. Its methods block: call them on a thread for blocking work.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    part: File,
    sums: File,
    len: u64,
    size: u64,
    /// The checksum of the block that is being filled.
    sum: Sha256,
}

/// A path with a suffix behind its file name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The first line: the format with its version, and the identity of the medium.
fn title(media: &Media) -> String {
    let thumb = media.thumb_size.escape_default();
    format!(
        "mtfetch-sums 1 id={} size={} thumb={thumb}\n",
        media.id, media.size
    )
}

impl Partial {
    /// Opens the rest of an earlier attempt up to the first wrong checksum, or an empty file.
    ///
    /// # Errors
    /// The file system's error; `WouldBlock` if another process writes the file.
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
        let end = title.len() as u64 + good * LINE_LEN;
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

    /// Bytes that are written and verified.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Free bytes of the disk, if the file system tells.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::fstatvfs(&self.part).ok()?;
        disk.f_bavail.checked_mul(disk.f_frsize)
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The file system's error.
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

    /// Syncs the complete file and renames it to its name.
    ///
    /// # Errors
    /// The file system's error.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.part.sync_all()?;
        fs::rename(beside(&self.path, ".part"), &self.path)?;
        // Last, because a part without checksums would start from zero.
        fs::remove_file(beside(&self.path, ".part.sums"))?;
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        // Not every file system can sync a directory. The file itself is synced.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

/// The number of blocks up to the first wrong checksum.
fn good_blocks(mut part: &File, mut lines: impl io::BufRead, size: u64) -> io::Result<u64> {
    let mut block = Vec::new();
    let mut good = 0;
    part.rewind()?;
    while good * BLOCK < size {
        let mut said = String::new();
        // A line that is not UTF-8 is not a checksum.
        if lines.by_ref().take(LINE_LEN).read_line(&mut said).is_err() {
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
