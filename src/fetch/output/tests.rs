//! Files after complete, interrupted and failed downloads.

use super::*;
use crate::memory_source::{self, Memory};
use mtrelay_core::reactor::block_on;
use mtrelay_test_support::relay::TempDir;
use partial::BLOCK;
use std::fs;

const SIZE: u64 = 5 * BLOCK + 12_345;

struct OutputFolder(TempDir);

impl OutputFolder {
    fn file(&self) -> PathBuf {
        self.0.path().join("film.mp4")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[derive(Default)]
struct Seen {
    there: u64,
    added: u64,
    ended: bool,
}

impl SaveEvents for Seen {
    fn begin(&mut self, _: &Media, _: &Target, there: u64) {
        self.there = there;
    }

    fn add(&mut self, bytes: u64) {
        self.added += bytes;
    }

    fn end(&mut self, _: &Target) {
        self.ended = true;
    }
}

fn get(memory: &Memory, media: &Media, target: &Target) -> (Seen, Result<(), SaveError>) {
    let mut seen = Seen::default();
    let result = block_on(save(memory, media, target, &mut seen)).unwrap();
    (seen, result)
}

/// A download that fails at this offset.
fn broken_at(folder: &OutputFolder, media: &Media, at: u64) {
    let memory = Memory::with([media.clone()]);
    *memory.fault.borrow_mut() = Some((at, FetchError::Connection("gone".into())));
    let (_, result) = get(&memory, media, &Target::File(folder.file()));
    assert!(
        matches!(result, Err(SaveError::Fetch(FetchError::Connection(_)))),
        "{result:?}"
    );
    assert_eq!(folder.names(), ["film.mp4.part", "film.mp4.part.sums"]);
}

/// Resumes the download. Returns the bytes that were kept.
fn goes_on(folder: &OutputFolder, media: &Media) -> u64 {
    let memory = Memory::with([media.clone()]);
    let (seen, result) = get(&memory, media, &Target::File(folder.file()));
    result.unwrap();
    assert!(seen.ended);
    assert_eq!(seen.there + seen.added, media.size);
    assert_eq!(memory.given.get(), seen.added, "only what was missing is fetched");
    assert!(fs::read(folder.file()).unwrap() == memory_source::bytes(media.id, 0..media.size));
    assert_eq!(folder.names(), ["film.mp4"]);
    seen.there
}

#[test]
fn a_file_takes_its_place_when_it_is_whole() {
    for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, SIZE] {
        let folder = OutputFolder(TempDir::new());
        assert_eq!(goes_on(&folder, &memory_source::media(5, size)), 0);
        // A second download replaces the file.
        assert_eq!(goes_on(&folder, &memory_source::media(6, size)), 0);
    }
}

#[test]
fn a_broken_download_goes_on_behind_its_last_whole_mebibyte() {
    let media = memory_source::media(5, SIZE);
    for (at, believed) in [
        (0, 0),
        (BLOCK - 1, 0),
        (2 * BLOCK, 2 * BLOCK),
        (SIZE - 1, 5 * BLOCK),
    ] {
        let folder = OutputFolder(TempDir::new());
        broken_at(&folder, &media, at);
        assert_eq!(goes_on(&folder, &media), believed, "{at}");
    }
}

#[test]
fn what_is_there_is_compared_with_its_sums() {
    let media = memory_source::media(5, SIZE);
    let changed = |change: &dyn Fn(&Path, &Path)| {
        let folder = OutputFolder(TempDir::new());
        broken_at(&folder, &media, SIZE - 1);
        change(
            &folder.0.path().join("film.mp4.part"),
            &folder.0.path().join("film.mp4.part.sums"),
        );
        goes_on(&folder, &media)
    };
    let edit = |path: &Path, work: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(path).unwrap();
        work(&mut bytes);
        fs::write(path, bytes).unwrap();
    };
    let flip = |at: u64| move |bytes: &mut Vec<u8>| bytes[at as usize] ^= 1;
    let part = |at| changed(&|part: &Path, _: &Path| edit(part, &flip(at)));
    assert_eq!(part(0), 0);
    assert_eq!(part(3 * BLOCK + 77), 3 * BLOCK);
    // Bytes behind the last checksum are never kept.
    assert_eq!(part(5 * BLOCK), 5 * BLOCK);
    assert_eq!(
        changed(&|part, _| edit(part, &|bytes| bytes.truncate(1_500_000))),
        BLOCK
    );
    assert_eq!(
        changed(&|part, _| edit(part, &|bytes| bytes.resize(SIZE as usize * 2, 0))),
        5 * BLOCK
    );
    assert_eq!(changed(&|_, sums| fs::remove_file(sums).unwrap()), 0);
    assert_eq!(changed(&|part, _| fs::remove_file(part).unwrap()), 0);
    assert_eq!(changed(&|_, sums| edit(sums, &Vec::clear)), 0);
    assert_eq!(changed(&|_, sums| edit(sums, &flip(3))), 0);
    let second_line = |bytes: &mut Vec<u8>| {
        let at = bytes.iter().position(|&b| b == b'\n').unwrap() + 65 + 10;
        bytes[at] = 0xff;
    };
    assert_eq!(changed(&|_, sums| edit(sums, &second_line)), BLOCK);
    assert_eq!(
        changed(&|_, sums| edit(sums, &|bytes| bytes.truncate(bytes.len() - 2))),
        4 * BLOCK
    );
}

