//! `mtfetch get`: media into files.
//!
//! A file is written as `FILE.part`, with checksums in `FILE.part.sums` (see [`partial`]), and renamed once it is complete and
//! synced. The rest of an earlier attempt is verified before anything is appended to it. A pipe, a device and `-` for stdout get
//! the bytes as they arrive.

pub(crate) mod partial;

use crate::source::{FetchError, Media, MediaReader, Source};
use partial::Partial;
use smol::future;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// The destination of a medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The standard output.
    Stdout,
    /// A file, renamed from `FILE.part` at the end.
    File(PathBuf),
    /// A pipe or a device, which gets the bytes as they arrive.
    Device(PathBuf),
}

/// Why a medium was not saved.
#[derive(Debug)]
pub(crate) enum SaveError {
    /// The medium could not be downloaded.
    Fetch(FetchError),
    /// The file system returned an error for this path.
    Disk(PathBuf, io::Error),
    /// The file does not fit on the disk: its path, the bytes it needs, the bytes that are free.
    NoRoom(PathBuf, u64, u64),
    /// Another process writes the same file.
    Busy(PathBuf),
    /// The file exists, and the owner has not named it with `-o`.
    Exists(PathBuf),
}

impl std::fmt::Display for SaveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SaveError::Fetch(error) => error.fmt(f),
            SaveError::Disk(path, error) if error.kind() == ErrorKind::StorageFull => {
                write!(f, "{}: the disk is full", path.display())
            }
            SaveError::Disk(path, error) => write!(f, "{}: {error}", path.display()),
            SaveError::NoRoom(path, needs, has) => {
                write!(f, "{}: needs {needs} bytes, and {has} are free", path.display())
            }
            SaveError::Busy(path) => write!(f, "{}: another mtfetch is writing it", path.display()),
            SaveError::Exists(path) => {
                write!(f, "{}: exists already (-o FILE replaces it)", path.display())
            }
        }
    }
}

impl std::error::Error for SaveError {}

impl From<FetchError> for SaveError {
    fn from(error: FetchError) -> SaveError {
        SaveError::Fetch(error)
    }
}

/// Receives the events of a download.
pub(crate) trait SaveEvents {
    /// The download begins. An earlier attempt left `resumed_at` bytes.
    fn begin(&mut self, media: &Media, target: &Target, resumed_at: u64);
    /// This many more bytes are written.
    fn add(&mut self, bytes: u64);
    /// The medium is complete.
    fn end(&mut self, target: &Target);
}

/// The targets of a message's media.
///
/// # Errors
/// A file exists that the owner has not named.
pub(crate) fn targets(output: Option<&Path>, media: &[Media]) -> Result<Vec<Target>, SaveError> {
    let folder = match output {
        None => Path::new(""),
        Some(path) if path == Path::new("-") => return Ok(vec![Target::Stdout; media.len()]),
        Some(path) if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") => path,
        Some(path) if path.metadata().is_ok_and(|metadata| !metadata.is_file()) => {
            return Ok(vec![Target::Device(path.to_owned()); media.len()]);
        }
        Some(path) => {
            let mut taken = HashSet::new();
            let numbered = media
                .iter()
                .map(|_| Target::File(unused(path.to_owned(), &mut taken)));
            return Ok(numbered.collect());
        }
    };
    let mut taken = HashSet::new();
    let named = media.iter().map(|media| {
        let path = unused(folder.join(file_name(media)), &mut taken);
        if path.exists() {
            Err(SaveError::Exists(path))
        } else {
            Ok(Target::File(path))
        }
    });
    named.collect()
}

/// The path, with a number before its extension if the album has used it already.
fn unused(path: PathBuf, taken: &mut HashSet<PathBuf>) -> PathBuf {
    let mut free = path.clone();
    let mut number = 2;
    while !taken.insert(free.clone()) {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = match path.extension() {
            Some(extension) => format!("{stem}-{number}.{}", extension.to_string_lossy()),
            None => format!("{stem}-{number}"),
        };
        free = path.with_file_name(name);
        number += 1;
    }
    free
}

