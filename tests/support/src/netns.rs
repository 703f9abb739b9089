//! A host of the test's own: a network namespace with its own addresses and routes.
//!
//! Everything that the closure starts (threads, processes) is on that host. It takes root and iproute2; where either is
//! missing the test is skipped, and fails in CI. Nothing reaches another network, and the namespace is gone afterwards.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A hardware address that no interface has: packets to it are lost without an error.
const UNUSED_MAC: &str = "02:00:00:00:00:99";

/// The host, for the thread that is on it.
#[derive(Debug)]
pub struct Host(());

/// The namespace's name, deleted when dropped.
struct Namespace(String);

impl Drop for Namespace {
    fn drop(&mut self) {
        // The processes on it may still end; the name is gone all the same.
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// Runs `test` on a fresh host with a loopback interface. `None` where that is not permitted: the test is skipped, see
/// [`crate::require`].
///
/// # Panics
/// If the test does.
pub fn on_own_host<T: Send>(test: impl FnOnce(&Host) -> T + Send) -> Option<T> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!(
        "mtrelay-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let made = Command::new("ip").args(["netns", "add", &name]).output();
    match made {
        Ok(output) if output.status.success() => {}
        other => {
            crate::require::skip(&format!(
                "no network namespace can be made here (root and iproute2 are needed): {other:?}"
            ));
            return None;
        }
    }
    let namespace = Namespace(name);
    let file = File::open(format!("/run/netns/{}", namespace.0)).expect("ip netns makes this file");
    let on_it = || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may move");
        let host = Host(());
        host.ip("link set lo up");
        test(&host)
    };
    let result = std::thread::scope(|scope| scope.spawn(on_it).join());
    drop(namespace);
    match result {
        Ok(value) => Some(value),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

impl Host {
    /// Runs `ip` with these words.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn ip(&self, words: &str) {
        let output = Command::new("ip").args(words.split_whitespace()).output();
        match output {
            Ok(output) if output.status.success() => {}
            other => panic!("ip {words}: {other:?}"),
        }
    }

    /// Gives the host another address.
    #[track_caller]
    pub fn address(&self, address: &str) {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        self.ip(&format!("addr add {address} dev lo{nodad}"));
    }

    /// Makes a link that drops every packet to these addresses, as a router in between may.
    #[track_caller]
    pub fn black_hole(&self, addresses: &[&str]) {
        self.ip("link add hole type veth peer name far");
        self.ip("link set far up");
        self.ip("link set hole up");
        self.ip("addr add 10.255.0.1/32 dev hole");
        self.ip("addr add 2001:db8:ffff::1/128 dev hole nodad");
        for address in addresses {
            let (family, len) = if address.contains(':') {
                ("-6", 128)
            } else {
                ("-4", 32)
            };
            self.ip(&format!("{family} route add {address}/{len} dev hole"));
            self.ip(&format!(
                "neigh add {address} lladdr {UNUSED_MAC} dev hole nud permanent"
            ));
        }
    }
}