#[test]
fn the_parts_of_another_medium_are_not_believed() {
    let folder = OutputFolder(TempDir::new());
    broken_at(&folder, &memory_source::media(5, SIZE), 3 * BLOCK);
    assert_eq!(goes_on(&folder, &memory_source::media(6, SIZE)), 0);
    let folder = OutputFolder(TempDir::new());
    broken_at(&folder, &memory_source::media(5, SIZE), 3 * BLOCK);
    assert_eq!(goes_on(&folder, &memory_source::media(5, BLOCK)), 0);
}

#[test]
fn one_at_a_time_makes_a_file() {
    let folder = OutputFolder(TempDir::new());
    let media = memory_source::media(5, SIZE);
    let first = Partial::open(&folder.file(), &media).unwrap();
    let (_, result) = get(
        &Memory::with([media.clone()]),
        &media,
        &Target::File(folder.file()),
    );
    assert!(matches!(result, Err(SaveError::Busy(_))), "{result:?}");
    drop(first);
    goes_on(&folder, &media);
}

#[test]
fn disks_that_are_full_are_told() {
    let folder = OutputFolder(TempDir::new());
    let large = memory_source::media(5, 1 << 60);
    let (_, result) = get(
        &Memory::with([large.clone()]),
        &large,
        &Target::File(folder.file()),
    );
    assert!(
        matches!(result, Err(SaveError::NoRoom(_, needs, _)) if needs == 1 << 60),
        "{result:?}"
    );
    let media = memory_source::media(5, SIZE);
    let (_, result) = get(
        &Memory::with([media.clone()]),
        &media,
        &Target::Device("/dev/full".into()),
    );
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), "/dev/full: the disk is full");
    let nowhere = Target::File(folder.0.path().join("no/such/folder"));
    let (_, result) = get(&Memory::with([media.clone()]), &media, &nowhere);
    assert!(matches!(result, Err(SaveError::Disk(..))), "{result:?}");
}

#[test]
fn pipes_get_the_bytes_as_they_come() {
    let folder = OutputFolder(TempDir::new());
    let path = folder.0.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let media = memory_source::media(5, 200_000);
    let found = targets(Some(&path), std::slice::from_ref(&media)).unwrap();
    assert_eq!(found, [Target::Device(path.clone())]);
    let reading = std::thread::spawn(move || fs::read(path).unwrap());
    let (seen, result) = get(&Memory::with([media.clone()]), &media, &found[0]);
    result.unwrap();
    assert_eq!(seen.added, 200_000);
    assert!(reading.join().unwrap() == memory_source::bytes(5, 0..200_000));
}

#[test]
fn names_come_from_the_owner_or_are_made_harmless() {
    let named = |name: &str| Media {
        name: name.into(),
        ..memory_source::media(5, 1)
    };
    let album = [
        named("a.jpg"),
        named("a.jpg"),
        named("../../etc/passwd"),
        named("..."),
        named("a:b?.mp4"),
    ];
    let folder = OutputFolder(TempDir::new());
    let names = |output: Option<&Path>| -> Vec<String> {
        let found = targets(output, &album).unwrap();
        let name = |target: &Target| match target {
            Target::File(path) => path
                .strip_prefix(folder.0.path())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned(),
            other => panic!("{other:?}"),
        };
        found.iter().map(name).collect()
    };
    assert_eq!(
        names(Some(folder.0.path())),
        ["a.jpg", "a-2.jpg", "_.._etc_passwd", "media-5", "a_b_.mp4"]
    );
    assert_eq!(
        names(Some(&folder.file())),
        ["film.mp4", "film-2.mp4", "film-3.mp4", "film-4.mp4", "film-5.mp4"]
    );
    assert_eq!(
        targets(Some(Path::new("-")), &album[..1]).unwrap(),
        [Target::Stdout]
    );
    assert_eq!(
        targets(Some(Path::new("/dev/null")), &album[..1]).unwrap(),
        [Target::Device("/dev/null".into())]
    );
    fs::write(folder.0.path().join("a.jpg"), "mine").unwrap();
    assert!(matches!(
        targets(Some(folder.0.path()), &album),
        Err(SaveError::Exists(_))
    ));
    let long = file_name(&named(&format!("{}.mkv", "é".repeat(300))));
    assert!(long.len() <= 200 && long.ends_with("é.mkv"), "{long}");
}
