//! Proxy links: a user opens one once, and Telegram uses this relay from then on.
//!
//! Read <https://core.telegram.org/api/links#mtproxy-links> first. Both kinds of links have the same parameters. A `tg:` link
//! opens the installed app directly, and an `https:` link works wherever web links do. The QR code holds the `tg:` link, because
//! t.me is often blocked where proxies are needed.
//!
//! A link holds the user's secret, so links are printed on request only.

use crate::config::Config;
use crate::config::users::User;
use qrcodegen::{QrCode, QrCodeEcc};
use std::fmt::Write as _;
use wire::secret::{Form, Written};
use wire::{Mode, Modes};

/// The links of one user in one mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// The mode that the link's secret selects.
    pub mode: Mode,
    /// `tg://proxy?…`
    pub tg: String,
    /// `https://t.me/proxy?…`
    pub https: String,
}

/// The links of a user in every allowed mode, `ee` first. An `ee` link needs a domain.
#[must_use]
pub(crate) fn links(
    user: &User,
    host: &str,
    port: u16,
    modes: Modes,
    front_domain: Option<&str>,
) -> Vec<Link> {
    let ee = front_domain.map(|domain| (Mode::Ee, Form::Ee(domain.to_owned())));
    let forms = [ee, Some((Mode::Dd, Form::Dd)), Some((Mode::Plain, Form::Plain))];
    let link = |(mode, form)| {
        let secret = wire::secret::write(&Written {
            key: user.secret,
            form,
        });
        let parameters = format!("proxy?server={}&port={port}&secret={secret}", escaped(host));
        Link {
            mode,
            tg: format!("tg://{parameters}"),
            https: format!("https://t.me/{parameters}"),
        }
    };
    forms
        .into_iter()
        .flatten()
        .filter(|(mode, _)| modes.allow(*mode))
        .map(link)
        .collect()
}

/// Host and port of the links.
///
/// The host is `host`, else `link_host`, else the first listener with a specific address. The port is `link_port`, else that of the
/// first listener.
///
/// # Errors
/// When the configuration names no host or no port. The relay does not guess its public address. The text says what to set.
pub(crate) fn endpoint(config: &Config, host: Option<&str>) -> Result<(String, u16), String> {
    let own = || {
        config
            .listen
            .iter()
            .map(|own| own.ip())
            .find(|ip| !ip.is_unspecified())
            .map(|ip| ip.to_string())
    };
    let host = match host {
        Some(host) => mtrelay_core::config::value::public_host(host)
            .map_err(|wrong| format!("host '{host}' {wrong}"))?,
        None => config
            .link_host
            .clone()
            .or_else(own)
            .ok_or("no host for the links (set link_host, or use --host NAME-OR-ADDRESS)")?,
    };
    let port = config
        .link_port
        .or(config.listen.first().map(|own| own.port()))
        .filter(|&port| port != 0);
    Ok((
        host,
        port.ok_or("no port for the links: the first listener's is 0 (set link_port)")?,
    ))
}

/// A percent-encoded query value. The colons of IPv6 addresses stay unencoded.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' | b':' => text.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => text.push(byte.into()),
            // Writing to a String cannot fail.
            _ => drop(write!(text, "%{byte:02X}")),
        }
    }
    text
}

/// Margin around the code in modules, which scanners require.
const QUIET_ZONE: i32 = 4;
/// Escape sequence for black on white, whatever the terminal's colours are: many scanners refuse inverted codes. These two of the
/// 256 colours are fixed; themes change only the first sixteen.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const RESET: &str = "\x1b[0m";