/// A file name that every file system takes, FAT included: no separators, no leading dot.
fn file_name(media: &Media) -> String {
    const MAX_LEN: usize = 200;
    let replaced = |c: char| {
        if c.is_control() || "/\\:*?\"<>|".contains(c) {
            '_'
        } else {
            c
        }
    };
    let name: String = media.name.chars().map(replaced).collect();
    let name = name.trim_matches([' ', '.']);
    if name.is_empty() {
        return format!("media-{}", media.id as u64);
    }
    if name.len() <= MAX_LEN {
        return name.to_owned();
    }
    // The extension is kept.
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if extension.len() < 16 => (stem, format!(".{extension}")),
        _ => (name, String::new()),
    };
    let mut len = MAX_LEN - extension.len();
    while !stem.is_char_boundary(len) {
        len -= 1;
    }
    format!("{}{extension}", &stem[..len])
}

/// Downloads a medium into its target.
///
/// # Errors
/// The download or the writing failed. The bytes of a file so far are kept for the next attempt.
pub(crate) async fn save<S: Source>(
    source: &S,
    media: &Media,
    target: &Target,
    events: &mut dyn SaveEvents,
) -> Result<(), SaveError> {
    match target {
        Target::File(path) => save_file(source, media, path, events).await?,
        Target::Device(path) => {
            let opened = OpenOptions::new().write(true).open(path);
            let file = opened.map_err(|error| SaveError::Disk(path.clone(), error))?;
            stream_to(source, media, path, file, events, target).await?;
        }
        Target::Stdout => {
            let path = PathBuf::from("stdout");
            let file = rustix::io::dup(rustix::stdio::stdout()).map(File::from);
            let file = file.map_err(|error| SaveError::Disk(path.clone(), error.into()))?;
            stream_to(source, media, &path, file, events, target).await?;
        }
    }
    events.end(target);
    Ok(())
}

async fn save_file<S: Source>(
    source: &S,
    media: &Media,
    path: &Path,
    events: &mut dyn SaveEvents,
) -> Result<(), SaveError> {
    let target = Target::File(path.to_owned());
    let disk = |error: io::Error| match error.kind() {
        ErrorKind::WouldBlock => SaveError::Busy(path.to_owned()),
        _ => SaveError::Disk(path.to_owned(), error),
    };
    let (place, known) = (path.to_owned(), media.clone());
    let mut partial = smol::unblock(move || Partial::open(&place, &known))
        .await
        .map_err(disk)?;
    let resumed_at = partial.len();
    let needs = media.size - resumed_at;
    if let Some(free) = partial.free_bytes()
        && free < needs
    {
        return Err(SaveError::NoRoom(path.to_owned(), needs, free));
    }
    events.begin(media, &target, resumed_at);
    if needs > 0 {
        let mut reader = source.open(media, resumed_at..media.size);
        let mut piece = next(&mut reader, needs).await?;
        while !piece.is_empty() {
            let len = piece.len() as u64;
            let left = media.size - partial.len() - len;
            // The next piece is read while this one is written. If reading fails, this one is written nevertheless.
            let writing = async {
                let written = smol::unblock(move || partial.append(&piece).map(|()| partial)).await;
                written.map_err(disk)
            };
            let reading = async { Ok(next(&mut reader, left).await) };
            let (written, read) = future::try_zip(writing, reading).await?;
            partial = written;
            events.add(len);
            piece = read?;
        }
    }
    smol::unblock(move || partial.finish()).await.map_err(disk)
}

/// The next piece of a medium with `left` bytes to come. Empty at the end.
async fn next<R: MediaReader>(reader: &mut R, left: u64) -> Result<Vec<u8>, SaveError> {
    match reader.next().await? {
        _ if left == 0 => Ok(Vec::new()),
        Some(piece) if piece.len() as u64 <= left && !piece.is_empty() => Ok(piece),
        _ => Err(FetchError::Protocol("the medium has another length".into()).into()),
    }
}

/// Writes the bytes to a pipe or a device as they arrive.
async fn stream_to<S: Source>(
    source: &S,
    media: &Media,
    path: &Path,
    mut file: File,
    events: &mut dyn SaveEvents,
    target: &Target,
) -> Result<(), SaveError> {
    events.begin(media, target, 0);
    let mut left = media.size;
    let mut reader = (left > 0).then(|| source.open(media, 0..left));
    while let Some(reader) = reader.as_mut().filter(|_| left > 0) {
        let piece = next(reader, left).await?;
        let len = piece.len() as u64;
        let written = smol::unblock(move || file.write_all(&piece).map(|()| file)).await;
        file = written.map_err(|error| SaveError::Disk(path.to_owned(), error))?;
        left -= len;
        events.add(len);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
