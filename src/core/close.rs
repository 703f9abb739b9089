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
        /// The client ended the connection. This is the usual end of a session.
        ClientClosed = "client_closed",
        /// The client reset the connection: the app was closed, or the device changed its network.
        ClientReset = "client_reset",
        /// The data centre ended the connection after everything was delivered. This is usual after a download.
        DcClosed = "dc_closed",
        /// The data centre, or a device on the path to it, reset the connection.
        DcReset = "dc_reset",
        /// The client stopped acknowledging what was sent to it: it lost its network.
        ClientTimeout = "client_timeout",
        /// The data centre stopped acknowledging packets, so the system closed the connection. A data centre that only sends
        /// nothing is not counted here.
        DcTimeout = "dc_timeout",
        /// Neither side sent a byte for the idle timeout, or for 60 seconds after one side had finished sending.
        IdleTimeout = "idle_timeout",
        /// No address of the data centre could be reached. See the table of data centres.
        ConnectFailed = "connect_failed",
        /// The client asked for a data centre number that the table does not hold: it is not a Telegram app, or the number is
        /// new.
        UnknownDc = "unknown_dc",
        /// A limit on sessions or on addresses was reached, of the user or of the relay.
        Limit = "limit",
        /// The traffic allowance of the user is used up.
        Quota = "quota",
        /// The last day of the user is over.
        Expired = "expired",
        /// The user was switched off or removed.
        UserDisabled = "user_disabled",
        /// The relay was stopped or restarted.
        Shutdown = "shutdown",
        /// An internal error of the relay. The log has the details.
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
        /// The address refused the connection: nothing listens there, or a firewall rejected it.
        Refused = "refused",
        /// No answer in time: the address is blocked, or the line is down.
        Timeout = "timeout",
        /// The router has no route to that address. This is usual for IPv6 where the provider offers none.
        Unreachable = "unreachable",
        /// The connection was reset while it was being set up. Some filters do this.
        Reset = "reset",
        /// Any other error of the system.
        Other = "other",
    }
}

words! {
    /// Why a handshake did not become a session.
    Reject {
        /// The secret belongs to none of the users: an old link, or a client that guesses.
        BadSecret = "bad_secret",
        /// The secret was right, but the transport tag behind it is not allowed with this kind of link.
        BadTag = "bad_tag",
        /// A handshake that was recorded and sent again. Censors probe this way; the relay does not answer.
        Replay = "replay",
        /// The clocks of the client and of the router are too far apart.
        ClockSkew = "clock_skew",
        /// The handshake was not finished in time.
        Timeout = "timeout",
        /// The handshake was not one of Telegram: a scanner or a browser.
        Malformed = "malformed",
        /// A kind of link that is switched off by the option modes.
        ModeDisabled = "mode_disabled",
        /// The client closed the connection during its handshake.
        Closed = "closed",
        /// A TLS client asked for a host other than the front domain.
        BadSni = "bad_sni",
        /// The address of the client is on the block list, or not on the allow list.
        Blocked = "blocked",
        /// Closed to make room: too many handshakes were under way at once.
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
