//! Test data centres for people: `testdc [--listen ADDR:PORT] [--latency MS] [--rate BYTES]`.
//!
//! Prints the sample world's accounts and links, and a configuration for `mtfetch`; runs until its standard input ends.
#![allow(
    clippy::disallowed_methods,
    reason = "the ban on clocks and raw connects is for the relay"
)]

use mtproto_test_dc::{Cluster, World};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: testdc [--listen ADDR:PORT] [--latency MILLISECONDS] [--rate BYTES-A-SECOND] [--key FILE]\n\
    DC 1 listens on PORT, DC 2 on the next one, and so on; without --listen, on free ports of 127.0.0.1";

#[derive(Default)]
struct Arguments {
    listen: Option<SocketAddr>,
    latency: Duration,
    rate: Option<u32>,
    key: Option<String>,
}

fn main() -> ExitCode {
    let started = arguments(std::env::args().skip(1)).and_then(|arguments| start(&arguments));
    match started {
        Ok(_cluster) => {
            let mut unread = [0; 256];
            while matches!(std::io::stdin().read(&mut unread), Ok(1..)) {}
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            // Nobody left to tell when standard error is closed.
            let _ = writeln!(std::io::stderr(), "testdc: {wrong}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut found = Arguments::default();
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
        let wrong = |_| format!("{word} does not take {value}");
        match word.as_str() {
            "--listen" => found.listen = Some(value.parse().map_err(|_| format!("{value} is no ADDR:PORT"))?),
            "--latency" => found.latency = Duration::from_millis(value.parse().map_err(wrong)?),
            "--rate" => found.rate = Some(value.parse().map_err(wrong)?),
            "--key" => found.key = Some(value),
            _ => return Err(format!("{word} is unknown")),
        }
    }
    Ok(found)
}

fn start(arguments: &Arguments) -> Result<Cluster, String> {
    let world = World::sample();
    let cluster = match arguments.listen {
        None => Cluster::start(world),
        Some(first) => {
            let at = |dc: i32| SocketAddr::new(first.ip(), first.port() + dc as u16 - 1);
            let addresses: Vec<_> = (1..=5).map(|dc| (dc, at(dc))).collect();
            Cluster::listen(world, &addresses).map_err(|error| format!("cannot listen: {error}"))?
        }
    };
    cluster.faults(|faults| {
        faults.latency = arguments.latency;
        faults.rate = arguments.rate;
    });
    if let Some(path) = &arguments.key {
        std::fs::write(path, cluster.public_key()).map_err(|error| format!("{path}: {error}"))?;
    }
    print(&cluster, arguments.key.as_deref().unwrap_or("FILE"))
        .map_err(|error| format!("cannot print: {error}"))?;
    Ok(cluster)
}

fn print(cluster: &Cluster, key: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let (id, hash, accounts) =
        cluster.world(|world| (world.api_id, world.api_hash.clone(), world.accounts.clone()));
    writeln!(out, "# api_id {id}, api_hash {hash}")?;
    for account in accounts {
        match (account.phone, account.token) {
            (_, Some(token)) => writeln!(out, "# bot token {token}")?,
            (Some(phone), None) => {
                let password = account.password.as_deref().unwrap_or("none");
                writeln!(
                    out,
                    "# phone +{phone}, code {}, password {password}",
                    account.code
                )?;
            }
            _ => {}
        }
    }
    writeln!(
        out,
        "# links: https://t.me/media/2 /media/3 /media/10 /media/20?comment=4 /c/4004/7"
    )?;
    for (dc, address) in cluster.addrs() {
        writeln!(out, "config dc\n\toption id '{dc}'\n\tlist address '{address}'")?;
    }
    writeln!(out, "# option rsa_key '{key}'")?;
    if key == "FILE" {
        write!(out, "{}", cluster.public_key())?;
    }
    out.flush()
}
