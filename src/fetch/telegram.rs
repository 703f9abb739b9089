//! Telegram as a [`Source`]: the account, its data centres, and what is remembered between two questions.

use crate::center::{As, Center, fetch_error};
use crate::connection::{CallError, Connection};
use crate::download::Download;
use crate::link::Link;
use crate::rsa::PublicKey;
use crate::source::{FetchError, Media, Source};
use crate::store::{Contents, Key, Store, StoreError};
use crate::way::{Roads, TEST_DCS, Way};
use grammers_tl_types::{LAYER, Serializable as _, enums, functions};
use mtrelay_core::dial::Dialer;
use mtrelay_core::sys::clock;
use smol::LocalExecutor;
use smol::future::try_zip;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

/// The data centre of those who have not logged in yet; it says where they belong.
const FIRST_HOME: i32 = 2;
/// Salts are kept no more often than this: each time costs the flash memory a block.
const SALTS_EVERY: Duration = Duration::from_secs(3600);
/// So many file references are remembered.
const MOST_REFERENCES: usize = 256;

/// What the owner may choose.
#[derive(Clone, Debug)]
pub struct Options {
    /// The number of the owner's own application, from my.telegram.org,
    pub api_id: i32,
    /// and its hash.
    pub api_hash: String,
    /// Ways to the data centres. A connection that fails is made anew by the next one.
    pub ways: Vec<Way>,
    /// Public keys that a data centre may have.
    pub keys: Vec<PublicKey>,
    /// The file with the account.
    pub store: Store,
    /// Connections to the data centre of a file.
    pub connections: usize,
    /// What this is running on.
    pub device: Device,
    /// The servers are Telegram's test servers, whose numbers begin behind 10000.
    pub test: bool,
}

/// How the program introduces itself. Telegram shows it to the owner in the list of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The machine.
    pub model: String,
    /// Its system.
    pub system: String,
}

impl Device {
    /// This machine, as its system tells.
    #[must_use]
    pub fn this() -> Device {
        let line = |path: &str| {
            let text = std::fs::read_to_string(path).ok()?;
            let line = text.lines().next()?.trim().trim_matches('\0').to_owned();
            (!line.is_empty()).then_some(line)
        };
        // OpenWrt's name of the board, then the device tree's, then the processor's.
        let model = line("/tmp/sysinfo/model").or_else(|| line("/proc/device-tree/model"));
        let release = line("/proc/sys/kernel/osrelease");
        Device {
            model: model.unwrap_or_else(|| format!("Linux {}", std::env::consts::ARCH)),
            system: release.map_or_else(|| "Linux".into(), |release| format!("Linux {release}")),
        }
    }
}

/// Telegram, as an account sees it.
#[derive(Clone)]
pub struct Telegram {
    pub(crate) inner: Rc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) executor: Rc<LocalExecutor<'static>>,
    pub(crate) roads: Roads,
    pub(crate) api_id: i32,
    pub(crate) api_hash: String,
    store: Store,
    contents: RefCell<Contents>,
    salts_kept: Cell<Instant>,
    connections: usize,
    introduction: Rc<[u8]>,
    test: bool,
    /// How far the servers' clock is ahead of ours, in seconds.
    ahead: Cell<i64>,
    /// Where somebody who logs in is sent.
    moved: Cell<Option<i32>>,
    centers: RefCell<BTreeMap<i32, Rc<Center>>>,
    pub(crate) references: RefCell<BTreeMap<i64, Rc<Reference>>>,
    pub(crate) chats: RefCell<crate::media::Chats>,
    me: Weak<Inner>,
}

/// What opens a file just now. One at a time asks for a new one.
pub(crate) struct Reference {
    pub(crate) bytes: smol::lock::Mutex<Vec<u8>>,
    pub(crate) dc: Cell<i32>,
}

