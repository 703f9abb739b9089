//! The media behind links: in memory, in a file, and optionally in a Redis that several gateways share.
//!
//! Only metadata: which file a message has, which data centre serves it, and what opens it. With an entry the first byte of a
//! link takes no lookup at Telegram. An entry is valid for [`CacheOptions::lifetime`]; changes of the message are not seen
//! before.
//!
//! Promises: at most `MAX_ENTRIES` entries; the file is replaced as a whole and readable by its owner only; a damaged file or one
//! of another version is ignored; a Redis that does not answer costs half a second every half minute.

mod codec;
mod entry;
mod redis;

use crate::link::Link;
use crate::source::Media;
use entry::{Entry, MAX_ENTRIES};
use mtrelay_core::reactor::Timer;
use mtrelay_core::sys::clock;
use smol::channel::{Receiver, Sender};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) use redis::RedisServer;

/// Changes within this time are written together, to spare the flash memory.
const WRITE_DELAY: Duration = Duration::from_secs(5);
/// Pause after a failure of the Redis.
const REDIS_PAUSE: Duration = Duration::from_secs(30);

/// The settings of a cache.
#[derive(Clone, Debug)]
pub(crate) struct CacheOptions {
    /// The file. Without one the entries end with the process.
    pub(crate) file: Option<PathBuf>,
    /// The Redis that gateways share.
    pub(crate) redis: Option<RedisServer>,
    /// The account. Access hashes and file references are valid for one account only.
    pub(crate) account: i64,
    /// How long an entry is valid.
    pub(crate) lifetime: Duration,
}

/// The media behind links.
pub(crate) struct Cache {
    options: CacheOptions,
    entries: RefCell<HashMap<String, Entry>>,
    changed: (Sender<()>, Receiver<()>),
    /// Entries have changed since the last write.
    unwritten: Cell<bool>,
    /// When the Redis last failed.
    redis_failed: Cell<Option<Instant>>,
}

impl Cache {
    /// A cache with the entries of the file. A file that cannot be used is logged and ignored.
    #[must_use]
    pub(crate) fn new(options: CacheOptions) -> Cache {
        let mut entries = HashMap::new();
        if let Some(file) = &options.file {
            match read(file, options.account) {
                Ok(read) => entries.extend(read),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => log::warn!("{}: {error}; starting with an empty cache", file.display()),
            }
        }
        Cache {
            options,
            entries: RefCell::new(entries),
            changed: smol::channel::bounded(1),
            unwritten: Cell::new(false),
            redis_failed: Cell::new(None),
        }
    }

    /// A cache in memory only, with a lifetime of one hour.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Cache {
        Cache::new(CacheOptions {
            file: None,
            redis: None,
            account: 0,
            lifetime: Duration::from_secs(3600),
        })
    }

    /// The media behind a link, from an entry that is still valid.
    pub(crate) async fn find(&self, link: &Link) -> Option<Vec<Media>> {
        let (key, now) = (link.to_string(), clock::unix_now());
        if let Some(entry) = self.entries.borrow().get(&key)
            && self.is_fresh(entry, now)
        {
            return Some(entry.media.clone());
        }
        let server = self.usable_redis()?;
        let found = self.note_outcome(server.get(&self.redis_key(&key)).await)??;
        let entry = codec::entry(&found).filter(|entry| self.is_fresh(entry, now))?;
        let media = entry.media.clone();
        self.insert_entry(key, entry);
        Some(media)
    }

    /// Adds the media behind a link.
    pub(crate) async fn insert(&self, link: &Link, media: &[Media]) {
        let (key, looked_up) = (link.to_string(), clock::unix_now());
        let entry = Entry {
            looked_up,
            media: media.to_vec(),
        };
        let bytes = codec::entry_bytes(&entry);
        // An entry whose fields are too long for the format is not kept.
        if codec::entry(&bytes).as_ref() != Some(&entry) {
            return;
        }
        self.insert_entry(key.clone(), entry);
        let Some(server) = self.usable_redis() else { return };
        let kept = server
            .set(&self.redis_key(&key), &bytes, self.options.lifetime)
            .await;
        self.note_outcome(kept);
    }

    /// Writes the file after changes. Returns at the first change if there is no file.
    pub(crate) async fn write_changes(&self) {
        while self.changed.1.recv().await.is_ok() {
            Timer::after(WRITE_DELAY).await;
            // Changes during the delay are written with this one.
            let _ = self.changed.1.try_recv();
            let Some(file) = self.options.file.clone() else {
                return;
            };
            let bytes = self.bytes();
            let named = file.clone();
            self.unwritten.set(false);
            if let Err(error) = smol::unblock(move || write(&file, &bytes)).await {
                self.unwritten.set(true);
                log::warn!("{}: {error}; the next change is another attempt", named.display());
            }
        }
    }

    /// Writes the file now, if entries have changed.
    fn flush(&self) -> io::Result<()> {
        match &self.options.file {
            Some(file) if self.unwritten.get() => write(file, &self.bytes()),
            _ => Ok(()),
        }
    }

    fn is_fresh(&self, entry: &Entry, now: u32) -> bool {
        // An entry from the future: the clock was wrong then or is wrong now.
        let age = now.checked_sub(entry.looked_up);
        age.is_some_and(|age| u64::from(age) < self.options.lifetime.as_secs())
    }

    fn insert_entry(&self, key: String, entry: Entry) {
        let mut entries = self.entries.borrow_mut();
        if entries.len() >= MAX_ENTRIES && !entries.contains_key(&key) {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.looked_up);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                entries.remove(&oldest);
            }
        }
        entries.insert(key, entry);
        self.unwritten.set(true);
        // A full channel means that the writer is notified already.
        let _ = self.changed.0.try_send(());
    }

    fn bytes(&self) -> Vec<u8> {
        let entries = self.entries.borrow();
        codec::file_bytes(self.options.account, entries.iter())
    }

    /// The key of a link, with the version of the format and the account.
    fn redis_key(&self, link: &str) -> String {
        format!("mtfetch:{}:{}:{link}", codec::VERSION, self.options.account)
    }

    fn usable_redis(&self) -> Option<&RedisServer> {
        let rests = |at: Instant| at.elapsed() < REDIS_PAUSE;
        self.options
            .redis
            .as_ref()
            .filter(|_| !self.redis_failed.get().is_some_and(rests))
    }

    fn note_outcome<T>(&self, result: io::Result<T>) -> Option<T> {
        self.redis_failed.set(None);
        result
            .inspect_err(|error| {
                log::warn!("cache: Redis: {error}; not used for {} s", REDIS_PAUSE.as_secs());
                self.redis_failed.set(Some(clock::now()));
            })
            .ok()
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            log::warn!("cache: not written: {error}");
        }
    }
}

