//! The account file: auth keys of the data centres, their salts, and the account.
//!
//! One file that only its owner may read: a magic word with a version, the fields in a fixed order, a SHA-256 of everything
//! before it. A new version is written beside the old one and renamed, so that a power failure leaves one of the two. A damaged
//! file, or one of a later version, is an error and is never overwritten.

use crate::salts::{self, Salt, Salts};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The first bytes of the file. The last one is the version.
const MAGIC: [u8; 8] = *b"mtfetch\x01";
/// Permissions: only the owner reads and writes.
const MODE: u32 = 0o600;
/// Upper bound of the file in bytes. A key with all its salts takes 1.3 KB.
const MAX_BYTES: u64 = 64 << 10;
/// Upper bound of keys: five data centres, some for tests, the CDNs.
const MAX_KEYS: usize = 32;
/// Bytes of the SHA-256.
const DIGEST_LEN: usize = 32;

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The account that is logged in.
    pub account: Option<Account>,
    /// The auth keys by data centre.
    pub keys: BTreeMap<i32, Key>,
}

/// An account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user id.
    pub user: i64,
    /// The home data centre.
    pub home: i32,
    /// Whether the account is a bot.
    pub bot: bool,
}

/// The auth key of a data centre.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// The key itself.
    pub auth_key: [u8; 256],
    /// Whether the data centre knows that the key belongs to the account.
    pub authorized: bool,
    /// The salts of the key.
    pub salts: Salts,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key(authorized: {})", self.authorized)
    }
}

/// Why the file could not be read or written.
#[derive(Debug)]
pub enum StoreError {
    /// An I/O error.
    Io(PathBuf, io::Error),
    /// The file is not an account file of mtfetch.
    Foreign(PathBuf),
    /// The file is of a later version of mtfetch.
    Newer(PathBuf, u8),
    /// The file is damaged.
    Damaged(PathBuf),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Foreign(path) => write!(f, "{}: not an account file of mtfetch", path.display()),
            Self::Newer(path, version) => {
                let path = path.display();
                write!(
                    f,
                    "{path}: an account file of a later version of mtfetch (format {version})"
                )
            }
            Self::Damaged(path) => write!(
                f,
                "{}: the account file is damaged; remove it and log in again",
                path.display()
            ),
        }
    }
}

impl std::error::Error for StoreError {}

/// The account file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// The file at `path`. It need not exist.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Store {
        Store { path: path.into() }
    }

    /// Reads the file. A missing file is empty. If others may read the file, its permissions are corrected.
    ///
    /// # Errors
    /// The file cannot be read, is not an account file, of a later version, or damaged.
    pub fn load(&self) -> Result<Contents, StoreError> {
        let bytes = match self.read() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Contents::default()),
            Err(error) => return Err(StoreError::Io(self.path.clone(), error)),
        };
        let word = MAGIC.len() - 1;
        if bytes.get(..word) != MAGIC.get(..word) {
            return Err(StoreError::Foreign(self.path.clone()));
        }
        match bytes.get(word) {
            Some(version) if *version > MAGIC[word] => Err(StoreError::Newer(self.path.clone(), *version)),
            _ => parse(&bytes).ok_or_else(|| StoreError::Damaged(self.path.clone())),
        }
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// An I/O error. The old file is still there then.
    pub fn save(&self, contents: &Contents) -> Result<(), StoreError> {
        self.write(&emit(contents))
            .map_err(|error| StoreError::Io(self.path.clone(), error))
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let file = File::open(&self.path)?;
        let metadata = file.metadata()?;
        if metadata.permissions().mode() & 0o077 != 0 {
            log::warn!(
                "{}: was readable by others; permissions corrected",
                self.path.display()
            );
            file.set_permissions(Permissions::from_mode(MODE))?;
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut name = self.path.file_name().unwrap_or_default().to_os_string();
        name.push(".new");
        let new = self.path.with_file_name(name);
        // A rest of a killed program, with unknown permissions.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&new)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        if let Err(error) = written.and_then(|()| std::fs::rename(&new, &self.path)) {
            let _ = std::fs::remove_file(&new);
            return Err(error);
        }
        // Only this makes the rename safe from a power failure. Not every file system can sync a directory.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

fn emit(contents: &Contents) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    let (flags, account) = match contents.account {
        Some(account) => (1 | u8::from(account.bot) << 1, account),
        None => (
            0,
            Account {
                user: 0,
                home: 0,
                bot: false,
            },
        ),
    };
    bytes.push(flags);
    bytes.extend(account.user.to_le_bytes());
    bytes.extend(account.home.to_le_bytes());
    bytes.push(contents.keys.len().min(MAX_KEYS) as u8);
    for (dc, key) in contents.keys.iter().take(MAX_KEYS) {
        let (told, timed) = key.salts.parts();
        bytes.extend(dc.to_le_bytes());
        bytes.push(u8::from(key.authorized));
        bytes.extend(key.auth_key);
        bytes.extend(told.to_le_bytes());
        bytes.push(timed.len() as u8);
        for salt in timed {
            bytes.extend(salt.since.to_le_bytes());
            bytes.extend(salt.until.to_le_bytes());
            bytes.extend(salt.value.to_le_bytes());
        }
    }
    let digest = Sha256::digest(&bytes);
    bytes.extend(digest);
    bytes
}

