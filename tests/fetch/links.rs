//! From links to media: texts, albums, comments, private channels, and what is refused.

use crate::client::{Setup, TOKEN, assert_no_violations, direct, logged_in, run};
use mtfetch::link::{Chat, Link};
use mtfetch::source::{FetchError, Media, Source as _};
use mtfetch::telegram::Telegram;
use mtproto_test_dc::{Cluster, World};
use mtrelay_test_support::relay::TempDir;

fn link(chat: Chat, message: i32) -> Link {
    Link {
        chat,
        message,
        comment: None,
        single: false,
    }
}

fn named(name: &str, message: i32) -> Link {
    link(Chat::Name(name.into()), message)
}

async fn ids(telegram: &Telegram, link: &Link) -> Result<Vec<i64>, FetchError> {
    let found = telegram.find(link).await?;
    Ok(found.iter().map(|media: &Media| media.id).collect())
}

#[test]
fn links_lead_to_their_media() {
    let cluster = Cluster::start(World::sample());
    logged_in(Setup::new(&cluster, direct(&cluster), 2), async |telegram| {
        let of = async |link: Link| ids(&telegram, &link).await;
        assert_eq!(of(named("media", 2)).await, Ok(vec![501]));
        assert_eq!(of(named("MEDIA", 3)).await, Ok(vec![502]), "names have no case");
        let album = named("media", 11);
        assert_eq!(
            of(album.clone()).await,
            Ok(vec![503, 504, 506]),
            "an album in its order"
        );
        let single = Link {
            single: true,
            ..album
        };
        assert_eq!(of(single).await, Ok(vec![504]));
        let comment = Link {
            comment: Some(4),
            ..named("media", 20)
        };
        assert_eq!(of(comment).await, Ok(vec![501]), "the comment's, not the post's");
        assert_eq!(of(named("media", 20)).await, Ok(vec![508]));
        assert_eq!(
            of(link(Chat::Channel(4004), 7)).await,
            Ok(vec![506]),
            "a private channel"
        );
    });
    assert_no_violations(&cluster);
}

#[test]
fn a_person_finds_joined_channels_among_the_dialogs() {
    let cluster = Cluster::start(World::sample());
    let dir = TempDir::new();
    let setup = Setup::new(&cluster, direct(&cluster), 1);
    run(setup, &dir.path().join("account"), async |telegram| {
        let sent = telegram
            .send_code("+9996621111")
            .await
            .expect("the number is known");
        telegram.sign_in(&sent, "22222").await.expect("the code is right");
        assert_eq!(ids(&telegram, &link(Chat::Channel(4004), 7)).await, Ok(vec![506]));
        let foreign = ids(&telegram, &link(Chat::Channel(4005), 7)).await;
        assert!(matches!(foreign, Err(FetchError::NotFound(_))), "{foreign:?}");
    });
    assert_no_violations(&cluster);
}

#[test]
fn what_cannot_be_fetched_is_refused_with_its_word() {
    let cluster = Cluster::start(World::sample());
    logged_in(Setup::new(&cluster, direct(&cluster), 1), async |telegram| {
        let of = async |link: Link| ids(&telegram, &link).await;
        assert_eq!(
            of(named("closed", 1)).await,
            Err(FetchError::NoForwards),
            "a channel's"
        );
        assert_eq!(
            of(named("media", 30)).await,
            Err(FetchError::NoForwards),
            "a message's"
        );
        for nothing in [named("media", 1), named("media", 999), named("nobody_is_here", 1)] {
            let found = of(nothing.clone()).await;
            assert!(
                matches!(found, Err(FetchError::NotFound(_))),
                "{nothing:?}: {found:?}"
            );
        }
    });
    assert_no_violations(&cluster);
}

#[test]
fn names_types_and_sizes_are_the_message_s() {
    let cluster = Cluster::start(World::sample());
    logged_in(Setup::new(&cluster, direct(&cluster), 1), async |telegram| {
        let video = telegram
            .find(&named("media", 3))
            .await
            .expect("it is there")
            .swap_remove(0);
        assert_eq!(
            (video.name.as_str(), video.mime.as_str()),
            ("film-502.mp4", "video/mp4")
        );
        assert_eq!(video.size, 20 << 20);
        let photo = telegram
            .find(&named("media", 20))
            .await
            .expect("it is there")
            .swap_remove(0);
        assert_eq!(
            (photo.mime.as_str(), photo.size),
            ("image/jpeg", 100 << 10),
            "the largest size"
        );
        assert!(photo.name.ends_with(".jpg"), "{}", photo.name);
    });
}

#[test]
fn clients_say_truly_what_they_are() {
    let cluster = Cluster::start(World::sample());
    let dir = TempDir::new();
    let setup = Setup::new(&cluster, direct(&cluster), 1);
    run(setup, &dir.path().join("account"), async |telegram| {
        telegram.login_bot(TOKEN).await.expect("the bot is known");
    });
    let clients = cluster.counters().clients;
    let (_, _, device, system, version) = &clients[0];
    assert!(!device.is_empty() && system.starts_with("Linux"), "{clients:?}");
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
}