impl Telegram {
    /// Telegram, with the account that the store has, if it has one.
    ///
    /// # Errors
    /// The store is not readable.
    pub fn new(
        executor: Rc<LocalExecutor<'static>>,
        dialer: Rc<Dialer>,
        options: Options,
    ) -> Result<Telegram, StoreError> {
        let contents = options.store.load()?;
        let introduction = introduction(options.api_id, &options.device).into();
        let inner = Rc::new_cyclic(|me| Inner {
            executor,
            roads: Roads {
                dialer,
                ways: options.ways,
                keys: options.keys,
            },
            api_id: options.api_id,
            api_hash: options.api_hash,
            store: options.store,
            contents: RefCell::new(contents),
            salts_kept: Cell::new(clock::now()),
            connections: options.connections.clamp(1, 8),
            introduction,
            test: options.test,
            ahead: Cell::new(0),
            moved: Cell::new(None),
            centers: RefCell::default(),
            references: RefCell::default(),
            chats: RefCell::default(),
            me: me.clone(),
        });
        Ok(Telegram { inner })
    }
}

impl Source for Telegram {
    type Reader = Download;

    async fn find(&self, link: &Link) -> Result<Vec<Media>, FetchError> {
        self.inner.find(link).await
    }

    fn open(&self, media: &Media, part: Range<u64>) -> Download {
        Download::start(self.inner.clone(), media, part)
    }
}

impl Inner {
    /// The account's own data centre, or the one to log in at.
    pub(crate) fn home(&self) -> i32 {
        let account = self.contents.borrow().account.map(|account| account.home);
        account.or(self.moved.get()).unwrap_or(FIRST_HOME)
    }

    /// Whoever logs in belongs there.
    pub(crate) fn move_to(&self, dc: i32) {
        self.moved.set(Some(dc));
    }

    /// A data centre.
    pub(crate) fn center(&self, dc: i32) -> Rc<Center> {
        let mut centers = self.centers.borrow_mut();
        let center = centers
            .entry(dc)
            .or_insert_with(|| Center::new(self.me.clone(), dc, self.connections));
        center.clone()
    }

    /// Calls a method at the account's own data centre.
    pub(crate) async fn call(&self, body: &[u8]) -> Result<crate::answer::Answer, CallError> {
        if self.contents.borrow().account.is_none() {
            return Err(CallError::Rpc(crate::session::RpcError {
                code: 401,
                message: "AUTH_KEY_UNREGISTERED".into(),
            }));
        }
        self.center(self.home()).call(body, As::Account).await
    }

    /// The number that a data centre has in headers and exchanges.
    pub(crate) fn number(&self, dc: i32) -> i32 {
        if self.test { dc + TEST_DCS } else { dc }
    }

    pub(crate) fn introduction(&self) -> Rc<[u8]> {
        self.introduction.clone()
    }

    /// The servers' clock, as well as it is known.
    pub(crate) fn server_time(&self) -> u32 {
        let time = i64::from(clock::unix_now()) + self.ahead.get();
        u32::try_from(time).unwrap_or_default()
    }

    pub(crate) fn key(&self, dc: i32) -> Option<Key> {
        self.contents.borrow().keys.get(&dc).cloned()
    }

    pub(crate) fn is_authorized(&self, dc: i32) -> bool {
        self.contents
            .borrow()
            .keys
            .get(&dc)
            .is_some_and(|key| key.authorized)
    }

    pub(crate) fn put_key(&self, dc: i32, key: Key, server_time: i64) {
        self.ahead.set(server_time - i64::from(clock::unix_now()));
        self.change(|contents| {
            contents.keys.insert(dc, key);
        });
    }

    /// Changes a key, and keeps it unless only its salts are others.
    pub(crate) fn change_key(&self, dc: i32, work: impl FnOnce(&mut Key)) {
        let mut contents = self.contents.borrow_mut();
        let Some(key) = contents.keys.get_mut(&dc) else {
            return;
        };
        let before = key.authorized;
        work(key);
        let now = clock::now();
        let due = now.saturating_duration_since(self.salts_kept.get()) > SALTS_EVERY;
        let keep = key.authorized != before || due;
        drop(contents);
        if keep {
            self.keep();
        }
    }

    pub(crate) fn forget_key(&self, dc: i32) {
        self.change(|contents| {
            contents.keys.remove(&dc);
        });
    }

    /// Changes what is stored, and stores it.
    pub(crate) fn change(&self, work: impl FnOnce(&mut Contents)) {
        work(&mut self.contents.borrow_mut());
        self.keep();
    }

