//! An MTProto proxy: its address, and the secret that it shares with its users.

use mtrelay_core::config::HostPort;
use mtrelay_core::config::value::{self, Read};
use std::str::FromStr;
use wire::secret::Written;

/// A proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// Host (name or address) and port.
    pub(crate) server: HostPort,
    /// The secret, whose form states the transport.
    pub(crate) secret: Written,
}

/// Parses `tg://proxy?server=…&port=…&secret=…`, or the same behind `https://t.me/proxy`.
impl FromStr for Proxy {
    type Err = String;

    fn from_str(text: &str) -> Read<Proxy> {
        let wrong =
            || String::from("is not the link of a proxy (tg://proxy?server=HOST&port=PORT&secret=SECRET)");
        let (place, query) = text.split_once('?').ok_or_else(wrong)?;
        let place = place.to_ascii_lowercase();
        let place = place.trim_end_matches('/');
        if ![
            "tg://proxy",
            "tg:proxy",
            "https://t.me/proxy",
            "http://t.me/proxy",
            "t.me/proxy",
        ]
        .contains(&place)
        {
            return Err(wrong());
        }
        let value = |name| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .find(|pair| pair.0 == name)
                .map(|pair| pair.1)
                .ok_or_else(wrong)
        };
        let (server, port) = (value("server")?, value("port")?);
        // Some links have an IPv6 address without brackets.
        let server = if server.contains(':') && !server.starts_with('[') {
            format!("[{server}]:{port}")
        } else {
            format!("{server}:{port}")
        };
        Ok(Proxy {
            server: value::host_port(&server).map_err(|_| wrong())?,
            secret: secret(value("secret")?)?,
        })
    }
}

/// Parses a secret in any of its forms.
pub(super) fn secret(text: &str) -> Read<Written> {
    // Links may have base64 padding, plain or percent-encoded.
    let text = text.trim_end_matches('=').trim_end_matches("%3D");
    wire::secret::parse(text).map_err(|error| format!("is not a secret: {error}"))
}
