//! Hostile servers: any wrong key exchange ends the login within five seconds, without a panic.

use crate::client::{Setup, TOKEN, direct, run};
use mtproto_test_dc::{Cluster, Hostile, World};
use mtrelay_test_support::measure::attempts;
use mtrelay_test_support::relay::TempDir;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(5);

/// The time until the login fails.
fn fails_after(setup: Setup, what: &str) -> Duration {
    let dir = TempDir::new();
    run(setup, &dir.path().join("account"), async |telegram| {
        let begun = Instant::now();
        let outcome = telegram.login_bot(TOKEN).await;
        assert!(outcome.is_err(), "it must not log in {what}: {outcome:?}");
        begun.elapsed()
    })
}

#[test]
fn hostile_key_exchanges_end_within_five_seconds() {
    // In parallel: most of the time is spent on the timeouts of silent servers.
    thread::scope(|scope| {
        for some in Hostile::ALL.chunks(8) {
            scope.spawn(move || some.iter().for_each(|hostile| ends_in_time(*hostile)));
        }
    });
}

fn ends_in_time(hostile: Hostile) {
    let cluster = Cluster::start(World::new());
    cluster.faults(|faults| faults.hostile = Some(hostile));
    // The client gives up after four seconds; one second of slack is little while all exchanges run at once.
    attempts(&format!("{hostile:?} ends in time"), 3, || {
        let took = fails_after(Setup::new(&cluster, direct(&cluster), 2), &format!("{hostile:?}"));
        if took < LIMIT {
            Ok(())
        } else {
            Err(format!("{took:?}"))
        }
    });
    assert_eq!(cluster.counters().keys, 0, "{hostile:?}: no key comes of it");
}

/// The bytes of a server that does not speak MTProto.
#[derive(Clone, Copy, Debug)]
enum Noise {
    Nothing,
    Zeros,
    Ones,
    Http,
}

#[test]
fn servers_that_speak_something_else_end_within_five_seconds() {
    let cluster = Cluster::start(World::new());
    for noise in [Noise::Nothing, Noise::Zeros, Noise::Ones, Noise::Http] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("127.0.0.1 has a free port");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            for socket in listener.incoming().take(40).flatten() {
                thread::spawn(move || babble(socket, noise));
            }
        });
        let mut setup = Setup::new(&cluster, direct(&cluster), 1);
        let mtfetch::route::Route::Direct(table) = &mut setup.route else {
            unreachable!("it is direct");
        };
        let two = mtrelay_core::dc::DcId::new(2).expect("a number of a data centre");
        table.set(two, vec![address]);
        // As above: a busy machine may delay the end.
        attempts(&format!("{noise:?} ends in time"), 3, || {
            let took = fails_after(setup.clone(), &format!("{noise:?}"));
            if took < LIMIT {
                Ok(())
            } else {
                Err(format!("{took:?}"))
            }
        });
    }
}

fn babble(mut socket: std::net::TcpStream, noise: Noise) {
    let mut heard = [0; 64];
    // Ends when the client closes the connection.
    let _ = socket.read(&mut heard);
    let says: &[u8] = match noise {
        Noise::Nothing => {
            while matches!(socket.read(&mut heard), Ok(1..)) {}
            return;
        }
        Noise::Zeros => &[0; 4096],
        Noise::Ones => &[0xff; 4096],
        Noise::Http => b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    };
    while socket.write_all(says).is_ok() && !matches!(noise, Noise::Http) {}
}
