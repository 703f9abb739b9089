//! Heads of responses, and refusals with a reason for people.

use crate::source::{FetchError, Media};
use mtrelay_core::calendar::Date;
use std::fmt::Write as _;

/// The head of a response under construction.
#[derive(Debug)]
pub(super) struct Head(String);

impl Head {
    /// The status line, and the date if the clock is set. `now` is in Unix seconds.
    pub(super) fn new(status: u16, now: u32) -> Head {
        let mut head = Head(format!("HTTP/1.1 {status} {}\r\n", reason(status)));
        if now >= CLOCK_IS_SET {
            head.add("Date", format_args!("{}", HttpDate(now)));
        }
        head
    }

    pub(super) fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{name}: {value}\r\n");
    }

    /// The complete head.
    pub(super) fn finish(mut self, keep_alive: bool) -> Vec<u8> {
        self.add("Connection", if keep_alive { "keep-alive" } else { "close" });
        self.0.push_str("\r\n");
        self.0.into_bytes()
    }
}

/// A response without a medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// The reason, for people. Empty if the status says everything.
    pub(super) text: String,
    /// `Retry-After` in seconds.
    pub(super) retry_after: Option<u64>,
}

impl Refusal {
    pub(super) fn new(status: u16, text: impl Into<String>) -> Refusal {
        Refusal {
            status,
            text: text.into(),
            retry_after: None,
        }
    }

    pub(super) fn later(seconds: u64, text: impl Into<String>) -> Refusal {
        Refusal {
            retry_after: Some(seconds),
            ..Refusal::new(503, text)
        }
    }

    /// The whole response.
    pub(super) fn into_bytes(self, head_only: bool, keep_alive: bool, now: u32) -> Vec<u8> {
        let mut body = if self.status == 200 {
            String::new()
        } else {
            format!("{} {}", self.status, reason(self.status))
        };
        if !self.text.is_empty() {
            body.push_str(if body.is_empty() { "" } else { ": " });
            body.push_str(&self.text);
        }
        body.push('\n');
        let mut head = Head::new(self.status, now);
        head.add("Content-Type", "text/plain; charset=utf-8");
        head.add("Content-Length", body.len());
        head.add("Cache-Control", "no-store");
        head.add("X-Content-Type-Options", "nosniff");
        if self.status == 405 {
            head.add("Allow", "GET, HEAD");
        }
        if let Some(seconds) = self.retry_after {
            head.add("Retry-After", seconds);
        }
        let mut bytes = head.finish(keep_alive);
        if !head_only {
            bytes.extend_from_slice(body.as_bytes());
        }
        bytes
    }
}