fn read(file: &Path, account: i64) -> io::Result<Vec<(String, Entry)>> {
    let bytes = std::fs::read(file)?;
    let invalid = || io::Error::new(ErrorKind::InvalidData, "not a cache of this version and account");
    codec::file(&bytes, account).ok_or_else(invalid)
}

/// Replaces the file as a whole.
fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut options = std::fs::OpenOptions::new();
    let mut opened = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    opened.write_all(bytes)?;
    opened.sync_all()?;
    std::fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_source;
    use mtrelay_core::reactor::block_on;
    use mtrelay_test_support::relay::TempDir;
    use std::os::unix::fs::PermissionsExt as _;

    fn options(file: Option<PathBuf>) -> CacheOptions {
        CacheOptions {
            file,
            redis: None,
            account: 7,
            lifetime: Duration::from_secs(60),
        }
    }

    fn find(cache: &Cache, link: &str) -> Option<Vec<Media>> {
        block_on(cache.find(&link.parse().unwrap())).unwrap()
    }

    #[test]
    fn what_is_kept_is_found_after_a_restart() {
        let folder = TempDir::new();
        let file = folder.path().join("cache");
        let album = vec![memory_source::media(1, 10), memory_source::media(2, 20)];
        let cache = Cache::new(options(Some(file.clone())));
        block_on(cache.insert(&"t.me/news/1".parse().unwrap(), &album)).unwrap();
        drop(cache);
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let again = Cache::new(options(Some(file.clone())));
        assert_eq!(find(&again, "t.me/news/1"), Some(album));
        assert_eq!(find(&again, "t.me/news/1?single"), None);
        let other = Cache::new(CacheOptions {
            account: 8,
            ..options(Some(file))
        });
        assert_eq!(find(&other, "t.me/news/1"), None);
    }

    #[test]
    fn a_damaged_file_is_begun_anew() {
        let folder = TempDir::new();
        let file = folder.path().join("cache");
        let cache = Cache::new(options(Some(file.clone())));
        block_on(cache.insert(&"t.me/news/1".parse().unwrap(), &[memory_source::media(1, 10)])).unwrap();
        cache.flush().unwrap();
        let good = std::fs::read(&file).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            std::fs::write(&file, &bad).unwrap();
            assert_eq!(
                find(&Cache::new(options(Some(file.clone()))), "t.me/news/1"),
                None,
                "byte {at}"
            );
            std::fs::write(&file, &good[..at]).unwrap();
            assert_eq!(
                find(&Cache::new(options(Some(file.clone()))), "t.me/news/1"),
                None,
                "{at} bytes"
            );
        }
    }

    #[test]
    fn old_entries_and_those_of_a_wrong_clock_are_not_believed() {
        let cache = Cache::new(options(None));
        let now = clock::unix_now();
        let entry = |looked_up| Entry {
            looked_up,
            media: vec![memory_source::media(1, 10)],
        };
        cache.insert_entry("t.me/news/1".into(), entry(now - 60));
        assert_eq!(find(&cache, "t.me/news/1"), None);
        cache.insert_entry("t.me/news/1".into(), entry(now + 3600));
        assert_eq!(find(&cache, "t.me/news/1"), None);
        cache.insert_entry("t.me/news/1".into(), entry(now - 5));
        assert!(find(&cache, "t.me/news/1").is_some());
    }

    #[test]
    fn the_oldest_makes_room() {
        let cache = Cache::new(options(None));
        for second in 0..=MAX_ENTRIES as u32 {
            let entry = Entry {
                looked_up: 1000 + second,
                media: vec![],
            };
            cache.insert_entry(format!("t.me/news/{second}"), entry);
        }
        let entries = cache.entries.borrow();
        assert_eq!(entries.len(), MAX_ENTRIES);
        assert!(!entries.contains_key("t.me/news/0") && entries.contains_key("t.me/news/1"));
    }
}
