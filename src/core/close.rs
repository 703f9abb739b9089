//! Close reasons, connect failures and reject reasons: the words that the log, `/stats`, ubus, LuCI and the metrics share.
//!
//! Scripts and dashboards match on these words, so each is defined once, here. `ALL` holds every word of a set in the order of
//! tables, and `index` is a word's position in it, so that counters are plain arrays.

use std::fmt;
use std::io::{self, ErrorKind};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $meaning:literal])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[doc = $meaning])* $variant,)+
        }

        impl $name {
            /// All variants, in the order of `index`.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// The word in all outputs.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// The meaning, for the documentation.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($meaning),*).trim_start(),)+
                }
            }

            /// The position in `ALL`.
            pub const fn index(self) -> usize {
                self as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

words! {
    /// Why a session ended. Each session has exactly one close reason.
    CloseReason {
        /// The client closed its side, and all bytes were delivered.
        ClientClosed = "client_closed",
        /// The client reset its connection.
        ClientReset = "client_reset",
        /// The DC closed its side, and all bytes were delivered.
        DcClosed = "dc_closed",
        /// The DC reset its connection.
        DcReset = "dc_reset",
        /// The client no longer acknowledged bytes.
        ClientTimeout = "client_timeout",
        /// The DC no longer acknowledged bytes.
        DcTimeout = "dc_timeout",
        /// Neither side sent anything for the idle time.
        IdleTimeout = "idle_timeout",
        /// No address of the DC could be reached.
        ConnectFailed = "connect_failed",
        /// The client asked for a DC that is not in the table.
        UnknownDc = "unknown_dc",
        /// A limit on sessions or addresses was reached.
        Limit = "limit",
        /// The user's traffic quota is used up.
        Quota = "quota",
        /// The user's expiry date has passed.
        Expired = "expired",
        /// The user was switched off or removed.
        UserDisabled = "user_disabled",
        /// The relay is shutting down.
        Shutdown = "shutdown",
        /// An internal or system error of the relay.
        Error = "error",
    }
}

impl CloseReason {
    /// The reason for which an error of the client's socket ends its session.
    #[must_use]
    pub fn of_client_error(error: &io::Error) -> CloseReason {
        match error.kind() {
            ErrorKind::BrokenPipe => CloseReason::ClientClosed,
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => CloseReason::ClientReset,
            ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                CloseReason::ClientTimeout
            }
            _ => CloseReason::Error,
        }
    }

    /// The reason for which an error of the DC's socket ends a session.
    #[must_use]
    pub fn of_dc_error(error: &io::Error) -> CloseReason {
        match CloseReason::of_client_error(error) {
            CloseReason::ClientClosed => CloseReason::DcClosed,
            CloseReason::ClientReset => CloseReason::DcReset,
            CloseReason::ClientTimeout => CloseReason::DcTimeout,
            other => other,
        }
    }
}

words! {
    /// Why one attempt at one address of a DC failed.
    ConnectFailure {
        /// The address refused the connection: nothing listens there.
        Refused = "refused",
        /// The address did not answer in time.
        Timeout = "timeout",
        /// No route to that network or host.
        Unreachable = "unreachable",
        /// The connection was reset while it was established.
        Reset = "reset",
        /// Any other error.
        Other = "other",
    }
}

words! {
    /// Why a handshake did not become a session.
    Reject {
        /// No user's secret matches.
        BadSecret = "bad_secret",
        /// The transport tag is unknown or not allowed in this mode.
        BadTag = "bad_tag",
        /// The handshake is in the replay window.
        Replay = "replay",
        /// The hello's time differs too much from the local clock.
        ClockSkew = "clock_skew",
        /// The handshake did not finish in time.
        Timeout = "timeout",
        /// The bytes fit no mode.
        Malformed = "malformed",
        /// The mode is switched off.
        ModeDisabled = "mode_disabled",
        /// The client closed during the handshake.
        Closed = "closed",
        /// The server name is not a front domain.
        BadSni = "bad_sni",
        /// The client's address is not allowed.
        Blocked = "blocked",
        /// The handshake was closed to make room for a newer one.
        Budget = "budget",
    }
}

words! {
    /// The side that ended a session.
    Side {
        /// The Telegram client.
        Client = "client",
        /// The data centre.
        Dc = "dc",
        /// The relay itself.
        Relay = "relay",
    }
}

impl CloseReason {
    /// The side that ended the session.
    pub const fn by(self) -> Side {
        match self {
            Self::ClientClosed | Self::ClientReset | Self::ClientTimeout => Side::Client,
            Self::DcClosed | Self::DcReset | Self::DcTimeout | Self::ConnectFailed => Side::Dc,
            Self::IdleTimeout
            | Self::UnknownDc
            | Self::Limit
            | Self::Quota
            | Self::Expired
            | Self::UserDisabled
            | Self::Shutdown
            | Self::Error => Side::Relay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<const N: usize>(all: [(usize, &'static str); N]) -> String {
        for (place, (index, _)) in all.iter().enumerate() {
            assert_eq!(place, *index);
        }
        all.map(|(_, word)| word).join(" ")
    }

    #[test]
    fn words_are_those_that_scripts_know() {
        assert_eq!(
            words(CloseReason::ALL.map(|r| (r.index(), r.name()))),
            "client_closed client_reset dc_closed dc_reset client_timeout dc_timeout idle_timeout connect_failed \
             unknown_dc limit quota expired user_disabled shutdown error"
        );
        assert_eq!(
            words(ConnectFailure::ALL.map(|k| (k.index(), k.name()))),
            "refused timeout unreachable reset other"
        );
        assert_eq!(
            words(Reject::ALL.map(|r| (r.index(), r.name()))),
            "bad_secret bad_tag replay clock_skew timeout malformed mode_disabled closed bad_sni blocked budget"
        );
        assert_eq!(words(Side::ALL.map(|s| (s.index(), s.name()))), "client dc relay");
    }

    #[test]
    fn each_reason_names_the_side_that_ended_it() {
        for reason in CloseReason::ALL {
            let side = match reason.name().split('_').next() {
                Some("client") => Side::Client,
                Some("dc" | "connect") => Side::Dc,
                _ => Side::Relay,
            };
            assert_eq!(reason.by(), side, "{reason}");
        }
    }

    #[test]
    fn words_take_a_width_when_printed() {
        assert_eq!(format!("{:<8}|", Side::Dc), "dc      |");
    }
}
