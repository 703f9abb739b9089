//! The line that an ended session leaves in the log. Scripts read it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mtrelay_core::close::CloseReason;
use mtrelay_core::dc::DcId;
use mtrelay_core::quote::Quoted;

/// The fields of the line, in its order.
pub(super) struct CloseLine<'a> {
    pub(super) user: &'a str,
    pub(super) client: IpAddr,
    pub(super) dc: DcId,
    /// `None`, shown as `-`, if no address of the DC was reached.
    pub(super) addr: Option<SocketAddr>,
    pub(super) lasted: Duration,
    pub(super) up: u64,
    pub(super) down: u64,
    pub(super) reason: CloseReason,
}

impl fmt::Display for CloseLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "close: user={} client={} dc={} addr=",
            Value(self.user),
            self.client,
            self.dc
        )?;
        match self.addr {
            Some(addr) => write!(f, "{addr}")?,
            None => f.write_str("-")?,
        }
        write!(
            f,
            " secs={}.{} up={} down={} by={} reason={}",
            self.lasted.as_secs(),
            self.lasted.subsec_millis() / 100,
            self.up,
            self.down,
            self.reason.by(),
            self.reason
        )
    }
}

/// A value of a `key=value` line: bare if it cannot be mistaken for another field, else quoted.
struct Value<'a>(&'a str);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=' | '\\');
        if !self.0.is_empty() && self.0.chars().all(plain) {
            f.write_str(self.0)
        } else {
            Quoted {
                mark: '"',
                text: self.0,
            }
            .fmt(f)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(reason: CloseReason) -> CloseLine<'static> {
        CloseLine {
            user: "family",
            client: [192, 168, 1, 20].into(),
            dc: DcId::new(-2).expect("not 0"),
            addr: Some("149.154.167.51:443".parse().expect("an address")),
            lasted: Duration::from_millis(12_399),
            up: 1234,
            down: 567890,
            reason,
        }
    }

    #[test]
    fn the_close_line_is_the_one_that_scripts_read() {
        assert_eq!(
            line(CloseReason::DcClosed).to_string(),
            "close: user=family client=192.168.1.20 dc=-2 addr=149.154.167.51:443 secs=12.3 up=1234 down=567890 \
             by=dc reason=dc_closed"
        );
    }

    #[test]
    fn the_line_has_the_word_and_the_side_of_every_reason() {
        for reason in CloseReason::ALL {
            let end = format!(" by={} reason={}", reason.by().name(), reason.name());
            assert!(line(reason).to_string().ends_with(&end), "{reason}");
        }
    }

    #[test]
    fn a_name_cannot_forge_another_field() {
        for (name, shown) in [
            ("Mum", "Mum"),
            ("Łukasz", "Łukasz"),
            ("", r#""""#),
            ("a client=6.6.6.6", r#""a client=6.6.6.6""#),
            ("a\nb", r#""a\nb""#),
            ("a\"b\\", r#""a\"b\\""#),
        ] {
            assert_eq!(Value(name).to_string(), shown);
        }
    }
}
