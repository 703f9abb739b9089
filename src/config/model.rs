//! The valid configuration, as the rest of the program sees it.

use super::options::RELAY_OPTIONS;
use super::users::User;
use crate::access::Access;
use mtrelay_core::config::HostPort;
use mtrelay_core::dc::Table;
use mtrelay_core::dial::PreferIpv6;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use wire::Modes;

/// The difference that is allowed between a hello's time and ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockSkew {
    /// −20 to +10 minutes once our own clock is believed; before that, any.
    Auto,
    /// Any: the hello's time is not checked.
    Any,
    /// This many seconds in both directions.
    Seconds(u32),
}

/// The whole configuration. A timeout or limit of `0` in the file is `None` here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether the relay serves. `mtrelay run` ends at once, as a success, if it is false.
    pub enabled: bool,
    /// The addresses of the listeners. Never empty.
    pub listen: Vec<SocketAddr>,
    /// Whether downloads pass without being re-encrypted.
    pub fast_mode: bool,
    /// The address family of connections to data centres.
    pub prefer_ipv6: PreferIpv6,
    /// The modes in which clients may connect.
    pub modes: Modes,
    /// The server name of hellos and `ee` links, as it was typed; compared without regard to case. `None`: any name is accepted, and
    /// `ee` links are not given out.
    pub front_domain: Option<String>,
    /// Where unauthenticated clients are connected to: as given, or port 443 of `front_domain`. `None`: nowhere.
    pub front_address: Option<HostPort>,
    /// The interval between measurements of the length of the front site's certificates.
    pub front_measure: Option<Duration>,
    /// The device through which data centres are reached.
    pub bind_interface: Option<String>,
    /// The mark of connections to data centres, for policy routing.
    pub fwmark: Option<u32>,
    /// The host that links show.
    pub link_host: Option<String>,
    /// The port that links show, if it is not the first listener's.
    pub link_port: Option<u16>,
    /// The addresses that may connect, and those of balancers whose PROXY header is believed. [`Config::load`] adds the blocks of
    /// `allow_file` and `block_file`.
    pub access: Rc<Access>,
    /// A file with more blocks to allow.
    pub allow_file: Option<PathBuf>,
    /// A file with more blocks to block.
    pub block_file: Option<PathBuf>,
    /// Whether the limit of pending handshakes from one address applies to addresses of the LAN too.
    pub limit_lan: bool,
    /// Whether the firewall lets the listen ports in from the WAN.
    pub open_wan: bool,
    /// Whether system calls that the process does not need are filtered.
    pub seccomp: bool,
    /// The congestion control algorithm of client sockets. `None`: the system's.
    pub congestion: Option<String>,
    /// TCP_NOTSENT_LOWAT of client sockets in bytes. `None`: the system's.
    pub notsent_lowat: Option<u32>,
    /// SO_SNDBUF of client sockets in bytes. `None`: the kernel sizes it.
    pub sndbuf: Option<u32>,
    /// The limit of what the buffers of all client sockets hold together, in MiB. `None`: an eighth of the RAM.
    pub socket_memory_mb: Option<u32>,
    /// The number of pipes for splicing. `None`: depends on the RAM.
    pub pipes: Option<u32>,
    /// The size of a pipe in bytes. `None`: 1 MiB.
    pub pipe_size: Option<u32>,
    /// The path of ubusd's socket. `None`: the usual places.
    pub ubus_socket: Option<PathBuf>,
    /// The size of a relay block in bytes.
    pub buffer_size: u32,
    /// The number of relay blocks.
    pub buffers: u32,
    /// The limit of live sessions.
    pub max_sessions: u32,
    /// The limit of live sessions from one client address.
    pub max_sessions_per_ip: Option<u32>,
    /// The time limit of one connection attempt. Other addresses are raced meanwhile.
    pub connect_timeout: Option<Duration>,
    /// The time limit for a client to authenticate.
    pub handshake_timeout: Option<Duration>,
    /// The time limit for a data centre to answer a whole first frame. Then another address is tried.
    pub answer_timeout: Option<Duration>,
    /// The difference that is allowed between a hello's time and ours.
    pub clock_skew: ClockSkew,
    /// Whether our own clock is right. `None`: when the kernel says so.
    pub clock_trusted: Option<bool>,
    /// The time without a byte in either direction after which a session ends.
    pub idle_timeout: Option<Duration>,
    /// The time that live sessions have after SIGTERM. `None`: they are ended at once.
    pub drain_timeout: Option<Duration>,
    /// The number of handshakes that the replay window remembers.
    pub replay_window: u32,
    /// The number of idle connections kept ready per data centre.
    pub prewarm: u32,
    /// Where the statistics are served. `None`: nowhere.
    pub stats_listen: Option<SocketAddr>,
    /// The least severe level that is logged.
    pub log_level: log::LevelFilter,
    /// The users, in the order of the file. Names and secrets are unique.
    pub users: Vec<User>,
    /// The addresses of data centres: the built-in ones with the replacements of `dc` sections.
    pub dcs: Table,
}

impl Config {
    /// The options that differ from those of `old` and that only a restart puts in force.
    #[must_use]
    pub fn needing_restart(&self, old: &Config) -> Vec<&'static str> {
        let names = RELAY_OPTIONS.iter().filter(|spec| spec.restart);
        names
            .map(|spec| spec.name)
            .filter(|name| self.differs(old, name))
            .collect()
    }

    /// Whether the option `name` differs from that of `old`. Knows the options that take a restart.
    fn differs(&self, old: &Config, name: &str) -> bool {
        match name {
            "enabled" => self.enabled != old.enabled,
            "seccomp" => self.seccomp != old.seccomp,
            "pipes" => self.pipes != old.pipes,
            "pipe_size" => self.pipe_size != old.pipe_size,
            "ubus_socket" => self.ubus_socket != old.ubus_socket,
            "buffer_size" => self.buffer_size != old.buffer_size,
            "buffers" => self.buffers != old.buffers,
            "stats_listen" => self.stats_listen != old.stats_listen,
            _ => unreachable!("{name} takes a restart and is not compared: a test reads all"),
        }
    }
}