fn parse(bytes: &[u8]) -> Option<Contents> {
    let (body, digest) = bytes.split_last_chunk::<DIGEST_LEN>()?;
    if Sha256::digest(body)[..] != digest[..] {
        return None;
    }
    let rest = &mut body.get(MAGIC.len()..)?;
    let [flags] = take(rest)?;
    let account = Account {
        user: i64::from_le_bytes(take(rest)?),
        home: i32::from_le_bytes(take(rest)?),
        bot: flags & 2 != 0,
    };
    let mut contents = Contents {
        account: (flags & 1 != 0).then_some(account),
        keys: BTreeMap::new(),
    };
    let [keys] = take(rest)?;
    for _ in 0..keys {
        let dc = i32::from_le_bytes(take(rest)?);
        let [authorized] = take(rest)?;
        let auth_key = take(rest)?;
        let told = i64::from_le_bytes(take(rest)?);
        let [count] = take(rest)?;
        let mut timed = Vec::new();
        for _ in 0..count {
            timed.push(Salt {
                since: i32::from_le_bytes(take(rest)?),
                until: i32::from_le_bytes(take(rest)?),
                value: i64::from_le_bytes(take(rest)?),
            });
        }
        let key = Key {
            auth_key,
            authorized: authorized != 0,
            salts: Salts::with_timed(told, timed),
        };
        contents.keys.insert(dc, key);
    }
    (rest.is_empty() && usize::from(keys) <= MAX_KEYS).then_some(contents)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

const _: () = assert!(salts::MAX_SALTS <= u8::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use mtrelay_test_support::relay::TempDir;

    struct StoreFolder(TempDir);

    impl StoreFolder {
        fn store(&self) -> Store {
            Store::new(self.0.path().join("session"))
        }
    }

    fn contents() -> Contents {
        let salt = |at| Salt {
            since: at,
            until: at + 3600,
            value: i64::from(at) << 20,
        };
        let key = |byte, salts| Key {
            auth_key: [byte; 256],
            authorized: byte == 2,
            salts,
        };
        Contents {
            account: Some(Account {
                user: 1 << 40,
                home: 2,
                bot: true,
            }),
            keys: [
                (2, key(2, Salts::with_timed(-5, (0..64).map(salt).collect()))),
                (-10004, key(9, Salts::new(0))),
            ]
            .into(),
        }
    }

    #[test]
    fn what_is_saved_is_loaded_and_nobody_else_reads_it() {
        let folder = StoreFolder(TempDir::new());
        let store = folder.store();
        assert_eq!(store.load().unwrap(), Contents::default());
        for contents in [contents(), Contents::default(), contents()] {
            store.save(&contents).unwrap();
            assert_eq!(store.load().unwrap(), contents);
            let mode = std::fs::metadata(&store.path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(folder.0.path()).unwrap().count(), 1);
        assert!(!format!("{:?}", contents()).contains("2, 2"));
    }

    #[test]
    fn an_open_file_is_closed_and_a_left_one_is_replaced() {
        let folder = StoreFolder(TempDir::new());
        let store = folder.store();
        store.save(&contents()).unwrap();
        std::fs::set_permissions(&store.path, Permissions::from_mode(0o644)).unwrap();
        store.load().unwrap();
        let mode = std::fs::metadata(&store.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(folder.0.path().join("session.new"), b"half").unwrap();
        store.save(&Contents::default()).unwrap();
        assert_eq!(store.load().unwrap(), Contents::default());
    }

    #[test]
    fn every_damage_is_seen() {
        let folder = StoreFolder(TempDir::new());
        let store = folder.store();
        let bytes = emit(&contents());
        let load = |bytes: &[u8]| {
            std::fs::write(&store.path, bytes).unwrap();
            store.load().unwrap_err()
        };
        for len in (0..bytes.len()).step_by(11) {
            let error = load(&bytes[..len]);
            assert!(
                matches!(error, StoreError::Damaged(_) | StoreError::Foreign(_)),
                "{len}"
            );
        }
        for at in (8..bytes.len()).step_by(13) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert!(matches!(load(&changed), StoreError::Damaged(_)), "{at}");
        }
        let mut newer = bytes.clone();
        newer[7] = 2;
        assert!(matches!(load(&newer), StoreError::Newer(_, 2)));
        assert!(matches!(load(b"something else"), StoreError::Foreign(_)));
        assert!(matches!(load(&vec![0; 1 << 20]), StoreError::Foreign(_)));
        // What is not understood stays as it is.
        assert_eq!(std::fs::read(&store.path).unwrap().len(), 1 << 20);
    }
}