    pub(crate) fn contents(&self) -> Contents {
        self.contents.borrow().clone()
    }

    fn keep(&self) {
        self.salts_kept.set(clock::now());
        if let Err(error) = self.store.save(&self.contents.borrow()) {
            log::warn!("{error}");
        }
    }

    pub(crate) fn close_all(&self) {
        for center in self.centers.take().into_values() {
            center.close_all();
        }
    }

    /// Brings the account to a data centre that does not know it yet, over a connection to there that `opening` makes
    /// meanwhile.
    pub(crate) async fn authorize(
        &self,
        dc: i32,
        opening: impl Future<Output = Result<Rc<Connection>, CallError>>,
    ) -> Result<Rc<Connection>, CallError> {
        let export = functions::auth::ExportAuthorization { dc_id: dc }.to_bytes();
        // Boxed: the account's own data centre never comes here, so this does not go on for ever.
        let (connection, exported) = try_zip(opening, Box::pin(self.call(&export))).await?;
        let wrong = |_| CallError::Wrong("the exported authorization is none".into());
        let enums::auth::ExportedAuthorization::Authorization(exported) = exported.decode().map_err(wrong)?;
        let import = functions::auth::ImportAuthorization {
            id: exported.id,
            bytes: exported.bytes,
        };
        let answer = crate::way::within(Duration::from_secs(15), connection.call(&import.to_bytes())).await;
        answer.unwrap_or_else(|| Err(CallError::Lost("no answer came".into())))?;
        self.change_key(dc, |key| key.authorized = true);
        Ok(connection)
    }

    /// What opens this file, as far as is known.
    pub(crate) fn reference(&self, media: &Media) -> Rc<Reference> {
        let mut references = self.references.borrow_mut();
        if references.len() >= MOST_REFERENCES {
            references.retain(|_, reference| Rc::strong_count(reference) > 1);
        }
        let reference = references.entry(media.id).or_insert_with(|| {
            Rc::new(Reference {
                bytes: smol::lock::Mutex::new(media.file_reference.clone()),
                dc: Cell::new(media.dc),
            })
        });
        reference.clone()
    }

    /// A new reference instead of `used`: all who come meanwhile share one question.
    pub(crate) async fn fresh_reference(&self, media: &Media, used: &[u8]) -> Result<Vec<u8>, FetchError> {
        let reference = self.reference(media);
        let mut bytes = reference.bytes.lock().await;
        if *bytes != used {
            return Ok(bytes.clone());
        }
        let single = Link {
            single: true,
            ..media.origin.clone()
        };
        let found = self.find(&single).await?;
        let same = found.into_iter().find(|found| found.id == media.id);
        let same = same.ok_or_else(|| FetchError::NotFound("the message has another file now".into()))?;
        *bytes = same.file_reference;
        Ok(bytes.clone())
    }

    /// Calls a method at the account's own data centre and reads its answer.
    pub(crate) async fn ask<T: grammers_tl_types::Deserializable>(
        &self,
        body: &[u8],
    ) -> Result<T, FetchError> {
        let answer = self.call(body).await.map_err(fetch_error)?;
        answer
            .decode()
            .map_err(|_| FetchError::Protocol("an answer of another kind".into()))
    }
}

/// What precedes the first request of a connection: the layer, and who we are.
fn introduction(api_id: i32, device: &Device) -> Vec<u8> {
    let mut bytes = Vec::new();
    /// `invokeWithLayer` and `initConnection`.
    const NAMES: [u32; 2] = [0xda9b_0d0d, 0xc1cd_5ea9];
    NAMES[0].serialize(&mut bytes);
    LAYER.serialize(&mut bytes);
    NAMES[1].serialize(&mut bytes);
    0_u32.serialize(&mut bytes);
    api_id.serialize(&mut bytes);
    device.model.serialize(&mut bytes);
    device.system.serialize(&mut bytes);
    env!("CARGO_PKG_VERSION").to_owned().serialize(&mut bytes);
    // The languages of the system, of the texts (none are loaded), of the program.
    ["en", "", "en"]
        .iter()
        .for_each(|text| (*text).to_owned().serialize(&mut bytes));
    bytes
}
