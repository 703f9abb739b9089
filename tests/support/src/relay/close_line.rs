//! The line that the daemon logs for each ended session.

use std::collections::BTreeMap;

/// `close: user=family client=192.168.1.20 dc=-2 addr=149.154.167.51:443 secs=12.3 up=1234 down=567890 by=dc reason=dc_closed`
#[derive(Clone, Debug, PartialEq)]
pub struct CloseLine {
    /// The user's name.
    pub user: String,
    /// The client's address.
    pub client: String,
    /// The signed DC id.
    pub dc: i16,
    /// The DC's address, as written.
    pub addr: String,
    /// How long it lived.
    pub secs: f64,
    /// Bytes from the client.
    pub up: u64,
    /// Bytes to the client.
    pub down: u64,
    /// `client`, `dc` or `relay`.
    pub by: String,
    /// The word for why.
    pub reason: String,
    /// The whole line.
    pub line: String,
}

impl CloseLine {
    /// Reads a log line; `None` when it is another one.
    ///
    /// # Panics
    /// If it starts as a close line and misses a field: that breaks a promise of the daemon's.
    #[track_caller]
    pub fn parse(line: &str) -> Option<CloseLine> {
        let (_, fields) = line.split_once("close: ")?;
        let fields: BTreeMap<&str, &str> = fields
            .split_whitespace()
            .filter_map(|field| field.split_once('='))
            .collect();
        let field = |name: &str| match fields.get(name) {
            Some(value) => (*value).to_string(),
            None => panic!("the close line has no {name}: {line}"),
        };
        let number = |name: &str| match field(name).parse() {
            Ok(value) => value,
            Err(_) => panic!("{name} is no number: {line}"),
        };
        Some(CloseLine {
            user: field("user"),
            client: field("client"),
            dc: field("dc")
                .parse()
                .unwrap_or_else(|_| panic!("dc is no number: {line}")),
            addr: field("addr"),
            secs: field("secs")
                .parse()
                .unwrap_or_else(|_| panic!("secs is no number: {line}")),
            up: number("up"),
            down: number("down"),
            by: field("by"),
            reason: field("reason"),
            line: line.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_line_is_understood() {
        let line = "info close: user=family client=192.168.1.20 dc=-2 addr=149.154.167.51:443 secs=12.3 up=1234 \
            down=567890 by=dc reason=dc_closed";
        let close = CloseLine::parse(line).expect("a close line");
        assert_eq!(
            (close.dc, close.secs, close.up, close.down),
            (-2, 12.3, 1234, 567_890)
        );
        assert_eq!(
            (close.user.as_str(), close.by.as_str(), close.reason.as_str()),
            ("family", "dc", "dc_closed")
        );
        assert_eq!(CloseLine::parse("info listening on 127.0.0.1:1"), None);
    }
}
