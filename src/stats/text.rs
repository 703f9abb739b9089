//! The snapshot as text: `/stats` for scripts, and a page of tables for people, which `mtrelay status` prints too.
//!
//! `/stats` is one `name<TAB>value` a line; its names are fixed, those of the DC connections are the ones that tools for the C proxy
//! read already. The page for people may change at any time. In both, a user's name is escaped so that it stays on its line and in its column.

use std::fmt::{Display, Write as _};

use super::emit::whole_seconds;
use super::snapshot::{DcCounts, Snapshot};
use super::{AddressState, Buffers};
use mtrelay_core::close::{CloseReason, ConnectFailure};

/// The page `/stats`.
pub fn stats(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    let mut line = |name: &dyn Display, value: &dyn Display| {
        let _ = writeln!(out, "{name}\t{value}");
    };
    line(&"version", &snapshot.version);
    line(&"uptime", &snapshot.uptime_s);
    line(&"sessions_active", &snapshot.sessions.active);
    line(&"sessions_total", &snapshot.sessions.total);
    line(&"sessions_peak", &snapshot.sessions.peak);
    line(&"bytes_up", &snapshot.bytes.up);
    line(&"bytes_down", &snapshot.bytes.down);
    line(&"direct_dc_connections_created", &snapshot.dc.created);
    line(&"direct_dc_connections_active", &snapshot.dc.active);
    line(&"direct_dc_connections_failed", &snapshot.dc.failed_in_all());
    line(&"direct_dc_connections_dc_closed", &snapshot.dc.dc_closed);
    line(&"direct_dc_connections_dc_timeout", &snapshot.dc.dc_timeouts);
    line(&"direct_dc_connections_client_closed", &snapshot.dc.client_closed);
    line(&"direct_dc_retries", &snapshot.dc.retries);
    line(&"direct_dc_ipv6_fallbacks", &snapshot.ipv6_fallbacks);
    for (kind, n) in snapshot.connect_failures() {
        line(&format_args!("connect_failed_{kind}"), &n);
    }
    for (reason, n) in snapshot.closes() {
        line(&format_args!("close_{reason}"), &n);
    }
    for (reason, n) in snapshot.rejects() {
        line(&format_args!("reject_{reason}"), &n);
    }
    line(&"openings_active", &snapshot.openings_active);
    line(&"fronted_active", &snapshot.fronted.active);
    line(&"fronted_total", &snapshot.fronted.total);
    line(&"fronted_bytes", &snapshot.fronted.bytes);
    line(&"fronted_failed", &snapshot.fronted.failed);
    line(&"buffer_size", &snapshot.buffers.size);
    line(&"buffers", &snapshot.buffers.count);
    line(&"buffers_in_use", &snapshot.buffers.in_use);
    line(&"buffers_high_water", &snapshot.buffers.high_water);
    line(&"buffer_waits", &snapshot.buffers.waits);
    line(&"buffers_held", &snapshot.buffers.held);
    line(&"pipes", &snapshot.pipes.count);
    line(&"pipes_in_use", &snapshot.pipes.in_use);
    line(&"pipes_high_water", &snapshot.pipes.high_water);
    line(&"pipe_misses", &snapshot.pipes.misses);
    line(&"memory_rss_kib", &snapshot.rss_kib);
    line(&"config_reloads", &snapshot.config_reloads);
    line(&"config_rejected", &snapshot.config_rejected);
    line(&"accept_pauses", &snapshot.accept_pauses);
    line(&"panics", &snapshot.panics);
    line(&"clock_synced", &u8::from(snapshot.clock.synced));
    line(&"clock_trusted", &u8::from(snapshot.clock.trusted));
    line(&"clock_refused", &snapshot.clock.refused);
    line(&"clock_last_offset_s", &snapshot.clock.last_offset_s);
    for dc in &snapshot.dcs {
        let (id, counts) = (dc.id, &dc.counts);
        line(&format_args!("dc_{id}_created"), &counts.created);
        line(&format_args!("dc_{id}_active"), &counts.active);
        line(&format_args!("dc_{id}_failed"), &counts.failed_in_all());
        line(&format_args!("dc_{id}_dc_closed"), &counts.dc_closed);
        line(&format_args!("dc_{id}_dc_timeout"), &counts.dc_timeouts);
        line(&format_args!("dc_{id}_client_closed"), &counts.client_closed);
        line(&format_args!("dc_{id}_bytes_up"), &counts.bytes.up);
        line(&format_args!("dc_{id}_bytes_down"), &counts.bytes.down);
    }
    for user in &snapshot.users {
        let name = escaped(&user.name);
        line(&format_args!("user_{name}_active"), &user.active);
        line(&format_args!("user_{name}_total"), &user.total);
        line(&format_args!("user_{name}_bytes_up"), &user.bytes.up);
        line(&format_args!("user_{name}_bytes_down"), &user.bytes.down);
        line(&format_args!("user_{name}_rejects"), &user.rejects);
        line(&format_args!("user_{name}_quota_used"), &user.quota_used);
    }
    out
}

