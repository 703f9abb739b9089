//! The client under test, and common steps of the tests.

use mtfetch::link::{Chat, Link};
use mtfetch::route::Route;
use mtfetch::rsa::PublicKey;
use mtfetch::source::{FetchError, Media, MediaReader as _, Source as _};
use mtfetch::store::Store;
use mtfetch::telegram::{Device, Telegram, TelegramOptions};
use mtproto_test_dc::world::{Channel, File, Message};
use mtproto_test_dc::{Cluster, World};
use mtrelay_core::dc::{DcId, Table};
use mtrelay_core::dial::{DialOptions, Dialer};
use mtrelay_core::reactor;
use mtrelay_test_support::clock::patience;
use mtrelay_test_support::relay::TempDir;
use sha2::{Digest as _, Sha256};
use smol::LocalExecutor;
use smol::future::FutureExt as _;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// The channel of [`world`]: message `n` has file `n`.
pub(crate) const CHANNEL: &str = "files";
/// The bot of every world.
pub(crate) const TOKEN: &str = "7000:test-token";

/// A world with one channel and these files in it.
pub(crate) fn world(files: impl IntoIterator<Item = File>) -> World {
    let mut world = World::new();
    world.files = files.into_iter().collect();
    let mut channel = Channel::public(2001, CHANNEL);
    let message = |file: &File| (file.id as i32, Message::with_file(file.id));
    channel.messages = world.files.iter().map(message).collect();
    world.channels.push(channel);
    world
}

/// The link of a message in that channel.
pub(crate) fn link(message: i32) -> Link {
    Link {
        chat: Chat::Name(CHANNEL.into()),
        message,
        comment: None,
        single: false,
    }
}

/// The direct route to the data centres.
pub(crate) fn direct(cluster: &Cluster) -> Route {
    let mut table = Table::built_in();
    for (dc, address) in cluster.addrs() {
        let id = i16::try_from(*dc).ok().and_then(DcId::new);
        table.set(
            id.expect("the cluster's numbers are numbers of data centres"),
            vec![*address],
        );
    }
    Route::Direct(table)
}

/// The setup of a client.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) route: Route,
    pub(crate) connections: usize,
    pub(crate) public_key: &'static str,
    pub(crate) api: (i32, String),
}

impl Setup {
    pub(crate) fn new(cluster: &Cluster, route: Route, connections: usize) -> Setup {
        Setup {
            route,
            connections,
            public_key: cluster.public_key(),
            api: cluster.world(|world| (world.api_id, world.api_hash.clone())),
        }
    }
}

/// Runs a client with the account of this file, which may not exist.
///
/// # Panics
/// When the work takes more than ten times the patience of one step.
pub(crate) fn run<T>(setup: Setup, account: &Path, work: impl AsyncFnOnce(Telegram) -> T) -> T {
    let executor = Rc::new(LocalExecutor::new());
    let dialer = Dialer::new(executor.clone(), DialOptions::default());
    let options = TelegramOptions {
        api_id: setup.api.0,
        api_hash: setup.api.1,
        routes: vec![setup.route],
        keys: PublicKey::from_pem(setup.public_key).expect("the cluster's key is one"),
        store: Store::new(account),
        connections: setup.connections,
        device: Device::this(),
        test: false,
    };
    let limit = patience() * 10;
    let done = reactor::block_on(executor.clone().run(async {
        let telegram = Telegram::new(executor.clone(), dialer, options).expect("the file is new or ours");
        let late = async {
            reactor::Timer::after(limit).await;
            panic!("the work is not done after {limit:?}");
        };
        let done = work(telegram).or(late).await;
        // Dropped tasks end in the executor, which closes their sockets.
        for _ in 0..100 {
            smol::future::yield_now().await;
        }
        done
    }));
    done.expect("the system has descriptors for a reactor")
}

/// Runs a client that has logged in as a bot.
pub(crate) fn logged_in<T>(setup: Setup, work: impl AsyncFnOnce(Telegram) -> T) -> T {
    let dir = TempDir::new();
    run(setup, &dir.path().join("account"), async |telegram| {
        telegram.login_bot(TOKEN).await.expect("the bot is known");
        work(telegram).await
    })
}

/// The one medium behind a link.
pub(crate) async fn find(telegram: &Telegram, message: i32) -> Media {
    let found = telegram.find(&link(message)).await;
    let mut found = found.expect("the message is there");
    assert_eq!(found.len(), 1, "one medium: {found:?}");
    found.swap_remove(0)
}

/// The length of a range, and its digest.
pub(crate) async fn digest(
    telegram: &Telegram,
    media: &Media,
    part: Range<u64>,
) -> Result<(u64, [u8; 32]), FetchError> {
    let (mut hash, mut count) = (Sha256::new(), 0);
    let mut reader = telegram.open(media, part);
    while let Some(bytes) = reader.next().await? {
        assert!(!bytes.is_empty(), "an empty piece");
        count += bytes.len() as u64;
        hash.update(&bytes);
    }
    Ok((count, hash.finalize().into()))
}

/// Downloads a whole file and compares its digest with that of the source.
pub(crate) async fn fetch_whole(telegram: &Telegram, file: &File) {
    let media = find(telegram, file.id as i32).await;
    assert_eq!(media.size, file.size);
    let fetched = digest(telegram, &media, 0..file.size).await;
    let fetched = fetched.unwrap_or_else(|error| panic!("the file does not come: {error}"));
    assert_eq!(
        fetched,
        (file.size, file.sha256()),
        "other bytes than at the source"
    );
}

/// Asserts that the client has broken no rule of the server.
#[track_caller]
pub(crate) fn assert_no_violations(cluster: &Cluster) {
    let violations = cluster.counters().violations;
    assert!(violations.is_empty(), "broken rules: {violations:#?}");
}

/// Milliseconds.
pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}
