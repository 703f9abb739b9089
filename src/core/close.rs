//! Why things end: the words that the log, `/stats`, ubus, LuCI and the metrics all share.
//!
//! Scripts and dashboards match on these words, so they are written down once, here. Every word of a set stands in `ALL`, in the
//! order in which tables show it, and `index` is its place there: counters are plain arrays.

use std::fmt;
use std::io::{self, ErrorKind};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every one, in the order of `index`.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// The word that the outside sees.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// The place in `ALL`.
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
    /// Why a session ended. Each session has exactly one.
    CloseReason {
        /// The client ended its side, and then all was delivered.
        ClientClosed = "client_closed",
        /// The client reset its connection.
        ClientReset = "client_reset",
        /// The DC ended its side, and then all was delivered.
        DcClosed = "dc_closed",
        /// The DC reset its connection.
        DcReset = "dc_reset",
        /// The client no longer acknowledged what was sent to it.
        ClientTimeout = "client_timeout",
        /// The DC no longer acknowledged, or never answered.
        DcTimeout = "dc_timeout",
        /// Neither side sent anything for the idle time.
        IdleTimeout = "idle_timeout",
        /// No address of the DC could be reached.
        ConnectFailed = "connect_failed",
        /// The client asked for a DC that is not in the table.
        UnknownDc = "unknown_dc",
        /// A limit on sessions or addresses was reached.
        Limit = "limit",
        /// The user's traffic allowance is used up.
        Quota = "quota",
        /// The user's last day is over.
        Expired = "expired",
        /// The user was switched off or removed.
        UserDisabled = "user_disabled",
        /// The relay was told to stop.
        Shutdown = "shutdown",
        /// Something of our own went wrong.
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
        /// Nobody listens there.
        Refused = "refused",
        /// No answer in time.
        Timeout = "timeout",
        /// No route to that network or host.
        Unreachable = "unreachable",
        /// The connection was reset while it was being made.
        Reset = "reset",
        /// Any other error.
        Other = "other",
    }
}

words! {
    /// Why an opening did not become a session.
    Reject {
        /// No user's secret fits.
        BadSecret = "bad_secret",
        /// A transport tag that does not exist or is not allowed there.
        BadTag = "bad_tag",
        /// The same handshake was seen before.
        Replay = "replay",
        /// The hello's time is too far from ours.
        ClockSkew = "clock_skew",
        /// The handshake did not finish in time.
        Timeout = "timeout",
        /// Bytes that fit no mode.
        Malformed = "malformed",
        /// A mode that is switched off.
        ModeDisabled = "mode_disabled",
        /// The client went away in the middle of its handshake.
        Closed = "closed",
        /// A host name that is not the front domain.
        BadSni = "bad_sni",
        /// The address is not allowed.
        Blocked = "blocked",
        /// Closed to make room for a newer opening.
        Budget = "budget",
    }
}

words! {
    /// Who brought a session to its end.
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
