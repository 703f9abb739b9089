//! The page for people, which `mtrelay status` prints and `/status.txt` answers.
//!
//! An overview in sentences, then tables that are made from the rows of [`super::table`]. Its form may change at any time.

use std::fmt::Write as _;

use super::snapshot::Snapshot;
use super::table::{
    ADDRESS, AddressMetric, AddressState, DC, DOWN, DcValues, Kind, Label, Metric, RELAY, RelayMetric as M,
    Shape, UNKNOWN, UP, USER, Unit, walk,
};
use super::text::escaped;
use mtrelay_core::close::{CloseReason, ConnectFailure};

/// The page.
pub fn page(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    let uptime = duration(number(snapshot, M::Uptime));
    let _ = writeln!(out, "mtrelay {}, running for {uptime}\n", snapshot.version);
    overview(&mut out, snapshot);
    data_centres(&mut out, snapshot, "Data centres", false);
    data_centres(&mut out, snapshot, "Media data centres", true);
    addresses(&mut out, snapshot);
    users(&mut out, snapshot);
    counters(&mut out, snapshot);
    out
}

fn number(snapshot: &Snapshot, metric: M) -> u64 {
    snapshot.relay.get(metric) as u64
}

fn overview(out: &mut String, snapshot: &Snapshot) {
    let mut line = |name: &str, text: String| {
        let _ = writeln!(out, "{name:<11}{text}");
    };
    let n = |metric| number(snapshot, metric);
    let traffic = |place| size(snapshot.relay.of(M::Bytes, place) as u64);
    line(
        "Sessions",
        format!(
            "{} active, {} in all, {} at most at one time",
            n(M::SessionsActive),
            n(M::SessionsTotal),
            n(M::SessionsPeak)
        ),
    );
    line("Traffic", format!("{} up, {} down", traffic(UP), traffic(DOWN)));
    line("Handshakes", format!("{} pending", n(M::OpeningsActive)));
    if n(M::FrontedTotal) > 0 {
        let moved = size(n(M::FrontedBytes));
        line(
            "Front site",
            format!(
                "{} connections, {} in all, {moved}",
                n(M::FrontedActive),
                n(M::FrontedTotal)
            ),
        );
    }
    let (in_use, count, each) = (n(M::BuffersInUse), n(M::BuffersCount), size(n(M::BuffersSize)));
    line(
        "Buffers",
        format!(
            "{in_use} of {count} in use, {} at most, {each} each, {} waits",
            n(M::BuffersHighWater),
            n(M::BuffersWaits)
        ),
    );
    line(
        "Memory",
        format!("{} resident", size(n(M::MemoryRss).saturating_mul(1024))),
    );
    let mut time = if n(M::ClockSynced) > 0 {
        "synchronised"
    } else {
        "not synchronised"
    }
    .to_owned();
    if n(M::ClockTrusted) == 0 {
        time.push_str(", not trusted");
    }
    if n(M::ClockRefused) > 0 {
        let offset = snapshot.relay.get(M::ClockLastOffset);
        let _ = write!(
            time,
            ", {} handshakes refused, the last one {offset} s off",
            n(M::ClockRefused)
        );
    }
    line("Clock", time);
}

fn data_centres(out: &mut String, snapshot: &Snapshot, title: &str, media: bool) {
    let mut table = Table::of_rows(title, &DC, &[]);
    for dc in snapshot
        .dcs
        .iter()
        .filter(|dc| dc.id.is_media() == media && dc.values != DcValues::default())
    {
        table.row(&dc.id.to_string(), cells(&DC, &dc.values.0));
    }
    table.write(out);
}

fn addresses(out: &mut String, snapshot: &Snapshot) {
    let mut table = Table::of_rows("Addresses", &ADDRESS, &["DC", "last error"]);
    for dc in &snapshot.dcs {
        for address in &dc.addresses {
            if address.values.get(AddressMetric::State) == AddressState::Untried as i64 {
                continue;
            }
            let mut row = cells(&ADDRESS, &address.values.0);
            row.push(dc.id.to_string());
            row.push(address.last_error.map_or("-", ConnectFailure::name).to_owned());
            table.row(&address.address.to_string(), row);
        }
    }
    table.write(out);
}

fn users(out: &mut String, snapshot: &Snapshot) {
    let mut table = Table::of_rows("Users", &USER, &["expires"]);
    for user in &snapshot.users {
        let mut row = cells(&USER, &user.values.0);
        row.push(escaped(user.expires.as_deref().unwrap_or("-")));
        table.row(&escaped(&user.name), row);
    }
    table.write(out);
}