/// The page for people.
pub fn page(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "mtrelay {}, running for {}\n",
        snapshot.version,
        duration(snapshot.uptime_s)
    );
    overview(&mut out, snapshot);
    data_centres(&mut out, snapshot, "Data centres", false);
    data_centres(&mut out, snapshot, "Media data centres", true);
    addresses(&mut out, snapshot);

    let mut failures = Table::new("Failed connects", &["attempts"]);
    for (kind, n) in snapshot.connect_failures() {
        failures.row_unless_zero(kind, n);
    }
    failures.write(&mut out);

    let mut closes = Table::new("Ended sessions", &["sessions", "by"]);
    for reason in CloseReason::ALL {
        let n = snapshot.closes[reason.index()];
        if n > 0 {
            closes.row(reason.name(), vec![n.to_string(), reason.by().name().to_owned()]);
        }
    }
    closes.write(&mut out);

    let mut rejects = Table::new("Refused openings", &["openings"]);
    for (reason, n) in snapshot.rejects() {
        rejects.row_unless_zero(reason, n);
    }
    rejects.write(&mut out);
    users(&mut out, snapshot);
    out
}

fn overview(out: &mut String, snapshot: &Snapshot) {
    let mut line = |name: &str, text: String| {
        let _ = writeln!(out, "{name:<10}{text}");
    };
    let Snapshot {
        sessions,
        bytes,
        buffers,
        fronted,
        clock,
        ..
    } = snapshot;
    line(
        "Sessions",
        format!(
            "{} active, {} in all, {} at once at most",
            sessions.active, sessions.total, sessions.peak
        ),
    );
    line(
        "Traffic",
        format!("{} up, {} down", size(bytes.up), size(bytes.down)),
    );
    line(
        "Openings",
        format!("{} not authenticated yet", snapshot.openings_active),
    );
    if fronted.total > 0 {
        let moved = size(fronted.bytes);
        line(
            "Strangers",
            format!(
                "{} at the front site, {} in all, {moved}",
                fronted.active, fronted.total
            ),
        );
    }
    let Buffers {
        size: each,
        count,
        in_use,
        high_water,
        waits,
        ..
    } = *buffers;
    line(
        "Buffers",
        format!(
            "{in_use} of {count} in use, {high_water} at most, {} each, waited for {waits} times",
            size(each)
        ),
    );
    line(
        "Memory",
        format!("{} resident", size(snapshot.rss_kib.saturating_mul(1024))),
    );
    let mut time = if clock.synced {
        "synchronised"
    } else {
        "not synchronised"
    }
    .to_owned();
    if !clock.trusted {
        time.push_str(", not trusted");
    }
    if clock.refused > 0 {
        let _ = write!(
            time,
            ", {} hellos refused, the last one {} s off",
            clock.refused, clock.last_offset_s
        );
    }
    line("Clock", time);
    if snapshot.config_reloads > 0 || snapshot.config_rejected > 0 {
        line(
            "Config",
            format!(
                "{} reloads, {} refused",
                snapshot.config_reloads, snapshot.config_rejected
            ),
        );
    }
}

