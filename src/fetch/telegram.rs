//! Telegram as a [`Source`]: the account, its data centres, and what is remembered between two lookups.

use crate::dc::{DataCenters, DcContext};
use crate::download::Download;
use crate::file_reference::FileReferences;
use crate::keyring::Keyring;
use crate::link::Link;
use crate::media::MediaFinder;
use crate::route::{Connector, Route};
use crate::rsa::PublicKey;
use crate::source::{FetchError, Media, Source};
use crate::store::{Store, StoreError};
use grammers_tl_types::{LAYER, Serializable as _};
use mtrelay_core::dial::Dialer;
use smol::LocalExecutor;
use std::ops::Range;
use std::rc::Rc;

/// Upper bound of connections per data centre.
const MAX_CONNECTIONS: usize = 8;

/// What a [`Telegram`] is made from.
#[derive(Clone, Debug)]
pub struct TelegramOptions {
    /// The number of the owner's application, from my.telegram.org.
    pub api_id: i32,
    /// The hash of the owner's application.
    pub api_hash: String,
    /// Routes to the data centres. After a failure the next one is used.
    pub routes: Vec<Route>,
    /// Public keys that a data centre may have.
    pub keys: Vec<PublicKey>,
    /// The account file.
    pub store: Store,
    /// Connections per data centre, 1 to 8.
    pub connections: usize,
    /// The device that Telegram shows.
    pub device: Device,
    /// Whether to use Telegram's test servers, whose numbers are offset by 10000.
    pub test: bool,
}

/// The device as Telegram shows it in the account's list of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The model, such as the router's name.
    pub model: String,
    /// The operating system.
    pub system: String,
}

impl Device {
    /// This machine, by the files that OpenWrt, the device tree and the kernel provide.
    #[must_use]
    pub fn this() -> Device {
        let line = |path: &str| {
            let text = std::fs::read_to_string(path).ok()?;
            let line = text.lines().next()?.trim().trim_matches('\0').to_owned();
            (!line.is_empty()).then_some(line)
        };
        // OpenWrt's board name, else the device tree's, else the CPU architecture.
        let model = line("/tmp/sysinfo/model").or_else(|| line("/proc/device-tree/model"));
        let release = line("/proc/sys/kernel/osrelease");
        Device {
            model: model.unwrap_or_else(|| format!("Linux {}", std::env::consts::ARCH)),
            system: release.map_or_else(|| "Linux".into(), |release| format!("Linux {release}")),
        }
    }
}

/// Telegram as one account sees it.
#[derive(Clone)]
pub struct Telegram {
    pub(crate) api_id: i32,
    pub(crate) api_hash: Rc<str>,
    pub(crate) dcs: Rc<DataCenters>,
    pub(crate) finder: Rc<MediaFinder>,
    pub(crate) references: Rc<FileReferences>,
}

impl Telegram {
    /// Telegram with the account of the account file, if there is one.
    ///
    /// # Errors
    /// The account file cannot be read.
    pub fn new(
        executor: Rc<LocalExecutor<'static>>,
        dialer: Rc<Dialer>,
        options: TelegramOptions,
    ) -> Result<Telegram, StoreError> {
        let keyring = Keyring::load(options.store, options.test)?;
        let introduction = introduction(options.api_id, &options.device);
        let dcs = DataCenters::new(DcContext {
            executor,
            connector: Connector {
                dialer,
                routes: options.routes,
                keys: options.keys,
            },
            keyring: Rc::new(keyring),
            introduction: introduction.into(),
            connections: options.connections.clamp(1, MAX_CONNECTIONS),
        });
        let finder = Rc::new(MediaFinder::new(dcs.clone()));
        Ok(Telegram {
            api_id: options.api_id,
            api_hash: options.api_hash.into(),
            references: Rc::new(FileReferences::new(finder.clone())),
            finder,
            dcs,
        })
    }
}

impl Source for Telegram {
    type Reader = Download;

    async fn find(&self, link: &Link) -> Result<Vec<Media>, FetchError> {
        self.finder.find(link).await
    }

    fn open(&self, media: &Media, range: Range<u64>) -> Download {
        Download::start(self.dcs.clone(), self.references.clone(), media, range)
    }
}

/// `invokeWithLayer(initConnection(…))`, which precedes the first request of a connection.
fn introduction(api_id: i32, device: &Device) -> Vec<u8> {
    let mut bytes = Vec::new();
    const INVOKE_WITH_LAYER: u32 = 0xda9b_0d0d;
    const INIT_CONNECTION: u32 = 0xc1cd_5ea9;
    INVOKE_WITH_LAYER.serialize(&mut bytes);
    LAYER.serialize(&mut bytes);
    INIT_CONNECTION.serialize(&mut bytes);
    0_u32.serialize(&mut bytes);
    api_id.serialize(&mut bytes);
    device.model.serialize(&mut bytes);
    device.system.serialize(&mut bytes);
    env!("CARGO_PKG_VERSION").to_owned().serialize(&mut bytes);
    // Languages: of the system, of the texts (none are loaded), of the program.
    ["en", "", "en"]
        .iter()
        .for_each(|text| (*text).to_owned().serialize(&mut bytes));
    bytes
}
