//! The snapshot for Prometheus: the text exposition format, version 0.0.4 (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Promises: HELP and TYPE stand once before each family; the lines of a family stand together; counters end in `_total`; base units
//! (bytes, seconds); and every series of a closed set of labels is there from the start with 0, so that the first event is not
//! lost to `rate()`. The label `dc` is the signed id, as in the log; `media` repeats its sign for those who sum over it.

use std::fmt::{Display, Write as _};

use super::snapshot::{AddressState, Bytes, Dc, DcCounts, Snapshot};
use mtrelay_core::close::ConnectFailure;

/// The media type of the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page `/metrics`.
pub fn metrics(snapshot: &Snapshot) -> String {
    let mut page = Page::default();
    process(&mut page, snapshot);
    sessions(&mut page, snapshot);
    data_centres(&mut page, snapshot);
    users(&mut page, snapshot);
    page.out
}

fn process(page: &mut Page, snapshot: &Snapshot) {
    page.gauge("build_info", "The version that runs; always 1.");
    page.sample(&[("version", &snapshot.version)], 1);
    page.single_gauge("uptime_seconds", "Time since the start.", snapshot.uptime_s);
    if let Some(start) = snapshot.start_time_s {
        page.single_gauge(
            "process_start_time_seconds",
            "When the daemon started, in Unix time.",
            start,
        );
    }
    let rss = snapshot.rss_kib.saturating_mul(1024);
    page.single_gauge("process_resident_memory_bytes", "Resident memory.", rss);

    page.single_gauge(
        "clock_synced",
        "1 while the clock is synchronised.",
        snapshot.clock.synced.into(),
    );
    page.single_gauge(
        "clock_trusted",
        "1 while hellos' times and users' last days are judged by the clock.",
        snapshot.clock.trusted.into(),
    );
    page.single_counter(
        "accept_pauses_total",
        "Times when accepting rested for want of descriptors or memory.",
        snapshot.accept_pauses,
    );
    page.single_counter("panics_total", "Tasks that panicked.", snapshot.panics);
    page.single_counter(
        "fronted_failed_total",
        "Strangers to whom the front site could not be shown.",
        snapshot.fronted.failed,
    );
    page.single_counter(
        "clock_refused_total",
        "Hellos refused for their time alone.",
        snapshot.clock.refused,
    );
    page.gauge(
        "clock_last_offset_seconds",
        "How far off the last hello refused for its time was: its time less ours.",
    );
    page.sample(&[], snapshot.clock.last_offset_s);

    page.single_counter(
        "config_reloads_total",
        "Reloads taken over.",
        snapshot.config_reloads,
    );
    page.single_counter(
        "config_rejected_total",
        "Reloads refused because of a mistake in the file.",
        snapshot.config_rejected,
    );

    page.single_gauge(
        "buffer_size_bytes",
        "Size of one relay buffer.",
        snapshot.buffers.size,
    );
    page.single_gauge(
        "buffers",
        "Relay buffers that there may be.",
        snapshot.buffers.count,
    );
    page.single_gauge("buffers_in_use", "Relay buffers in use.", snapshot.buffers.in_use);
    page.single_gauge(
        "buffers_high_water",
        "Relay buffers in use at most since the start.",
        snapshot.buffers.high_water,
    );
    page.single_counter(
        "buffer_waits_total",
        "Times that a session had to wait for a buffer.",
        snapshot.buffers.waits,
    );
    page.single_gauge("pipes", "Pipes that there may be.", snapshot.pipes.count);
    page.single_gauge("pipes_in_use", "Pipes with bytes in them.", snapshot.pipes.in_use);
    page.single_gauge(
        "pipes_high_water",
        "Pipes with bytes in them at most since the start.",
        snapshot.pipes.high_water,
    );
    page.single_counter(
        "pipe_misses_total",
        "Times that a session copied because no pipe was free.",
        snapshot.pipes.misses,
    );
}

