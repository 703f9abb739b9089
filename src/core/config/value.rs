//! Single values of the configuration: text in, a typed value out, or what is wrong with it.
//!
//! The error of each function is the second half of a sentence that begins with the option and its value:
//! `is out of bounds (1 to 64)`. It never quotes the value: the caller decides whether the value may be shown.
//! Booleans and host names mean what they mean to OpenWrt's own tools.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use wire::Modes;
use wire::secret::{MAX_DOMAIN_LEN, is_host_name};

/// A value, or what is wrong with the text (and what would be right).
pub type Read<T> = Result<T, String>;

/// Returns `text` as an error: what is wrong, and what would be right.
///
/// # Errors
/// Always.
pub fn wrong<T>(text: impl Into<String>) -> Read<T> {
    Err(text.into())
}

/// A boolean, in the words that UCI's own readers accept.
pub fn boolean(text: &str) -> Read<bool> {
    match text {
        "1" | "on" | "true" | "yes" | "enabled" => Ok(true),
        "0" | "off" | "false" | "no" | "disabled" => Ok(false),
        _ => wrong("is neither yes nor no (1 or 0)"),
    }
}

/// A whole number within bounds.
pub fn number(text: &str, range: &RangeInclusive<u32>) -> Read<u32> {
    let (low, high) = (range.start(), range.end());
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return wrong(format!("is not a whole number ({low} to {high})"));
    }
    match text.parse::<u32>() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => wrong(format!("is out of bounds ({low} to {high})")),
    }
}

/// One of `words`, by its position.
pub fn choice(text: &str, words: &[&str]) -> Read<usize> {
    let position = words.iter().position(|word| *word == text);
    position.ok_or_else(|| {
        let (last, first) = words.split_last().expect("a choice has words");
        format!("is not a known word ({} or {last})", first.join(", "))
    })
}

/// `None` for `auto`, and what `read` makes of any other text.
pub fn or_auto<T>(text: &str, read: impl Fn(&str) -> Read<T>) -> Read<Option<T>> {
    if text == "auto" {
        return Ok(None);
    }
    read(text)
        .map(Some)
        .map_err(|wrong| wrong.replacen('(', "(auto, or ", 1))
}

/// A firewall mark: decimal, or hexadecimal after `0x`. `None`: zero.
pub fn mark(text: &str) -> Read<Option<u32>> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    match u32::from_str_radix(digits, radix) {
        Ok(mark) if !digits.starts_with('+') => Ok((mark != 0).then_some(mark)),
        _ => wrong("is not a mark (a number such as 256 or 0x100)"),
    }
}

/// An IP address with a port: `192.0.2.1:443` or `[2001:db8::1]:443`.
pub fn socket_address(text: &str) -> Read<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Ok(ip) = text
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>()
    {
        return wrong(format!("has no port ({})", SocketAddr::new(ip, 443)));
    }
    if let Some((ip, _)) = text.rsplit_once(':')
        && let Ok(ip) = ip.parse::<IpAddr>()
    {
        return match ip {
            IpAddr::V4(_) => wrong("has a wrong port (1 to 65535)"),
            IpAddr::V6(_) => wrong("needs brackets around its address ([2001:db8::1]:443)"),
        };
    }
    wrong("is not an address with a port (192.0.2.1:443 or [2001:db8::1]:443)")
}

/// An address to connect to: as [`socket_address`], with a port other than 0 and the address of one machine.
pub fn remote_address(text: &str) -> Read<SocketAddr> {
    let address = socket_address(text)?;
    if address.port() == 0 {
        return wrong("has port 0 (443, most likely)");
    }
    if address.ip().is_unspecified() || address.ip().is_multicast() {
        return wrong("is not the address of one machine (149.154.167.51:443)");
    }
    Ok(address)
}

/// A host and a port, the host by name or address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A host name, or an IP address without brackets.
    pub host: String,
    /// The port, never 0.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostPort { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

