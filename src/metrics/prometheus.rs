//! The page `/metrics`: the text exposition format of Prometheus, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Promises: HELP and TYPE stand once before each family; the lines of a family stand together; counters end in `_total`; values are in
//! base units (bytes, seconds); and each series of a closed set of labels exists from the start with 0, so that `rate()` sees the
//! first event. The label `dc` is the signed id, as in the log; `media` repeats its sign for queries that sum over it.

use std::fmt::Write as _;

use super::snapshot::{Dc, Snapshot};
use super::table::{ADDRESS, DC, Kind, Metric, RELAY, Shape, UNKNOWN, USER, Unit};

/// The media type of the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the labels of a family's series have in common, and the values behind them.
type Source<'a> = (String, &'a [i64]);

/// The page.
pub fn metrics(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    head(
        &mut out,
        "mtrelay_build_info",
        Kind::Gauge,
        "Version of the program; the value is always 1.",
    );
    let _ = writeln!(out, "mtrelay_build_info{{version=\"{}\"}} 1", snapshot.version);
    families(&mut out, "", &RELAY, &[(String::new(), &snapshot.relay.0)]);
    let dcs: Vec<Source<'_>> = snapshot
        .dcs
        .iter()
        .map(|dc| (dc_labels(dc), &dc.values.0[..]))
        .collect();
    families(&mut out, "", &DC, &dcs);
    let addresses = snapshot.dcs.iter().flat_map(|dc| {
        dc.addresses.iter().map(|address| {
            let labels = format!("{},address=\"{}\"", dc_labels(dc), address.address);
            (labels, &address.values.0[..])
        })
    });
    families(
        &mut out,
        "dc_address_",
        &ADDRESS,
        &addresses.collect::<Vec<Source<'_>>>(),
    );
    let users = snapshot
        .users
        .iter()
        .map(|user| (format!("user=\"{}\"", escaped(&user.name)), &user.values.0[..]));
    families(&mut out, "user_", &USER, &users.collect::<Vec<Source<'_>>>());
    out
}

fn dc_labels(dc: &Dc) -> String {
    format!("dc=\"{}\",media=\"{}\"", dc.id, dc.id.is_media())
}

/// The name of a row's family: the prefix, the row's name, the base unit, and `_total` for a counter.
pub fn family_name(prefix: &str, metric: &Metric) -> String {
    let name = metric.name();
    let (stem, unit) = match metric.unit {
        Unit::Count => (&*name, ""),
        Unit::Bytes if name.ends_with("bytes") => (&*name, ""),
        Unit::Bytes => (&*name, "_bytes"),
        Unit::Kibibytes => (name.trim_end_matches("_kib"), "_bytes"),
        Unit::Seconds => (name.trim_end_matches("_s"), "_seconds"),
        Unit::Milliseconds => (name.trim_end_matches("_ms"), "_seconds"),
    };
    let total = match metric.kind {
        Kind::Counter if !name.ends_with("_total") => "_total",
        _ => "",
    };
    format!("mtrelay_{prefix}{stem}{unit}{total}")
}

fn head(out: &mut String, name: &str, kind: Kind, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
}

/// Writes the families of all rows. A family without any series leaves no trace.
fn families(out: &mut String, prefix: &str, rows: &[Metric], sources: &[Source<'_>]) {
    let mut slot = 0;
    for metric in rows {
        let name = family_name(prefix, metric);
        let label = metric.shape.label();
        let mut has_head = false;
        for (common, values) in sources {
            for place in 0..label.map_or(1, |label| label.count()) {
                let value = match metric.shape {
                    Shape::Word(_) => i64::from(values[slot] == place as i64),
                    _ => values[slot + place],
                };
                if value == UNKNOWN {
                    continue;
                }
                if !std::mem::replace(&mut has_head, true) {
                    head(out, &name, metric.kind, metric.help);
                }
                let own = label.map_or_else(String::new, |label| {
                    format!("{}=\"{}\"", label.name(), label.word(place))
                });
                sample(out, &name, [common, &own], metric.unit, value);
            }
        }
        slot += metric.shape.slots();
    }
}

fn sample(out: &mut String, name: &str, labels: [&str; 2], unit: Unit, value: i64) {
    out.push_str(name);
    let mut before = '{';
    for label in labels.into_iter().filter(|label| !label.is_empty()) {
        out.push(before);
        out.push_str(label);
        before = ',';
    }
    if before == ',' {
        out.push('}');
    }
    let _ = match unit {
        Unit::Kibibytes => writeln!(out, " {}", value.saturating_mul(1024)),
        Unit::Milliseconds => writeln!(out, " {}.{:03}", value / 1000, value % 1000),
        _ => writeln!(out, " {value}"),
    };
}

/// The value of a label. The format knows these three escapes and no others; all other characters stand as they are.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::example::{dc, empty, example, user};
    use mtrelay_core::close::{CloseReason, ConnectFailure, Reject};
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
        assert_eq!(value("memory_rss_bytes", &[]), 1_572_864.0);
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
        let mut snapshot = empty();
        snapshot.dcs.push(dc(-4));
        snapshot.users.push(user("a"));
        let series = check(&metrics(&snapshot));
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
        let page = metrics(&empty());
        check(&page);
        assert!(
            !page.contains("mtrelay_user_") && !page.contains("mtrelay_start_time"),
            "{page}"
        );
    }
}
