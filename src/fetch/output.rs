//! `mtfetch get`: media into files.
//!
//! A file is made beside its place (`FILE.part`, with check sums in `FILE.part.sums`, see [`partial`]) and takes its place when it is
//! whole and on the disk. What an earlier attempt left is read again and compared before anything is added to it.
//! What is no file (a pipe, a device, `-` for stdout) gets the bytes as they come.

pub(crate) mod partial;

use crate::source::{FetchError, Media, Reader, Source};
use partial::Partial;
use smol::future;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// Where a medium goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The standard output.
    Stdout,
    /// A file, which takes its place at the end.
    File(PathBuf),
    /// A pipe or a device, which gets the bytes as they come.
    Device(PathBuf),
}

/// Why there is no file.
#[derive(Debug)]
pub(crate) enum SaveError {
    /// The medium cannot be had.
    Fetch(FetchError),
    /// The file system says no. Names the file.
    Disk(PathBuf, io::Error),
    /// The file does not fit on the disk: what it still needs, and what is free.
    NoRoom(PathBuf, u64, u64),
    /// Another process makes the same file.
    Busy(PathBuf),
    /// A file of this name is there, and nobody said that it may be replaced.
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
            SaveError::Busy(path) => write!(f, "{}: another mtfetch is at it", path.display()),
            SaveError::Exists(path) => {
                write!(f, "{}: is there already (-o FILE replaces it)", path.display())
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

/// What is told while a medium comes.
pub(crate) trait Watch {
    /// It begins; so many bytes were there.
    fn begin(&mut self, media: &Media, target: &Target, there: u64);
    /// So many more are written.
    fn add(&mut self, bytes: u64);
    /// It is whole.
    fn end(&mut self, target: &Target);
}

/// Where an album's media, or the one of a message, go.
///
/// # Errors
/// When a name that the owner has not chosen is taken.
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

/// The path, or with a number before its extension if an album has used it.
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

/// A name that every file system takes, FAT included, that leads nowhere else and hides nothing.
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
    // Its extension stays.
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

/// Fetches a medium into its target.
///
/// # Errors
/// Then what came so far is kept for the next attempt, unless it went to a device.
pub(crate) async fn save<S: Source>(
    source: &S,
    media: &Media,
    target: &Target,
    watch: &mut dyn Watch,
) -> Result<(), SaveError> {
    match target {
        Target::File(path) => save_file(source, media, path, watch).await?,
        Target::Device(path) => {
            let opened = OpenOptions::new().write(true).open(path);
            let file = opened.map_err(|error| SaveError::Disk(path.clone(), error))?;
            pour(source, media, path, file, watch, target).await?;
        }
        Target::Stdout => {
            let path = PathBuf::from("stdout");
            let file = rustix::io::dup(rustix::stdio::stdout()).map(File::from);
            let file = file.map_err(|error| SaveError::Disk(path.clone(), error.into()))?;
            pour(source, media, &path, file, watch, target).await?;
        }
    }
    watch.end(target);
    Ok(())
}

async fn save_file<S: Source>(
    source: &S,
    media: &Media,
    path: &Path,
    watch: &mut dyn Watch,
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
    let there = partial.len();
    let needs = media.size - there;
    if let Some(free) = partial.free_bytes()
        && free < needs
    {
        return Err(SaveError::NoRoom(path.to_owned(), needs, free));
    }
    watch.begin(media, &target, there);
    if needs > 0 {
        let mut reader = source.open(media, there..media.size);
        let mut piece = next(&mut reader, needs).await?;
        while !piece.is_empty() {
            let len = piece.len() as u64;
            let left = media.size - partial.len() - len;
            // The next piece comes while this one is written. If none comes, what did come is written all the same.
            let writing = async {
                let written = smol::unblock(move || partial.append(&piece).map(|()| partial)).await;
                written.map_err(disk)
            };
            let reading = async { Ok(next(&mut reader, left).await) };
            let (written, read) = future::try_zip(writing, reading).await?;
            partial = written;
            watch.add(len);
            piece = read?;
        }
    }
    smol::unblock(move || partial.finish()).await.map_err(disk)
}

/// The next piece of a medium of which so much is left; empty at the end.
async fn next<R: Reader>(reader: &mut R, left: u64) -> Result<Vec<u8>, SaveError> {
    match reader.next().await? {
        _ if left == 0 => Ok(Vec::new()),
        Some(piece) if piece.len() as u64 <= left && !piece.is_empty() => Ok(piece),
        _ => Err(FetchError::Protocol("the medium has another length".into()).into()),
    }
}

/// The bytes as they come.
async fn pour<S: Source>(
    source: &S,
    media: &Media,
    path: &Path,
    mut file: File,
    watch: &mut dyn Watch,
    target: &Target,
) -> Result<(), SaveError> {
    watch.begin(media, target, 0);
    let mut left = media.size;
    let mut reader = (left > 0).then(|| source.open(media, 0..left));
    while let Some(reader) = reader.as_mut().filter(|_| left > 0) {
        let piece = next(reader, left).await?;
        let len = piece.len() as u64;
        let written = smol::unblock(move || file.write_all(&piece).map(|()| file)).await;
        file = written.map_err(|error| SaveError::Disk(path.to_owned(), error))?;
        left -= len;
        watch.add(len);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
