//! An MTProto proxy: where it is, and the secret that it shares with its users.

use mtrelay_core::config::HostPort;
use mtrelay_core::config::value::{self, Read};
use std::str::FromStr;
use wire::secret::Written;

/// A proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its host, by name or address, and its port.
    pub server: HostPort,
    /// Its secret, which also says how it is spoken to.
    pub secret: Written,
}

/// `tg://proxy?server=…&port=…&secret=…`, or the same behind `https://t.me/proxy`.
impl FromStr for Proxy {
    type Err = String;

    fn from_str(text: &str) -> Read<Proxy> {
        let wrong = || String::from("is no link of a proxy (tg://proxy?server=HOST&port=PORT&secret=SECRET)");
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
        // Some write an IPv6 address without its brackets.
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

/// A secret in any of its forms.
pub(super) fn secret(text: &str) -> Read<Written> {
    // Links may have base64's padding, as it is or in hex.
    let text = text.trim_end_matches('=').trim_end_matches("%3D");
    wire::secret::parse(text).map_err(|error| format!("is no secret: {error}"))
}