fn data_centres(out: &mut String, snapshot: &Snapshot, title: &str, media: bool) {
    let columns = [
        "active",
        "created",
        "failed",
        "retries",
        "DC closed",
        "client closed",
        "up",
        "down",
    ];
    let mut table = Table::new(title, &columns);
    let used = |counts: &DcCounts| *counts != DcCounts::default();
    for dc in snapshot
        .dcs
        .iter()
        .filter(|dc| dc.id.is_media() == media && used(&dc.counts))
    {
        let counts = &dc.counts;
        let numbers = [
            counts.active,
            counts.created,
            counts.failed_in_all(),
            counts.retries,
            counts.dc_closed,
            counts.client_closed,
        ];
        let traffic = [size(counts.bytes.up), size(counts.bytes.down)];
        table.row(
            &dc.id.to_string(),
            numbers.iter().map(u64::to_string).chain(traffic).collect(),
        );
    }
    table.write(out);
}

fn addresses(out: &mut String, snapshot: &Snapshot) {
    let mut table = Table::new(
        "Addresses",
        &["DC", "state", "connect", "failures", "last error", "tried again"],
    );
    for dc in &snapshot.dcs {
        for address in dc
            .addresses
            .iter()
            .filter(|address| address.state != AddressState::Untried)
        {
            table.row(
                &address.address.to_string(),
                vec![
                    dc.id.to_string(),
                    address.state.name().to_owned(),
                    address
                        .rtt
                        .map_or_else(|| "-".to_owned(), |rtt| format!("{} ms", rtt.as_millis() as u64)),
                    address.failures.to_string(),
                    address.last_error.map_or("-", ConnectFailure::name).to_owned(),
                    address
                        .retry_in
                        .map_or_else(|| "-".to_owned(), |left| format!("in {} s", whole_seconds(left))),
                ],
            );
        }
    }
    table.write(out);
}

fn users(out: &mut String, snapshot: &Snapshot) {
    let mut table = Table::new(
        "Users",
        &["active", "sessions", "up", "down", "refused", "expires"],
    );
    for user in &snapshot.users {
        table.row(
            &escaped(&user.name),
            vec![
                user.active.to_string(),
                user.total.to_string(),
                size(user.bytes.up),
                size(user.bytes.down),
                user.rejects.to_string(),
                escaped(user.expires.as_deref().unwrap_or("-")),
            ],
        );
    }
    table.write(out);
}

/// Columns as wide as their widest cell: the first to the left, the others to the right.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(title: &str, columns: &[&str]) -> Table {
        Table {
            rows: vec![
                std::iter::once(title)
                    .chain(columns.iter().copied())
                    .map(str::to_owned)
                    .collect(),
            ],
        }
    }

    fn row(&mut self, first: &str, others: Vec<String>) {
        let mut row = vec![first.to_owned()];
        row.extend(others);
        self.rows.push(row);
    }

    fn row_unless_zero(&mut self, first: &str, n: u64) {
        if n > 0 {
            self.row(first, vec![n.to_string()]);
        }
    }

    /// Nothing at all when there is only a head.
    fn write(&self, out: &mut String) {
        if self.rows.len() < 2 {
            return;
        }
        let mut widths = vec![0; self.rows[0].len()];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        out.push('\n');
        for row in &self.rows {
            let mut cells = row.iter().zip(&widths);
            if let Some((cell, width)) = cells.next() {
                let _ = write!(out, "{cell:<width$}");
            }
            for (cell, width) in cells {
                let _ = write!(out, "  {cell:>width$}");
            }
            out.push('\n');
        }
    }
}

/// Bytes for people: binary units, one decimal.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let Some(exponent) = bytes
        .checked_ilog2()
        .map(|log| log / 10)
        .filter(|exponent| *exponent > 0)
    else {
        return format!("{bytes} B");
    };
    let whole = bytes >> (10 * exponent);
    // What is left of the next smaller unit, 0 to 1023, as tenths.
    let tenths = ((bytes >> (10 * (exponent - 1))) & 0x3ff) * 10 / 1024;
    format!("{whole}.{tenths} {}", UNITS[exponent as usize - 1])
}