/// Every counter of the whole relay that is not 0; those with words as tables of their own.
fn counters(out: &mut String, snapshot: &Snapshot) {
    let mut plain = Table::new("Counters", &["since start"]);
    let mut sets = Vec::new();
    for (metric, values) in walk(&RELAY, &snapshot.relay.0).filter(|(metric, _)| metric.kind == Kind::Counter)
    {
        let name = metric.name();
        let Shape::Set(label) = metric.shape else {
            if values[0] != 0 {
                plain.row(&name, vec![shown(metric.unit, values[0])]);
            }
            continue;
        };
        if label == Label::Direction {
            continue;
        }
        let has_side = label == Label::CloseReason;
        let mut table = Table::new(
            &name,
            if has_side {
                &["since start", "by"]
            } else {
                &["since start"]
            },
        );
        for (place, value) in values.iter().enumerate().filter(|(_, value)| **value != 0) {
            let mut row = vec![value.to_string()];
            if has_side {
                row.push(CloseReason::ALL[place].by().name().to_owned());
            }
            table.row(label.word(place), row);
        }
        sets.push(table);
    }
    for table in sets.iter().chain([&plain]) {
        table.write(out);
    }
}

fn cells(rows: &'static [Metric], values: &[i64]) -> Vec<String> {
    let mut cells = Vec::new();
    for (metric, values) in walk(rows, values) {
        match metric.shape {
            Shape::Word(label) => cells.push(label.word(values[0] as usize).to_owned()),
            Shape::Sum(_) => cells.push(values.iter().sum::<i64>().to_string()),
            _ => cells.extend(values.iter().map(|value| shown(metric.unit, *value))),
        }
    }
    cells
}

fn shown(unit: Unit, value: i64) -> String {
    match unit {
        _ if value == UNKNOWN => "-".to_owned(),
        Unit::Bytes => size(value as u64),
        Unit::Seconds => format!("{value} s"),
        _ => value.to_string(),
    }
}

/// A table in text. Each column is as wide as its widest cell; the first is aligned left, the others right.
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

    /// With a column for each value of `rows`, and `more` behind them.
    fn of_rows(title: &str, rows: &[Metric], more: &[&str]) -> Table {
        let mut head = vec![title.to_owned()];
        for metric in rows {
            match metric.shape {
                Shape::Set(label) => {
                    head.extend((0..label.count()).map(|place| label.word(place).to_owned()))
                }
                _ => head.push(metric.path.replace('_', " ")),
            }
        }
        head.extend(more.iter().map(|word| (*word).to_owned()));
        Table { rows: vec![head] }
    }

    fn row(&mut self, first: &str, others: Vec<String>) {
        let mut row = vec![first.to_owned()];
        row.extend(others);
        self.rows.push(row);
    }

    /// Writes the table, or nothing if it has no row.
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
    // The rest in the next smaller unit, 0 to 1023, as tenths.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::example::{empty, example};

    #[test]
    fn the_page_shows_what_happened() {
        let expected = r#"mtrelay VERSION, running for 1 day 02:03:04

Sessions   1 active, 2 in all, 2 at most at one time
Traffic    2.0 KiB up, 4.7 MiB down
Handshakes 1 pending
Front site 1 connections, 1 in all, 77 B
Buffers    2 of 64 in use, 5 at most, 16.0 KiB each, 1 waits
Memory     1.5 MiB resident
Clock      synchronised, 1 handshakes refused, the last one -86400 s off

Data centres  created  active  failed  dc closed  dc timeouts  client closed  retries  ipv6 fallbacks       up     down
2                   1       1       1          0            0              0        1               1  2.0 KiB  4.7 MiB

Media data centres  created  active  failed  dc closed  dc timeouts  client closed  retries  ipv6 fallbacks   up    down
-2                        1       0       0          1            0              0        0               0  0 B  1000 B

Addresses                     state  rtt ms  failures  retry in  dc timeouts  DC  last error
149.154.167.51:443               ok      41         0         -            0   2           -
[2001:67c:4e8:f002::a]:443  cooling       -         3       9 s            1   2     timeout

Users              active  total       up     down  rejects  quota used    quota     expires
a"b\\c\nd\te\u{1}       0      1      0 B   1000 B        1      1000 B        -           -
family                  1      1  2.0 KiB  4.7 MiB        0     4.7 MiB  9.5 MiB  2030-12-31

closes     since start  by
dc_closed            1  dc

connect_failures  since start
timeout                     1

rejects  since start
replay             1

Counters         since start
clock_refused              1
fronted_total              1
fronted_bytes           77 B
sessions_total             2
buffers_waits              1
pipes_misses               2
config_rejected            1
"#;
        assert_eq!(
            page(&example()),
            expected.replace("VERSION", env!("CARGO_PKG_VERSION"))
        );
    }

    #[test]
    fn a_fresh_relay_shows_no_empty_tables() {
        let page = page(&empty());
        assert!(page.contains("Sessions   0 active"), "{page}");
        assert!(
            page.ends_with("Clock      not synchronised, not trusted\n"),
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
