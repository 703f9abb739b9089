//! The snapshot as JSON (RFC 8259), in one line; every control character of a name is escaped.
//!
//! Written by hand: a serialiser crate is larger than this file's machine code.

use std::fmt::Write as _;

use super::emit::Emit;
use super::snapshot::Snapshot;

/// The document of `/status`: ubus `status` with `dcs` and `users` inside.
pub fn status(snapshot: &Snapshot) -> String {
    let mut json = Json::new();
    snapshot.emit_status(&mut json);
    snapshot.emit_dcs(&mut json);
    snapshot.emit_users(&mut json);
    json.finish()
}

/// Writes one JSON object.
pub struct Json {
    out: String,
    /// What closes each table and array that is open, the innermost last.
    open: Vec<char>,
    first: bool,
}

impl Json {
    /// Opens the outermost object.
    #[expect(
        clippy::new_without_default,
        reason = "it opens a document rather than being an empty value"
    )]
    pub fn new() -> Json {
        Json {
            out: "{".to_owned(),
            open: vec!['}'],
            first: true,
        }
    }

    /// Closes all open tables and arrays; the text ends with a newline.
    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.end();
        }
        self.out.push('\n');
        self.out
    }

    fn name(&mut self, name: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
        if self.open.last() == Some(&'}') {
            self.quoted(name);
            self.out.push(':');
        }
    }

    fn quoted(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                // The two separators end a line in older JavaScript; control characters must be escaped or disturb a terminal.
                c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                    let _ = write!(self.out, "\\u{:04x}", u32::from(c));
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }

    fn begin(&mut self, name: &str, opening: char, closing: char) {
        self.name(name);
        self.out.push(opening);
        self.open.push(closing);
        self.first = true;
    }
}

impl Emit for Json {
    fn table(&mut self, name: &str) {
        self.begin(name, '{', '}');
    }

    fn array(&mut self, name: &str) {
        self.begin(name, '[', ']');
    }

    fn end(&mut self) {
        self.out.extend(self.open.pop());
        self.first = false;
    }

    fn int(&mut self, name: &str, value: i64) {
        self.name(name);
        let _ = write!(self.out, "{value}");
    }

    fn str(&mut self, name: &str, value: &str) {
        self.name(name);
        self.quoted(value);
    }

    fn bool(&mut self, name: &str, value: bool) {
        self.name(name);
        self.out.push_str(if value { "true" } else { "false" });
    }

    fn null(&mut self, name: &str) {
        self.name(name);
        self.out.push_str("null");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::example::example;

    #[test]
    fn status_has_the_shape_of_ubus_status_with_dcs_and_users() {
        let head = concat!(
            r#"{"version":"VERSION","uptime":93784,"start_time":1700000000,"#,
            r#""clock":{"synced":true,"trusted":true,"refused":1,"last_offset_s":-86400},"#,
            r#""fronted":{"active":1,"total":1,"bytes":77,"failed":0},"sessions":{"active":1,"total":2,"peak":2},"#,
            r#""bytes":{"up":2048,"down":5001000},"#,
            r#""buffers":{"size":16384,"count":64,"in_use":2,"high_water":5,"waits":1,"held":1},"pipes":{"count":16,"in_use":1,"high_water":3,"misses":2},"memory":{"rss_kib":1536},"#,
            r#""closes":{"client_closed":0,"client_reset":0,"dc_closed":1,"dc_reset":0,"client_timeout":0,"#,
            r#""dc_timeout":0,"idle_timeout":0,"connect_failed":0,"unknown_dc":0,"limit":0,"quota":0,"expired":0,"#,
            r#""user_disabled":0,"shutdown":0,"error":0},"#,
            r#""connect_failures":{"refused":0,"timeout":1,"unreachable":0,"reset":0,"other":0},"#,
            r#""rejects":{"bad_secret":0,"bad_tag":0,"replay":1,"clock_skew":0,"timeout":0,"malformed":0,"#,
            r#""mode_disabled":0,"closed":0,"bad_sni":0,"blocked":0,"budget":0},"#,
            r#""config":{"reloads":0,"rejected":1},"openings":{"active":1},"accept_pauses":0,"panics":0,"#,
            r#""dc":{"created":2,"active":1,"failed":1,"dc_closed":1,"dc_timeouts":0,"client_closed":0,"retries":1,"ipv6_fallbacks":1,"#,
            r#""bytes":{"up":2048,"down":5001000}},"dcs":[{"id":1,"media":false,"#,
        )
        .replace("VERSION", env!("CARGO_PKG_VERSION"));
        let json = status(&example());
        assert_eq!(&json[..head.len()], head);
        let dc = concat!(
            r#"{"id":2,"media":false,"created":1,"active":1,"failed":1,"dc_closed":0,"dc_timeouts":0,"client_closed":0,"retries":1,"#,
            r#""ipv6_fallbacks":1,"bytes":{"up":2048,"down":5000000},"addresses":[{"address":"149.154.167.51:443","family":"ipv4","#,
            r#""last_error":null,"state":"ok","rtt_ms":41,"failures":0,"retry_in":null,"dc_timeouts":0},"#,
            r#"{"address":"[2001:67c:4e8:f002::a]:443","family":"ipv6","last_error":"timeout","state":"cooling","rtt_ms":null,"#,
            r#""failures":3,"retry_in":9,"dc_timeouts":1}]}"#,
        );
        assert!(json.contains(dc), "{json}");
        assert!(
            json.contains(r#"{"id":-2,"media":true,"created":1,"active":0,"#),
            "{json}"
        );
        let users = concat!(
            r#""users":[{"name":"a\"b\\c\nd\te\u0001","active":0,"total":1,"bytes":{"up":0,"down":1000},"rejects":1,"#,
            r#""quota_used":1000,"quota":null,"expires":null},{"name":"family","active":1,"total":1,"bytes":{"up":2048,"down":5000000},"rejects":0,"#,
            r#""quota_used":5002048,"quota":10000000,"expires":"2030-12-31"}]}"#,
        );
        assert!(json.ends_with(&format!("{users}\n")), "{json}");
    }

    #[test]
    fn every_character_that_may_not_stand_bare_is_escaped() {
        let mut json = Json::new();
        json.str("k\"", "\0\u{1f}\u{7f}\u{2028}é😀");
        json.array("a");
        json.null("");
        json.bool("", false);
        json.table("");
        json.end();
        json.end();
        json.int("n", -5);
        assert_eq!(
            json.finish(),
            "{\"k\\\"\":\"\\u0000\\u001f\\u007f\\u2028é😀\",\"a\":[null,false,{}],\"n\":-5}\n"
        );
    }
}
