//! The account and its auth keys, in memory and in the account file, and the offset of Telegram's clock.

use crate::route::TEST_DCS;
use crate::store::{Account, Contents, Key, Store, StoreError};
use mtrelay_core::sys::clock;
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// The data centre of a login before Telegram names the account's own one.
const INITIAL_HOME_DC: i32 = 2;
/// Pause between two writes that only bring new salts: each write costs the flash memory a block.
const SALT_SAVE_INTERVAL: Duration = Duration::from_secs(3600);

/// The account's keys. Every change but new salts is written to the file at once.
pub(crate) struct Keyring {
    store: Store,
    contents: RefCell<Contents>,
    saved_at: Cell<Instant>,
    /// Whether these are Telegram's test servers.
    test: bool,
    /// The servers' clock minus ours, in seconds.
    clock_offset: Cell<i64>,
    /// The home data centre of an account that is logging in.
    login_dc: Cell<Option<i32>>,
}

impl Keyring {
    /// Reads the account file.
    pub(crate) fn load(store: Store, test: bool) -> Result<Keyring, StoreError> {
        let contents = store.load()?;
        Ok(Keyring {
            store,
            contents: RefCell::new(contents),
            saved_at: Cell::new(clock::now()),
            test,
            clock_offset: Cell::new(0),
            login_dc: Cell::new(None),
        })
    }

    /// The account that is logged in.
    pub(crate) fn account(&self) -> Option<Account> {
        self.contents.borrow().account
    }

    /// The account's own data centre, or the one to log in at.
    pub(crate) fn home(&self) -> i32 {
        let account = self.account().map(|account| account.home);
        account.or(self.login_dc.get()).unwrap_or(INITIAL_HOME_DC)
    }

    /// Sets the data centre to log in at.
    pub(crate) fn set_login_dc(&self, dc: i32) {
        self.login_dc.set(Some(dc));
    }

    /// Keeps the account that has logged in. Only its own data centre knows it yet.
    pub(crate) fn set_account(&self, account: Account) {
        self.change(|contents| {
            contents.account = Some(account);
            for (dc, key) in &mut contents.keys {
                key.authorized = *dc == account.home;
            }
        });
    }

    /// Forgets the account and all keys.
    pub(crate) fn clear(&self) {
        self.change(|contents| *contents = Contents::default());
    }

    /// The number of a data centre in transport headers and key exchanges.
    pub(crate) fn wire_dc(&self, dc: i32) -> i32 {
        if self.test { dc + TEST_DCS } else { dc }
    }

    /// The servers' clock, in Unix seconds.
    pub(crate) fn server_time(&self) -> u32 {
        let time = i64::from(clock::unix_now()) + self.clock_offset.get();
        u32::try_from(time).unwrap_or_default()
    }

    /// The key of a data centre.
    pub(crate) fn key(&self, dc: i32) -> Option<Key> {
        self.contents.borrow().keys.get(&dc).cloned()
    }

    /// Whether the data centre knows that the key belongs to the account.
    pub(crate) fn is_authorized(&self, dc: i32) -> bool {
        let contents = self.contents.borrow();
        contents.keys.get(&dc).is_some_and(|key| key.authorized)
    }

    /// Keeps a key that was just exchanged, and the server's time in Unix seconds.
    pub(crate) fn put_key(&self, dc: i32, key: Key, server_time: i64) {
        self.clock_offset.set(server_time - i64::from(clock::unix_now()));
        self.change(|contents| {
            contents.keys.insert(dc, key);
        });
    }

    /// Changes a key. If only its salts are new, the file is written at most once an hour.
    pub(crate) fn change_key(&self, dc: i32, change: impl FnOnce(&mut Key)) {
        let mut contents = self.contents.borrow_mut();
        let Some(key) = contents.keys.get_mut(&dc) else {
            return;
        };
        let before = key.authorized;
        change(key);
        let now = clock::now();
        let is_due = now.saturating_duration_since(self.saved_at.get()) > SALT_SAVE_INTERVAL;
        let save = key.authorized != before || is_due;
        drop(contents);
        if save {
            self.save();
        }
    }

    /// Forgets the key of a data centre.
    pub(crate) fn forget_key(&self, dc: i32) {
        self.change(|contents| {
            contents.keys.remove(&dc);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Contents)) {
        change(&mut self.contents.borrow_mut());
        self.save();
    }

    fn save(&self) {
        self.saved_at.set(clock::now());
        if let Err(error) = self.store.save(&self.contents.borrow()) {
            log::warn!("{error}");
        }
    }
}
