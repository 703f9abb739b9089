//! Downloads in Ethernet's segments: a pipe has slots, and loopback fills each of them with sixty thousand bytes.
//!
//! The data centre is on a host of its own, behind a link that hands over segments one by one. It takes root and iproute2; where
//! one is missing, that is said.

use crate::plain::Way;
use crate::rate::{Direction, compare};
use crate::subject::{Place, Subject};
use crate::{LARGE_PIPE, SMALL_PIPE};
use mtrelay_test_support::Mode;
use mtrelay_test_support::netns::on_own_host;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc::channel;
use std::thread;

const HERE: &str = "10.255.2.1";
const THERE: &str = "10.255.2.2";

pub(crate) fn small_segments(mtrelay: &str) {
    on_own_host(|here| {
        let namespace = rustix::thread::gettid();
        let (listeners, found) = channel();
        let (end, ended) = channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                on_own_host(move |there| {
                    there.ip(&format!(
                        "link add wire type veth peer name wire netns {}",
                        namespace.as_raw_nonzero()
                    ));
                    there.ip(&format!("addr add {THERE}/24 dev wire"));
                    there.ip("link set wire gso_max_segs 1 up");
                    // Sockets stay on the host where they were made. Who waits for them has not gone.
                    let listener = || TcpListener::bind((THERE, 0)).expect("a port is free");
                    let _ = listeners.send([(); SUBJECTS].map(|()| listener()));
                    // The host lives until the other end has been dropped.
                    let _ = ended.recv();
                })
            });
            if let Ok(listeners) = found.recv() {
                here.ip(&format!("addr add {HERE}/24 dev wire"));
                here.ip("link set wire up");
                let subjects = subjects(mtrelay, listeners);
                for connections in [1, 32] {
                    compare(&subjects, Direction::Down, connections, 2);
                }
            }
            drop(end);
        });
    });
}

const SUBJECTS: usize = 6;

fn subjects(mtrelay: &str, centres: [TcpListener; SUBJECTS]) -> Vec<Subject> {
    let mut places = centres.into_iter().map(|dc| Place {
        listen: Ipv4Addr::LOCALHOST.into(),
        dc,
    });
    let mut place = || places.next().expect("one for each");
    let mut subjects = vec![
        Subject::plain_at(place(), Way::Splice(SMALL_PIPE)),
        Subject::plain_at(place(), Way::Splice(LARGE_PIPE)),
    ];
    for slots in [16, 32, 64, 256] {
        let size = (slots * 4096).to_string();
        let options = [("pipe_size", size.as_str())];
        subjects.push(Subject::mtrelay_at(place(), mtrelay, Mode::Dd, true, &options));
    }
    subjects
}