fn sessions(page: &mut Page, snapshot: &Snapshot) {
    page.single_gauge("sessions_active", "Sessions that live.", snapshot.sessions.active);
    page.single_counter("sessions_total", "Sessions begun.", snapshot.sessions.total);
    page.single_gauge(
        "sessions_peak",
        "Sessions at once at most since the start.",
        snapshot.sessions.peak,
    );
    page.counter("bytes_total", "Bytes relayed: up from clients, down to them.");
    page.directions(&[], snapshot.bytes);
    page.counter("closes_total", "Sessions ended, by reason.");
    page.by("reason", &snapshot.closes());

    page.single_gauge(
        "openings_active",
        "Connections that have not authenticated yet.",
        snapshot.openings_active,
    );
    page.counter(
        "rejects_total",
        "Openings that did not become a session, by reason.",
    );
    page.by("reason", &snapshot.rejects());

    page.single_gauge(
        "fronted_connections_active",
        "Strangers connected to the front site.",
        snapshot.fronted.active,
    );
    page.single_counter(
        "fronted_connections_total",
        "Strangers sent to the front site.",
        snapshot.fronted.total,
    );
    page.single_counter(
        "fronted_bytes_total",
        "Bytes between strangers and the front site.",
        snapshot.fronted.bytes,
    );
}

