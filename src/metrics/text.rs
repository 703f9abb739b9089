//! The page `/stats`: one `name<TAB>value` a line, for scripts.
//!
//! The names of the DC connections are those that tools for the C proxy read already. A DC's own lines begin with `dc_ID_`, an address's
//! with `dc_ID_address_ADDRESS_`, a user's with `user_NAME_`. A name is escaped so that it stays on its line and in its column.

use std::fmt::{Display, Write as _};

use super::snapshot::Snapshot;
use super::table::{ADDRESS, DC, Metric, RELAY, Shape, UNKNOWN, USER, walk};

/// The page.
pub fn stats(snapshot: &Snapshot) -> String {
    let mut out = format!("version\t{}\n", snapshot.version);
    lines(&mut out, "", &RELAY, &snapshot.relay.0);
    lines(&mut out, "", &DC, &snapshot.dc.0);
    for dc in &snapshot.dcs {
        let prefix = format!("dc_{}_", dc.id);
        // The names in the table are those of the sums; one DC's are the paths.
        for (metric, values) in walk(&DC, &dc.values.0) {
            row(&mut out, &prefix, metric.path, metric, values);
        }
        for address in &dc.addresses {
            let prefix = format!("{prefix}address_{}_", address.address);
            lines(&mut out, &prefix, &ADDRESS, &address.values.0);
        }
    }
    for user in &snapshot.users {
        let prefix = format!("user_{}_", escaped(&user.name));
        lines(&mut out, &prefix, &USER, &user.values.0);
    }
    out
}

fn lines(out: &mut String, prefix: &str, rows: &'static [Metric], values: &[i64]) {
    for (metric, values) in walk(rows, values) {
        row(out, prefix, &metric.name(), metric, values);
    }
}

fn row(out: &mut String, prefix: &str, name: &str, metric: &Metric, values: &[i64]) {
    match metric.shape {
        Shape::Number | Shape::Flag if values[0] == UNKNOWN => {}
        Shape::Number | Shape::Flag => line(out, prefix, name, "", &values[0]),
        Shape::Word(label) => line(out, prefix, name, "", &label.word(values[0] as usize)),
        Shape::Sum(_) => line(out, prefix, name, "", &values.iter().sum::<i64>()),
        Shape::Set(label) => {
            for (place, value) in values.iter().enumerate() {
                line(out, prefix, name, label.word(place), value);
            }
        }
    }
}

fn line(out: &mut String, prefix: &str, name: &str, word: &str, value: &dyn Display) {
    let between = if word.is_empty() { "" } else { "_" };
    let _ = writeln!(out, "{prefix}{name}{between}{word}\t{value}");
}

/// A name on one line and in one column, which can neither steer a terminal nor turn the direction of the text around it.
pub fn escaped(name: &str) -> String {
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
    use crate::metrics::example::example;
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
            ("start_time", "1700000000"),
            ("direct_dc_connections_created", "2"),
            ("direct_dc_connections_active", "1"),
            ("direct_dc_connections_failed", "1"),
            ("direct_dc_connections_dc_closed", "1"),
            ("direct_dc_retries", "1"),
            ("direct_dc_ipv6_fallbacks", "1"),
            ("connect_failures_timeout", "1"),
            ("connect_failures_refused", "0"),
            ("closes_dc_closed", "1"),
            ("closes_user_disabled", "0"),
            ("rejects_replay", "1"),
            ("clock_synced", "1"),
            ("clock_last_offset_s", "-86400"),
            ("config_rejected", "1"),
            ("buffers_size", "16384"),
            ("dc_-2_bytes_down", "1000"),
            ("dc_2_retries", "1"),
            ("dc_2_address_149.154.167.51:443_state", "ok"),
            ("dc_2_address_149.154.167.51:443_rtt_ms", "41"),
            ("dc_2_address_[2001:67c:4e8:f002::a]:443_failures", "3"),
            ("user_family_bytes_up", "2048"),
            ("user_family_sessions_active", "1"),
            ("user_family_quota", "10000000"),
            ("user_a\"b\\\\c\\nd\\te\\u{1}_rejects", "1"),
        ] {
            assert_eq!(values.get(name), Some(&value), "{name}");
        }
        for unknown in [
            "dc_2_address_149.154.167.51:443_retry_in",
            "user_a\"b\\\\c\\nd\\te\\u{1}_quota",
        ] {
            assert_eq!(values.get(unknown), None);
        }
    }
}
