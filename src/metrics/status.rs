//! The shape of the documents that ubus and `/status` answer with: the rows of the table as nested values.
//!
//! `emit_status`, `emit_dcs` and `emit_users` give the fields of ubus' methods of these names; `/status` is the three in one.
//! Promises: integers stay below 2^53, which every reader of JSON keeps exact; an unknown value is null, not 0.

use super::emit::{Emit, MAX_EXACT, optional_str};
use super::snapshot::Snapshot;
use super::table::{ADDRESS, DC, Metric, RELAY, Shape, UNKNOWN, USER, walk};
use mtrelay_core::close::ConnectFailure;

impl Snapshot {
    /// The fields of ubus `status`.
    pub fn emit_status(&self, out: &mut dyn Emit) {
        out.str("version", self.version);
        emit_rows(out, &RELAY, &self.relay.0);
        out.table("dc");
        emit_rows(out, &DC, &self.dc.0);
        out.end();
    }

    /// The field of ubus `dcs`.
    pub fn emit_dcs(&self, out: &mut dyn Emit) {
        out.array("dcs");
        for dc in &self.dcs {
            out.table("");
            out.int("id", dc.id.raw().into());
            out.bool("media", dc.id.is_media());
            emit_rows(out, &DC, &dc.values.0);
            out.array("addresses");
            for address in &dc.addresses {
                out.table("");
                out.str("address", &address.address.to_string());
                out.str("family", address.family());
                optional_str(out, "last_error", address.last_error.map(ConnectFailure::name));
                emit_rows(out, &ADDRESS, &address.values.0);
                out.end();
            }
            out.end();
            out.end();
        }
        out.end();
    }

    /// The field of ubus `users`.
    pub fn emit_users(&self, out: &mut dyn Emit) {
        out.array("users");
        for user in &self.users {
            out.table("");
            out.str("name", &user.name);
            emit_rows(out, &USER, &user.values.0);
            optional_str(out, "expires", user.expires.as_deref());
            out.end();
        }
        out.end();
    }
}

fn emit_rows(out: &mut dyn Emit, rows: &'static [Metric], values: &[i64]) {
    let mut open = "";
    for (metric, values) in walk(rows, values) {
        let (group, name) = metric.path.split_once('.').unwrap_or(("", metric.path));
        if group != open {
            if !open.is_empty() {
                out.end();
            }
            if !group.is_empty() {
                out.table(group);
            }
            open = group;
        }
        match metric.shape {
            Shape::Number => int(out, name, values[0]),
            Shape::Flag => out.bool(name, values[0] != 0),
            Shape::Word(label) => out.str(name, label.word(values[0] as usize)),
            Shape::Sum(_) => int(out, name, values.iter().sum()),
            Shape::Set(label) => {
                out.table(name);
                for (place, value) in values.iter().enumerate() {
                    int(out, label.word(place), *value);
                }
                out.end();
            }
        }
    }
    if !open.is_empty() {
        out.end();
    }
}

fn int(out: &mut dyn Emit, name: &str, value: i64) {
    match value {
        UNKNOWN => out.null(name),
        _ => out.int(name, value.clamp(-MAX_EXACT, MAX_EXACT)),
    }
}