/// `host:port`. The host is a name or an address, an IPv6 address in brackets.
pub fn host_port(text: &str) -> Read<HostPort> {
    if text.parse::<SocketAddr>().is_ok() {
        let address = remote_address(text)?;
        return Ok(HostPort {
            host: address.ip().to_string(),
            port: address.port(),
        });
    }
    let right = "example.org:443, or an address such as 192.0.2.1:443 or [2001:db8::1]:443";
    if text.parse::<IpAddr>().is_ok() || is_host_name(text) {
        return wrong(format!("has no port ({right})"));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if is_host_name(host) => Ok(HostPort {
            host: host.to_owned(),
            port: port
                .parse()
                .ok()
                .filter(|&port| port != 0)
                .ok_or("has a wrong port (1 to 65535)")?,
        }),
        _ => wrong(format!("is not a host with a port ({right})")),
    }
}

/// The server name of a hello: any host name, also one of one label.
pub fn domain(text: &str) -> Read<String> {
    if is_host_name(text) {
        return Ok(text.to_owned());
    }
    if text.len() > MAX_DOMAIN_LEN {
        return wrong(format!(
            "is too long (a host name of at most {MAX_DOMAIN_LEN} bytes)"
        ));
    }
    if text.contains("://") || text.contains('/') {
        return wrong("is an address of the web (only its host name, such as www.example.org)");
    }
    if !text.is_ascii() {
        return wrong("has letters that a hello cannot hold (the name's xn-- form)");
    }
    wrong("is not a host name (such as www.example.org, without a port)")
}

/// The server of a link: a name or an address. Brackets around an IPv6 address are removed. Names outside ASCII are kept; the code
/// that writes links escapes them.
pub fn public_host(text: &str) -> Read<String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return if ip.is_unspecified() {
            wrong("is not an address of this router (its public one)")
        } else {
            Ok(ip.to_string())
        };
    }
    let as_ascii: String = text
        .chars()
        .map(|c| {
            if !c.is_ascii() && c.is_alphanumeric() {
                'x'
            } else {
                c
            }
        })
        .collect();
    if is_host_name(&as_ascii) {
        return Ok(text.to_owned());
    }
    wrong("is not a host (a name or an address, without a port: myrouter.example.org)")
}

/// The name of a network device: at most 15 characters, as in the kernel.
pub fn interface(text: &str) -> Read<String> {
    let ok = text.len() < 16
        && text != "."
        && text != ".."
        && text.chars().all(|c| c.is_ascii_graphic() && c != '/');
    if ok {
        Ok(text.to_owned())
    } else {
        wrong("is not the name of a device (such as wan or pppoe-wan, at most 15 characters)")
    }
}

/// The name of a congestion control algorithm: at most 15 characters, as in the kernel.
pub fn algorithm(text: &str) -> Read<String> {
    let ok = text.len() < 16
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if ok {
        Ok(text.to_owned())
    } else {
        wrong("is not the name of an algorithm (such as bbr or cubic)")
    }
}

/// An absolute path.
pub fn path(text: &str) -> Read<std::path::PathBuf> {
    if text.starts_with('/') && !text.contains('\0') {
        return Ok(text.into());
    }
    wrong("is not an absolute path (one that begins with /)")
}

/// Client modes: words with spaces or commas between them.
pub fn modes(text: &str) -> Read<Modes> {
    let mut modes = Modes {
        plain: false,
        dd: false,
        ee: false,
    };
    for word in text
        .split([' ', '\t', '\n', '\r', ','])
        .filter(|word| !word.is_empty())
    {
        match word {
            "plain" => modes.plain = true,
            "dd" => modes.dd = true,
            "ee" => modes.ee = true,
            _ => return wrong("has an unknown mode (any of plain, dd, ee)"),
        }
    }
    Ok(modes)
}

#[cfg(test)]
mod tests;
