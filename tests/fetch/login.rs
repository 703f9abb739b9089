//! Login and logout, and the account file between two runs.

use crate::client::{Setup, TOKEN, assert_no_violations, direct, fetch_whole, find, run, world};
use mtfetch::account::Login;
use mtfetch::source::FetchError;
use mtproto_test_dc::world::File;
use mtproto_test_dc::{Cluster, World};
use mtrelay_test_support::relay::TempDir;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn a_code_logs_in_and_a_wrong_one_may_be_corrected() {
    let cluster = Cluster::start(World::sample());
    let dir = TempDir::new();
    let setup = Setup::new(&cluster, direct(&cluster), 1);
    run(setup, &dir.path().join("account"), async |telegram| {
        assert!(telegram.account().is_none());
        let sent = telegram
            .send_code("+999 662 11 11")
            .await
            .expect("the number is known");
        let wrong = telegram.sign_in(&sent, "11111").await;
        assert!(matches!(wrong, Err(FetchError::Refused(_))), "{wrong:?}");
        let done = telegram.sign_in(&sent, "22222").await.expect("the code is right");
        assert!(matches!(done, Login::Done(_)), "{done:?}");
        let account = telegram.account().expect("it is logged in");
        assert_eq!((account.user, account.home, account.bot), (1001, 2, false));
    });
    assert_no_violations(&cluster);
}

#[test]
fn a_password_is_proved_and_a_wrong_one_may_be_corrected() {
    let cluster = Cluster::start(World::sample());
    let dir = TempDir::new();
    let setup = Setup::new(&cluster, direct(&cluster), 1);
    run(setup, &dir.path().join("account"), async |telegram| {
        let sent = telegram
            .send_code("9996622222")
            .await
            .expect("the number is known");
        let login = telegram.sign_in(&sent, "22222").await.expect("the code is right");
        let Login::Password { hint } = login else {
            panic!("it has a password: {login:?}");
        };
        assert!(!hint.is_empty());
        let wrong = telegram.check_password("battery staple").await;
        assert!(matches!(wrong, Err(FetchError::Refused(_))), "{wrong:?}");
        let account = telegram
            .check_password("correct horse")
            .await
            .expect("it is right");
        assert_eq!(account.user, 1002);
    });
    assert_no_violations(&cluster);
}

#[test]
fn an_account_of_another_data_centre_is_found_there() {
    let mut world = World::sample();
    for account in &mut world.accounts {
        account.home = 5;
    }
    let cluster = Cluster::start(world);
    let dir = TempDir::new();
    for method in ["bot", "phone"] {
        let setup = Setup::new(&cluster, direct(&cluster), 1);
        run(setup, &dir.path().join(method), async |telegram| {
            if method == "bot" {
                telegram.login_bot(TOKEN).await.expect("the bot is known");
            } else {
                let sent = telegram
                    .send_code("9996621111")
                    .await
                    .expect("the number is known");
                telegram.sign_in(&sent, "22222").await.expect("the code is right");
            }
            assert_eq!(telegram.account().expect("it is logged in").home, 5);
        });
    }
    assert_no_violations(&cluster);
}

#[test]
fn keys_outlive_the_program_in_a_private_file() {
    let file = File::document(1, 4, 1 << 20);
    let cluster = Cluster::start(world([file.clone()]));
    let dir = TempDir::new();
    let path = dir.path().join("account");
    let setup = Setup::new(&cluster, direct(&cluster), 2);
    run(setup.clone(), &path, async |telegram| {
        telegram.login_bot(TOKEN).await.expect("the bot is known");
        fetch_whole(&telegram, &file).await;
    });
    let mode = std::fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = cluster.counters();
    run(setup.clone(), &path, async |telegram| {
        fetch_whole(&telegram, &file).await
    });
    let after = cluster.counters();
    assert_eq!(before.keys, after.keys, "no new key");
    let exported = |counters: &mtproto_test_dc::Counters| counters.calls_of("auth.exportAuthorization");
    assert_eq!(exported(&before), exported(&after), "no new authorization");

    run(setup, &path, async |telegram| {
        telegram.logout().await.expect("Telegram hears of it");
        assert!(telegram.account().is_none());
        let found = mtfetch::source::Source::find(&telegram, &crate::client::link(1)).await;
        assert_eq!(found, Err(FetchError::LoggedOut));
    });
    assert_eq!(cluster.counters().calls_of("auth.logOut"), 1);
    assert_no_violations(&cluster);
}

#[test]
fn an_account_that_was_ended_elsewhere_is_told_so() {
    let file = File::document(1, 2, 1 << 20);
    let cluster = Cluster::start(world([file.clone()]));
    let dir = TempDir::new();
    let setup = Setup::new(&cluster, direct(&cluster), 1);
    run(setup, &dir.path().join("account"), async |telegram| {
        telegram.login_bot(TOKEN).await.expect("the bot is known");
        find(&telegram, 1).await;
        cluster.log_everybody_out(2);
        let found = mtfetch::source::Source::find(&telegram, &crate::client::link(1)).await;
        assert_eq!(found, Err(FetchError::LoggedOut));
    });
}