/// A QR code for the terminal. Each character shows two modules, one above the other, because characters are twice as high as
/// wide. Empty if the text is longer than a code can hold (2,953 bytes), which no link is.
#[must_use]
pub(crate) fn qr(text: &str) -> String {
    let Ok(code) = QrCode::encode_binary(text.as_bytes(), QrCodeEcc::Low) else {
        return String::new();
    };
    let range = -QUIET_ZONE..code.size() + QUIET_ZONE;
    let mut drawn = String::new();
    for y in range.clone().step_by(2) {
        drawn.push_str(BLACK_ON_WHITE);
        for x in range.clone() {
            // Every module outside the code is light.
            drawn.push(match (code.get_module(x, y), code.get_module(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        drawn.push_str(RESET);
        drawn.push('\n');
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "6ab1f50c3e9d27884fd2b0179ce35a61";

    fn config(lines: &str) -> Config {
        let text = format!("config relay\n{lines}\nconfig user\noption name a\noption secret {KEY}\n");
        Config::from_uci(&text).unwrap().0
    }

    fn tg(lines: &str, host: &str) -> Vec<String> {
        let config = config(lines);
        let links = links(
            &config.users[0],
            host,
            8443,
            config.modes,
            config.front_domain.as_deref(),
        );
        assert!(
            links
                .iter()
                .all(|link| link.https.strip_prefix("https://t.me/") == link.tg.strip_prefix("tg://"))
        );
        links.into_iter().map(|link| link.tg).collect()
    }

    #[test]
    fn a_link_for_every_allowed_mode() {
        let expected = [
            format!("tg://proxy?server=192.0.2.1&port=8443&secret=ee{KEY}612e6578616d706c65"),
            format!("tg://proxy?server=192.0.2.1&port=8443&secret=dd{KEY}"),
            format!("tg://proxy?server=192.0.2.1&port=8443&secret={KEY}"),
        ];
        assert_eq!(
            tg(
                "option modes 'plain dd ee'\noption front_domain a.example",
                "192.0.2.1"
            ),
            expected
        );
        assert_eq!(tg("option modes plain", "192.0.2.1"), expected[2..]);
    }

    #[test]
    fn without_a_domain_there_is_no_ee_link() {
        assert_eq!(
            tg("", "a.example"),
            [format!("tg://proxy?server=a.example&port=8443&secret=dd{KEY}")]
        );
        assert_eq!(tg("option modes ee", "a.example"), Vec::<String>::new());
    }

    #[test]
    fn hosts_are_escaped() {
        assert!(tg("", "2001:db8::1")[0].contains("server=2001:db8::1&port"));
        assert!(tg("", "дом.рф")[0].contains("server=%D0%B4%D0%BE%D0%BC.%D1%80%D1%84&port"));
        assert!(tg("", "a&b=c d%")[0].contains("server=a%26b%3Dc%20d%25&port"));
    }

    #[test]
    fn the_host_is_the_one_given_then_link_host_then_a_listener() {
        let found = |lines: &str, host| endpoint(&config(lines), host);
        let at = |host: &str, port| Ok((host.to_owned(), port));
        assert_eq!(
            found("option link_host b.example", Some("a.example")),
            at("a.example", 8443)
        );
        assert_eq!(
            found("option link_host b.example\noption link_port 443", None),
            at("b.example", 443)
        );
        assert_eq!(
            found("option listen '0.0.0.0:1 192.0.2.1:2'", None),
            at("192.0.2.1", 1)
        );
        assert_eq!(found("", Some("[2001:db8::1]")), at("2001:db8::1", 8443));
        assert!(found("", None).unwrap_err().contains("link_host"));
        assert!(found("", Some("a.example:443")).is_err());
        assert!(
            found("option listen 192.0.2.1:0", None)
                .unwrap_err()
                .contains("link_port")
        );
    }

    /// The drawn modules in rows; true is dark.
    fn modules(drawn: &str) -> Vec<Vec<bool>> {
        let mut rows = Vec::new();
        for line in drawn.lines() {
            let line = line
                .strip_prefix(BLACK_ON_WHITE)
                .unwrap()
                .strip_suffix(RESET)
                .unwrap();
            rows.push(line.chars().map(|c| matches!(c, '█' | '▀')).collect());
            rows.push(line.chars().map(|c| matches!(c, '█' | '▄')).collect());
        }
        rows
    }

    #[test]
    fn a_qr_code_shows_every_module_and_a_margin() {
        let text = format!("tg://proxy?server=192.0.2.1&port=8443&secret=ee{KEY}612e6578616d706c65");
        let code = QrCode::encode_text(&text, QrCodeEcc::Low).unwrap();
        let rows = modules(&qr(&text));
        assert!(rows.len() as i32 >= code.size() + 2 * QUIET_ZONE);
        for (y, row) in (-QUIET_ZONE..).zip(&rows) {
            assert_eq!(row.len() as i32, code.size() + 2 * QUIET_ZONE);
            for (x, dark) in (-QUIET_ZONE..).zip(row) {
                assert_eq!(*dark, code.get_module(x, y), "{x} {y}");
            }
        }
    }

    #[test]
    fn the_longest_link_still_has_a_qr_code() {
        let domain = ["a".repeat(63), "b".repeat(63), "c".repeat(54)].join(".");
        let lines = format!("option front_domain {domain}\noption modes ee");
        let text = &tg(&lines, &domain)[0];
        let widest = qr(text).lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest > 80, "{widest}");
        assert_eq!(qr(&"x".repeat(3000)), "");
    }
}
