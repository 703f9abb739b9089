//! The table of metrics: what each output shows, in the order in which it is shown.
//!
//! Names follow from the path. `buffers.in_use` of ubus and `/status` is `buffers_in_use` in `/stats` and `mtrelay_buffers_in_use` in
//! `/metrics`. Prometheus names end in the base unit (`_bytes`, `_seconds`), those of counters in `_total`. A row with `as` has a name
//! of its own: the names of the DC connections are those that tools for the C proxy already read.
//!
//! Each row has one value, or one for each word of its label. The value of a row is addressed by an enum ([`RelayMetric::SessionsActive`]),
//! which is generated from the rows.

pub use super::metric::{AddressState, DOWN, Kind, Label, Metric, Shape, UNKNOWN, UP, Unit, walk};

const fn slots(rows: &[Metric]) -> usize {
    let (mut sum, mut row) = (0, 0);
    while row < rows.len() {
        sum += rows[row].shape.slots();
        row += 1;
    }
    sum
}

macro_rules! own_name {
    () => {
        ""
    };
    ($name:literal) => {
        $name
    };
}

macro_rules! metrics {
    ($(#[$doc:meta])* $Id:ident, $TABLE:ident, $Values:ident {
        $($variant:ident = $path:literal $(as $name:literal)?, $kind:ident, $shape:expr, $unit:ident, $help:literal;)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Id {
            $(#[doc = $help] $variant,)+
        }

        #[doc = concat!("The rows of [`", stringify!($Id), "`].")]
        pub static $TABLE: [Metric; $Id::ROWS.len()] = $Id::ROWS;

        impl $Id {
            const ROWS: [Metric; [$($help),+].len()] = [$(Metric {
                path: $path,
                own_name: own_name!($($name)?),
                kind: Kind::$kind,
                shape: $shape,
                unit: Unit::$unit,
                help: $help,
            }),+];

            /// The number of values of all rows.
            pub const SLOTS: usize = slots(&Self::ROWS);

            const FIRST: [u8; Self::ROWS.len()] = {
                let mut first = [0; Self::ROWS.len()];
                let mut row = 1;
                while row < first.len() {
                    first[row] = first[row - 1] + Self::ROWS[row - 1].shape.slots() as u8;
                    row += 1;
                }
                first
            };

            /// The place of the row's first value.
            pub const fn slot(self) -> usize {
                Self::FIRST[self as usize] as usize
            }
        }

        #[doc = concat!("A value for each [`", stringify!($Id), "`].")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $Values(pub [i64; $Id::SLOTS]);

        impl Default for $Values {
            fn default() -> Self {
                $Values([0; $Id::SLOTS])
            }
        }

        impl $Values {
            /// The value of a row.
            pub fn get(&self, metric: $Id) -> i64 {
                self.0[metric.slot()]
            }

            /// The value of one word of a row.
            pub fn of(&self, metric: $Id, word: usize) -> i64 {
                self.0[metric.slot() + word]
            }

            /// Sets the value of a row.
            pub fn set(&mut self, metric: $Id, value: i64) {
                self.0[metric.slot()] = value;
            }
        }
    };
}

metrics! {
    /// The metrics of the whole relay.
    RelayMetric, RELAY, RelayValues {
        Uptime = "uptime", Gauge, Shape::Number, Seconds,
            "Time since the daemon started.";
        StartTime = "start_time", Gauge, Shape::Number, Seconds,
            "Start of the daemon in Unix time.";
        ClockSynced = "clock.synced", Gauge, Shape::Flag, Count,
            "Clock synchronised, as the kernel reports it.";
        ClockTrusted = "clock.trusted", Gauge, Shape::Flag, Count,
            "Clock trusted: handshake times and users' last days are checked against it.";
        ClockRefused = "clock.refused", Counter, Shape::Number, Count,
            "Handshakes refused only because of their time.";
        ClockLastOffset = "clock.last_offset_s", Gauge, Shape::Number, Seconds,
            "Client time minus relay time in the last handshake refused because of its time.";
        FrontedActive = "fronted.active", Gauge, Shape::Number, Count,
            "Unauthenticated clients connected to the front site.";
        FrontedTotal = "fronted.total", Counter, Shape::Number, Count,
            "Unauthenticated clients passed to the front site since the start.";
        FrontedBytes = "fronted.bytes", Counter, Shape::Number, Bytes,
            "Bytes between unauthenticated clients and the front site, in both directions.";
        FrontedFailed = "fronted.failed", Counter, Shape::Number, Count,
            "Connections to the front site that failed.";
        SessionsActive = "sessions.active", Gauge, Shape::Number, Count,
            "Live sessions.";
        SessionsTotal = "sessions.total", Counter, Shape::Number, Count,
            "Sessions since the start, live ones included.";
        SessionsPeak = "sessions.peak", Gauge, Shape::Number, Count,
            "Highest number of live sessions at one time since the start.";
        Bytes = "bytes", Counter, Shape::Set(Label::Direction), Bytes,
            "Bytes relayed: up from clients to DCs, down from DCs to clients.";
        BuffersSize = "buffers.size", Gauge, Shape::Number, Bytes,
            "Size of one relay buffer.";
        BuffersCount = "buffers.count", Gauge, Shape::Number, Count,
            "Maximum number of relay buffers.";
        BuffersInUse = "buffers.in_use", Gauge, Shape::Number, Count,
            "Relay buffers in use.";
        BuffersHighWater = "buffers.high_water", Gauge, Shape::Number, Count,
            "Highest number of relay buffers in use at one time since the start.";
        BuffersWaits = "buffers.waits", Counter, Shape::Number, Count,
            "Waits of sessions for a free relay buffer.";
        BuffersHeld = "buffers.held", Gauge, Shape::Number, Count,
            "Relay buffers that hold a client's first request until the DC answers.";
        PipesCount = "pipes.count", Gauge, Shape::Number, Count,
            "Maximum number of pipes.";
        PipesInUse = "pipes.in_use", Gauge, Shape::Number, Count,
            "Pipes that hold bytes.";
        PipesHighWater = "pipes.high_water", Gauge, Shape::Number, Count,
            "Highest number of pipes that held bytes at one time since the start.";
        PipesMisses = "pipes.misses", Counter, Shape::Number, Count,
            "Transfers copied through a relay buffer because no pipe was free.";
        MemoryRss = "memory.rss_kib", Gauge, Shape::Number, Kibibytes,
            "Resident memory of the daemon.";
        Closes = "closes", Counter, Shape::Set(Label::CloseReason), Count,
            "Ended sessions by close reason.";
        ConnectFailures = "connect_failures", Counter, Shape::Set(Label::ConnectFailure), Count,
            "Failed connection attempts to addresses of all DCs, by kind of failure.";
        Rejects = "rejects", Counter, Shape::Set(Label::Reject), Count,
            "Connections refused before a session began, by reason.";
        ConfigReloads = "config.reloads", Counter, Shape::Number, Count,
            "Configuration reloads that took effect.";
        ConfigRejected = "config.rejected", Counter, Shape::Number, Count,
            "Configuration reloads refused; the previous configuration stayed in force.";
        OpeningsActive = "openings.active", Gauge, Shape::Number, Count,
            "Pending handshakes: connections that have not authenticated yet.";
        AcceptPauses = "accept_pauses", Counter, Shape::Number, Count,
            "Pauses in accepting connections because descriptors or memory ran out.";
        Panics = "panics", Counter, Shape::Number, Count,
            "Tasks ended by a panic of the program.";
    }
}

metrics! {
    /// The metrics of one data centre. Their sums over all DCs stand in `dc` of the status and without a DC's id in `/stats`.
    DcMetric, DC, DcValues {
        Created = "created" as "direct_dc_connections_created", Counter, Shape::Number, Count,
            "DC connections given to a session.";
        Active = "active" as "direct_dc_connections_active", Gauge, Shape::Number, Count,
            "Open DC connections of sessions.";
        Failed = "failed" as "direct_dc_connections_failed", Counter, Shape::Sum(Label::ConnectFailure), Count,
            "Failed connection attempts to addresses of the DC.";
        DcClosed = "dc_closed" as "direct_dc_connections_dc_closed", Counter, Shape::Number, Count,
            "DC connections closed or reset by the DC.";
        DcTimeouts = "dc_timeouts" as "direct_dc_connections_dc_timeouts", Counter, Shape::Number, Count,
            "DC connections lost because the DC stopped acknowledging packets.";
        ClientClosed = "client_closed" as "direct_dc_connections_client_closed", Counter, Shape::Number, Count,
            "Sessions closed or reset by the client.";
        Retries = "retries" as "direct_dc_retries", Counter, Shape::Number, Count,
            "DC connections given up before the DC's first answer; the session tries another address.";
        Ipv6Fallbacks = "ipv6_fallbacks" as "direct_dc_ipv6_fallbacks", Counter, Shape::Number, Count,
            "Sessions connected over IPv4 after their IPv6 attempts failed.";
        Bytes = "bytes" as "direct_dc_bytes", Counter, Shape::Set(Label::Direction), Bytes,
            "Bytes relayed: up from clients to the DC, down from the DC to clients.";
    }
}

metrics! {
    /// The metrics of one address of a data centre.
    AddressMetric, ADDRESS, AddressValues {
        State = "state", Gauge, Shape::Word(Label::State), Count,
            "State of the address; a cooling one is not preferred until its cool-down ends.";
        Rtt = "rtt_ms", Gauge, Shape::Number, Milliseconds,
            "Smoothed connect time of the address.";
        Failures = "failures", Gauge, Shape::Number, Count,
            "Consecutive failures of the address.";
        RetryIn = "retry_in", Gauge, Shape::Number, Seconds,
            "Time until the cool-down of the address ends.";
        DcTimeouts = "dc_timeouts", Counter, Shape::Number, Count,
            "DC connections lost because the address stopped acknowledging packets.";
    }
}

metrics! {
    /// The metrics of one user.
    UserMetric, USER, UserValues {
        Active = "active" as "sessions_active", Gauge, Shape::Number, Count,
            "Live sessions of the user.";
        Total = "total" as "sessions_total", Counter, Shape::Number, Count,
            "Sessions of the user since the start, live ones included.";
        Bytes = "bytes", Counter, Shape::Set(Label::Direction), Bytes,
            "Bytes relayed for the user: up from the clients, down to the clients.";
        Rejects = "rejects", Counter, Shape::Number, Count,
            "Connections with the user's secret that were refused before a session began.";
        QuotaUsed = "quota_used", Gauge, Shape::Number, Bytes,
            "Bytes in both directions that count against the user's quota.";
        Quota = "quota", Gauge, Shape::Number, Bytes,
            "Traffic quota of the user.";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const TABLES: [&[Metric]; 4] = [&RELAY, &DC, &ADDRESS, &USER];

    #[test]
    fn each_row_begins_where_the_one_before_ends() {
        let mut slot = 0;
        for (row, id) in [RelayMetric::Uptime, RelayMetric::StartTime]
            .into_iter()
            .enumerate()
        {
            assert_eq!(id.slot(), row);
        }
        for metric in &RELAY {
            if metric.path == "panics" {
                assert_eq!(RelayMetric::Panics.slot(), slot);
            }
            slot += metric.shape.slots();
        }
        assert_eq!((slot, RelayMetric::SLOTS), (RelayMetric::SLOTS, slot));
        let paths: Vec<_> = walk(&USER, &UserValues::default().0)
            .map(|(metric, values)| (metric.path, values.len()))
            .collect();
        let expected = [
            ("active", 1),
            ("total", 1),
            ("bytes", 2),
            ("rejects", 1),
            ("quota_used", 1),
            ("quota", 1),
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn names_follow_from_paths_but_for_those_that_are_fixed() {
        let mut own = Vec::new();
        for metric in TABLES.into_iter().flatten() {
            if !metric.own_name.is_empty() {
                own.push(metric.own_name);
            }
        }
        assert_eq!(own.len(), DC.len() + 2, "{own:?}");
        assert!(DC.iter().all(|metric| metric.own_name.starts_with("direct_dc_")));
        assert_eq!(RELAY[RelayMetric::BuffersInUse as usize].name(), "buffers_in_use");
    }

    #[test]
    fn each_path_stands_once_and_each_group_in_one_place() {
        for rows in TABLES {
            let (mut paths, mut groups, mut last) = (BTreeSet::new(), BTreeSet::new(), "");
            for metric in rows {
                assert!(paths.insert(metric.path), "{}", metric.path);
                let group = metric
                    .path
                    .split_once('.')
                    .map_or(metric.path, |(group, _)| group);
                assert!(group == last || groups.insert(group), "{}", metric.path);
                last = group;
            }
        }
    }

    #[test]
    fn each_help_is_one_sentence_of_plain_words() {
        for metric in TABLES.into_iter().flatten() {
            let help = metric.help;
            assert!(
                help.ends_with('.') && help.matches(['.', '!', '?']).count() == 1,
                "{help}"
            );
            assert!(help.starts_with(|c: char| c.is_ascii_uppercase()), "{help}");
            assert!(!help.contains(['\\', '\n', '"', '`']), "{help}");
        }
    }

    #[test]
    fn counters_have_no_word_and_no_flag() {
        for metric in TABLES.into_iter().flatten() {
            if matches!(metric.shape, Shape::Flag | Shape::Word(_)) {
                assert_eq!((metric.kind, metric.unit), (Kind::Gauge, Unit::Count));
            }
        }
    }
}