impl From<FetchError> for Refusal {
    fn from(error: FetchError) -> Refusal {
        let text = error.to_string();
        match error {
            FetchError::NotFound(_) => Refusal::new(404, text),
            FetchError::NoForwards => Refusal::new(403, text),
            FetchError::LoggedOut => Refusal::new(503, format!("{text} (mtfetch login)")),
            FetchError::Wait(time) => Refusal::later(time.as_secs().max(1), text),
            FetchError::Refused(_) | FetchError::Connection(_) | FetchError::Protocol(_) => {
                Refusal::new(502, text)
            }
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        412 => "Precondition Failed",
        416 => "Range Not Satisfiable",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        505 => "HTTP Version Not Supported",
        _ => "Service Unavailable",
    }
}

/// The media type, or `application/octet-stream` for one that a header cannot carry.
pub(super) fn content_type(media: &Media) -> &str {
    let is_token = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    match media.mime.split_once('/') {
        Some((kind, rest)) if is_token(kind) && is_token(rest) => &media.mime,
        _ => "application/octet-stream",
    }
}

/// The ETag. Media never change: equal numbers and sizes mean equal bytes.
pub(super) fn etag(media: &Media) -> String {
    let thumb: String = media
        .thumb_size
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let dash = if thumb.is_empty() { "" } else { "-" };
    format!("\"{:016x}-{:x}{dash}{thumb}\"", media.id as u64, media.size)
}

/// The value of `Content-Disposition` (RFC 6266), with the file name in RFC 8187's form. `inline` only for types that a browser
/// shows without running anything in them.
pub(super) fn disposition(media: &Media, save: bool) -> String {
    let kind = content_type(media);
    let shown = ["video/", "audio/", "image/", "text/plain", "application/pdf"];
    let plain = shown.iter().any(|start| kind.starts_with(start)) && !kind.contains("xml");
    let how = if plain && !save { "inline" } else { "attachment" };
    if media.name.is_empty() {
        return how.to_owned();
    }
    // The form for old clients: ASCII, without quotes and without percent signs, which some would decode.
    let ascii: String = media
        .name
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%' | '/') || c == ' ' {
                c
            } else {
                '_'
            }
        })
        .collect();
    let mut text = format!("{how}; filename=\"{ascii}\"");
    if ascii != media.name {
        text.push_str("; filename*=UTF-8''");
        for byte in media.name.bytes() {
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

/// Earlier times (June 2025) mean that the clock is not set yet: a router without a battery starts in 1970 or at the build time of
/// its firmware. No Date header is better than a wrong one.
const CLOCK_IS_SET: u32 = 1_750_000_000;

/// Unix seconds as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
struct HttpDate(u32);

impl std::fmt::Display for HttpDate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        let unix = self.0;
        let date = Date::of_unix(unix.into());
        write!(
            f,
            "{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
            WEEKDAYS[unix as usize / 86_400 % 7],
            date.day(),
            date.month_name(),
            date.year(),
            unix / 3600 % 24,
            unix / 60 % 60,
            unix % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_source;

    fn named(name: &str, mime: &str) -> Media {
        Media {
            name: name.into(),
            mime: mime.into(),
            ..memory_source::media(1, 10)
        }
    }

    #[test]
    fn names_reach_every_client() {
        let shown = |name, mime| disposition(&named(name, mime), false);
        assert_eq!(shown("a b.mp4", "video/mp4"), "inline; filename=\"a b.mp4\"");
        assert_eq!(
            shown("Фильм 50%.mp4", "video/mp4"),
            "inline; filename=\"_____ 50_.mp4\"; filename*=UTF-8''%D0%A4%D0%B8%D0%BB%D1%8C%D0%BC%2050%25.mp4"
        );
        let nasty = shown("a\"\r\nX: y\\", "video/mp4");
        assert!(!nasty.contains(['\r', '\n', '\\']), "{nasty}");
        assert_eq!(shown("", "video/mp4"), "inline");
        assert_eq!(
            disposition(&named("a.mp4", "video/mp4"), true),
            "attachment; filename=\"a.mp4\""
        );
    }

    #[test]
    fn what_a_browser_would_run_is_saved() {
        for mime in [
            "text/html",
            "image/svg+xml",
            "application/xhtml+xml",
            "application/javascript",
            "",
        ] {
            assert!(
                disposition(&named("a", mime), false).starts_with("attachment"),
                "{mime}"
            );
        }
    }

    #[test]
    fn types_that_are_none_are_bytes() {
        for mime in [
            "",
            "video",
            "video/",
            "/mp4",
            "video/mp4\r\nX: y",
            "video/mp4; a",
            "vidéo/mp4",
        ] {
            assert_eq!(
                content_type(&named("a", mime)),
                "application/octet-stream",
                "{mime:?}"
            );
        }
        assert_eq!(content_type(&named("a", "image/svg+xml")), "image/svg+xml");
    }

    #[test]
    fn tags_differ_with_the_bytes() {
        let one = memory_source::media(1, 10);
        let thumb = Media {
            thumb_size: "y\"".into(),
            ..one.clone()
        };
        assert_eq!(etag(&one), "\"0000000000000001-a\"");
        assert_eq!(etag(&thumb), "\"0000000000000001-a-y\"");
        assert_eq!(etag(&memory_source::media(-1, 10)), "\"ffffffffffffffff-a\"");
    }

    #[test]
    fn dates_as_http_writes_them() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
            (u32::MAX, "Sun, 07 Feb 2106 06:28:15 GMT"),
        ] {
            assert_eq!(HttpDate(seconds).to_string(), text);
        }
    }

    #[test]
    fn a_wait_is_told_to_the_client() {
        let refusal = Refusal::from(FetchError::Wait(std::time::Duration::from_secs(17)));
        let text = String::from_utf8(refusal.into_bytes(false, true, 0)).unwrap();
        assert!(text.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{text}");
        assert!(text.contains("Retry-After: 17\r\n"), "{text}");
        assert!(!text.contains("Date:"), "{text}");
    }
}