/// A family with one series for each DC.
type PerDc = (&'static str, &'static str, &'static str, fn(&DcCounts) -> u64);

const PER_DC: [PerDc; 6] = [
    (
        "counter",
        "direct_dc_connections_created_total",
        "DC connections given to a session.",
        |dc| dc.created,
    ),
    (
        "gauge",
        "direct_dc_connections_active",
        "DC connections that live.",
        |dc| dc.active,
    ),
    (
        "counter",
        "direct_dc_connections_dc_closed_total",
        "DC connections that the DC closed or reset.",
        |dc| dc.dc_closed,
    ),
    (
        "counter",
        "direct_dc_connections_dc_timeout_total",
        "DC connections lost without a word: nothing was acknowledged any more.",
        |dc| dc.dc_timeouts,
    ),
    (
        "counter",
        "direct_dc_connections_client_closed_total",
        "Sessions that the client closed or reset.",
        |dc| dc.client_closed,
    ),
    (
        "counter",
        "direct_dc_retries_total",
        "Attempts after the first one of a session.",
        |dc| dc.retries,
    ),
];

fn data_centres(page: &mut Page, snapshot: &Snapshot) {
    for (kind, name, help, value) in PER_DC {
        page.family(kind, name, help);
        for dc in &snapshot.dcs {
            page.sample(&dc_labels(dc), value(&dc.counts));
        }
    }
    page.counter(
        "direct_dc_connections_failed_total",
        "Attempts at a DC address that failed, by kind.",
    );
    for dc in &snapshot.dcs {
        let [id, media] = dc_labels(dc);
        for kind in ConnectFailure::ALL {
            page.sample(&[("kind", &kind), id, media], dc.counts.failed[kind.index()]);
        }
    }
    page.counter("dc_bytes_total", "Bytes relayed, by DC: up to it, down from it.");
    for dc in &snapshot.dcs {
        page.directions(&dc_labels(dc), dc.counts.bytes);
    }
    page.gauge(
        "dc_address_cooling",
        "1 while an address is passed over after a failure.",
    );
    for dc in &snapshot.dcs {
        let [id, media] = dc_labels(dc);
        for address in &dc.addresses {
            let cooling = address.state == AddressState::Cooling;
            page.sample(&[id, media, ("address", &address.address)], i64::from(cooling));
        }
    }
    page.single_counter(
        "direct_dc_ipv6_fallbacks_total",
        "Sessions that came through over IPv4 after IPv6 had failed.",
        snapshot.ipv6_fallbacks,
    );
}

fn users(page: &mut Page, snapshot: &Snapshot) {
    page.gauge("user_sessions_active", "Sessions that live, by user.");
    for user in &snapshot.users {
        page.sample(&[("user", &user.name)], user.active);
    }
    page.counter("user_sessions_total", "Sessions begun, by user.");
    for user in &snapshot.users {
        page.sample(&[("user", &user.name)], user.total);
    }
    page.counter(
        "user_bytes_total",
        "Bytes relayed, by user: up from the clients, down to them.",
    );
    for user in &snapshot.users {
        page.directions(&[("user", &user.name)], user.bytes);
    }
    page.counter(
        "user_rejects_total",
        "Openings with the user's secret that were refused.",
    );
    for user in &snapshot.users {
        page.sample(&[("user", &user.name)], user.rejects);
    }
    page.gauge(
        "user_quota_used_bytes",
        "Bytes in both directions that count for the user's quota.",
    );
    for user in &snapshot.users {
        page.sample(&[("user", &user.name)], user.quota_used);
    }
}

type Label<'a> = (&'static str, &'a dyn Display);

fn dc_labels(dc: &Dc) -> [Label<'_>; 2] {
    [
        ("dc", &dc.id),
        ("media", if dc.id.is_media() { &"true" } else { &"false" }),
    ]
}

#[derive(Default)]
struct Page {
    out: String,
    /// The family that samples belong to. Its head is written with its first sample: a family without any leaves no trace.
    family: &'static str,
    head: Option<(&'static str, &'static str)>,
}

impl Page {
    fn family(&mut self, kind: &'static str, name: &'static str, help: &'static str) {
        self.family = name;
        self.head = Some((kind, help));
    }

    fn gauge(&mut self, name: &'static str, help: &'static str) {
        self.family("gauge", name, help);
    }

    fn counter(&mut self, name: &'static str, help: &'static str) {
        self.family("counter", name, help);
    }

    fn single_gauge(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.gauge(name, help);
        self.sample(&[], value);
    }

    fn single_counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.counter(name, help);
        self.sample(&[], value);
    }

    fn by(&mut self, label: &'static str, values: &[(&'static str, u64)]) {
        for (word, value) in values {
            self.sample(&[(label, word)], *value);
        }
    }

    fn directions(&mut self, labels: &[Label<'_>], bytes: Bytes) {
        for (direction, value) in [("up", bytes.up), ("down", bytes.down)] {
            let mut all = labels.to_vec();
            all.push(("direction", &direction));
            self.sample(&all, value);
        }
    }

    fn sample(&mut self, labels: &[Label<'_>], value: impl Display) {
        let name = self.family;
        if let Some((kind, help)) = self.head.take() {
            let _ = write!(
                self.out,
                "# HELP mtrelay_{name} {help}\n# TYPE mtrelay_{name} {kind}\n"
            );
        }
        let _ = write!(self.out, "mtrelay_{name}");
        let mut before = '{';
        for (label, text) in labels {
            let _ = write!(self.out, "{before}{label}=\"");
            self.escaped(&text.to_string());
            self.out.push('"');
            before = ',';
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.out, "{after} {value}");
    }

    /// The format knows these three escapes and no others; all else stands as it is.
    fn escaped(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '\\' => self.out.push_str("\\\\"),
                '"' => self.out.push_str("\\\""),
                '\n' => self.out.push_str("\\n"),
                c => self.out.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::snapshot::example;
    use crate::stats::{Outside, Stats};
    use mtrelay_core::close::{CloseReason, Reject};
    use mtrelay_core::dc::DcId;
    use std::collections::{BTreeMap, BTreeSet};

    /// Reads one line `name{label="value",…} number` as the format's own description has it.
    fn parse(line: &str) -> (String, BTreeMap<String, String>, f64) {
        let end = line.find(['{', ' ']).expect("a name ends");
        let (name, mut rest) = line.split_at(end);
        let mut labels = BTreeMap::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            loop {
                let (label, text) = rest.split_once("=\"").expect("a label has a value");
                assert!(
                    label.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                    "{line}"
                );
                let (mut value, mut chars) = (String::new(), text.char_indices());
                let end = loop {
                    match chars.next().expect("a value ends") {
                        (at, '"') => break at,
                        (_, '\\') => value.push(match chars.next().expect("an escape ends").1 {
                            'n' => '\n',
                            c @ ('\\' | '"') => c,
                            c => panic!("no such escape: {c}"),
                        }),
                        (_, c) => value.push(c),
                    }
                };
                assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
                rest = &text[end + 1..];
                match rest.strip_prefix(',') {
                    Some(more) => rest = more,
                    None => break,
                }
            }
            rest = rest.strip_prefix('}').expect("labels end");
        }
        let number = rest
            .strip_prefix(' ')
            .expect("one space")
            .parse()
            .expect("a number");
        (name.to_owned(), labels, number)
    }

    fn check(page: &str) -> BTreeMap<(String, BTreeMap<String, String>), f64> {
        assert!(page.ends_with('\n'));
        let (mut seen, mut series) = (BTreeSet::new(), BTreeMap::new());
        let mut lines = page.lines().peekable();
        while let Some(help) = lines.next() {
            let (name, text) = help
                .strip_prefix("# HELP ")
                .and_then(|h| h.split_once(' '))
                .expect("HELP comes first");
            assert!(!text.is_empty() && !text.contains('\\'), "{help}");
            assert!(seen.insert(name), "{name} is not in one place");
            assert!(
                name.starts_with("mtrelay_")
                    && name
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c == '_' || c == '6')
            );
            let kind = if name.ends_with("_total") {
                "counter"
            } else {
                "gauge"
            };
            assert_eq!(lines.next(), Some(&*format!("# TYPE {name} {kind}")));
            let mut samples = 0;
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                let (sample, labels, value) = parse(line);
                assert_eq!(sample, name);
                assert!(series.insert((sample, labels), value).is_none(), "twice: {line}");
                samples += 1;
            }
            assert!(samples > 0, "{name} has no series");
        }
        series
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn the_page_keeps_the_rules_of_the_format() {
        let series = check(&metrics(&example()));
        let value = |name: &str, pairs: &[(&str, &str)]| series[&(format!("mtrelay_{name}"), labels(pairs))];
        let two = [("dc", "2"), ("media", "false")];
        let media = [("dc", "-2"), ("media", "true")];
        assert_eq!(
            value("build_info", &[("version", env!("CARGO_PKG_VERSION"))]),
            1.0
        );
        assert_eq!(value("direct_dc_connections_created_total", &two), 1.0);
        assert_eq!(value("direct_dc_connections_created_total", &media), 1.0);
        assert_eq!(value("direct_dc_connections_active", &two), 1.0);
        assert_eq!(value("direct_dc_connections_dc_closed_total", &media), 1.0);
        assert_eq!(
            value(
                "direct_dc_connections_failed_total",
                &[("kind", "timeout"), two[0], two[1]]
            ),
            1.0
        );
        assert_eq!(value("closes_total", &[("reason", "dc_closed")]), 1.0);
        assert_eq!(value("rejects_total", &[("reason", "replay")]), 1.0);
        assert_eq!(value("bytes_total", &[("direction", "down")]), 5_001_000.0);
        assert_eq!(value("clock_last_offset_seconds", &[]), -86_400.0);
        assert_eq!(value("process_resident_memory_bytes", &[]), 1_572_864.0);
        assert_eq!(
            value(
                "user_bytes_total",
                &[("user", "a\"b\\c\nd\te\u{1}"), ("direction", "down")]
            ),
            1000.0
        );
    }

    #[test]
    fn closed_sets_are_complete_from_the_start() {
        let stats = Stats::new();
        stats.declare_dc(DcId::new(-4).expect("not 0"));
        stats.declare_user("a");
        let series = check(&metrics(&stats.snapshot(Outside::default())));
        let zero = |name: &str, pairs: &[(&str, &str)]| {
            assert_eq!(
                series.get(&(format!("mtrelay_{name}"), labels(pairs))),
                Some(&0.0),
                "{name} {pairs:?}"
            );
        };
        for reason in CloseReason::ALL {
            zero("closes_total", &[("reason", reason.name())]);
        }
        for reject in Reject::ALL {
            zero("rejects_total", &[("reason", reject.name())]);
        }
        for kind in ConnectFailure::ALL {
            zero(
                "direct_dc_connections_failed_total",
                &[("kind", kind.name()), ("dc", "-4"), ("media", "true")],
            );
        }
        for direction in ["up", "down"] {
            zero("bytes_total", &[("direction", direction)]);
            zero("user_bytes_total", &[("direction", direction), ("user", "a")]);
        }
        zero(
            "direct_dc_connections_dc_closed_total",
            &[("dc", "-4"), ("media", "true")],
        );
    }

    #[test]
    fn a_family_without_series_leaves_no_trace() {
        let page = metrics(&Stats::new().snapshot(Outside::default()));
        check(&page);
        assert!(
            !page.contains("mtrelay_user_") && !page.contains("process_start_time"),
            "{page}"
        );
    }
}