fn duration(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (hours, minutes, seconds) = (rest / 3600, rest / 60 % 60, rest % 60);
    let time = format!("{hours:02}:{minutes:02}:{seconds:02}");
    match days {
        0 => time,
        1 => format!("1 day {time}"),
        _ => format!("{days} days {time}"),
    }
}

/// A name on one line and in one column, which can neither steer a terminal nor turn the direction of the text around it.
fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if c == '\\' || c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::snapshot::example;
    use crate::stats::{Outside, Stats};
    use std::collections::BTreeMap;

    #[test]
    fn stats_has_a_name_and_a_value_on_each_line() {
        let text = stats(&example());
        let mut values = BTreeMap::new();
        for line in text.lines() {
            let (name, value) = line.split_once('\t').expect("a tab");
            assert!(!value.contains('\t'), "{line}");
            assert!(values.insert(name, value).is_none(), "twice: {name}");
        }
        for (name, value) in [
            ("version", env!("CARGO_PKG_VERSION")),
            ("uptime", "93784"),
            ("direct_dc_connections_created", "2"),
            ("direct_dc_connections_active", "1"),
            ("direct_dc_connections_failed", "1"),
            ("direct_dc_connections_dc_closed", "1"),
            ("direct_dc_retries", "1"),
            ("connect_failed_timeout", "1"),
            ("connect_failed_refused", "0"),
            ("close_dc_closed", "1"),
            ("close_user_disabled", "0"),
            ("reject_replay", "1"),
            ("clock_synced", "1"),
            ("clock_last_offset_s", "-86400"),
            ("config_rejected", "1"),
            ("dc_-2_bytes_down", "1000"),
            ("user_family_bytes_up", "2048"),
            ("user_a\"b\\\\c\\nd\\te\\u{1}_rejects", "1"),
        ] {
            assert_eq!(values.get(name), Some(&value), "{name}");
        }
    }

    #[test]
    fn the_page_shows_what_happened() {
        let expected = r#"mtrelay VERSION, running for 1 day 02:03:04

Sessions  1 active, 2 in all, 2 at once at most
Traffic   2.0 KiB up, 4.7 MiB down
Openings  1 not authenticated yet
Strangers 1 at the front site, 1 in all, 77 B
Buffers   2 of 64 in use, 5 at most, 16.0 KiB each, waited for 1 times
Memory    1.5 MiB resident
Clock     synchronised, 1 hellos refused, the last one -86400 s off
Config    0 reloads, 1 refused

Data centres  active  created  failed  retries  DC closed  client closed       up     down
2                  1        1       1        1          0              0  2.0 KiB  4.7 MiB

Media data centres  active  created  failed  retries  DC closed  client closed   up    down
-2                       0        1       0        0          1              0  0 B  1000 B

Addresses                   DC    state  connect  failures  last error  tried again
149.154.167.51:443           2       ok    41 ms         0           -            -
[2001:67c:4e8:f002::a]:443   2  cooling        -         3     timeout       in 9 s

Failed connects  attempts
timeout                 1

Ended sessions  sessions  by
dc_closed              1  dc

Refused openings  openings
replay                   1

Users              active  sessions       up     down  refused     expires
a"b\\c\nd\te\u{1}       0         1      0 B   1000 B        1           -
family                  1         1  2.0 KiB  4.7 MiB        0  2030-12-31
"#;
        assert_eq!(
            page(&example()),
            expected.replace("VERSION", env!("CARGO_PKG_VERSION"))
        );
    }

    #[test]
    fn a_fresh_relay_shows_no_empty_tables() {
        let page = page(&Stats::new().snapshot(Outside::default()));
        assert!(page.contains("Sessions  0 active"), "{page}");
        assert!(
            page.ends_with("Clock     not synchronised, not trusted\n"),
            "{page}"
        );
    }

    #[test]
    fn sizes_have_binary_units() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1023.9 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn durations_read_as_days_and_a_clock() {
        assert_eq!(duration(59), "00:00:59");
        assert_eq!(duration(86_400 + 3_661), "1 day 01:01:01");
        assert_eq!(duration(200_000), "2 days 07:33:20");
    }
}
