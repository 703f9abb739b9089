//! The head of a request (RFC 9112): bytes in; a request, "need more", or a refusal out.

use super::response::Refusal;

/// Upper bound of a head in bytes. A player's has about 500, a browser's with cookies some KiB.
pub(super) const HEAD_MAX: usize = 8192;
/// Upper bound of headers.
const HEADERS_MAX: usize = 64;

/// A request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// The method is HEAD.
    pub(super) head_only: bool,
    /// The path of the target, not decoded.
    pub(super) path: String,
    /// The query of the target, not decoded.
    pub(super) query: String,
    /// The connection may serve another request.
    pub(super) keep_alive: bool,
    /// The client understands chunked transfer coding.
    pub(super) chunks: bool,
    /// The host that the client addresses. HTTP/1.0 may leave it out.
    pub(super) host: Option<String>,
    pub(super) range: Option<String>,
    pub(super) if_range: Option<String>,
    pub(super) if_match: Option<String>,
    pub(super) if_none_match: Option<String>,
}

/// The result of parsing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Partial,
    /// A request, and the length of its head.
    Request(Request, usize),
    /// No valid request. The connection ends after the refusal.
    Bad(Refusal),
}

pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let len = match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) if len <= HEAD_MAX => len,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => return Parsed::Partial,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Parsed::Bad(Refusal::new(431, "")),
        Err(httparse::Error::Version) => return Parsed::Bad(Refusal::new(505, "only HTTP/1.1 is supported")),
        Err(_) => return Parsed::Bad(Refusal::new(400, "not an HTTP request")),
    };
    match understand(&request) {
        Ok(request) => Parsed::Request(request, len),
        Err(refusal) => Parsed::Bad(refusal),
    }
}

fn understand(parsed: &httparse::Request<'_, '_>) -> Result<Request, Refusal> {
    let head_only = match parsed.method.unwrap_or_default() {
        "GET" => false,
        "HEAD" => true,
        "CONNECT" | "DELETE" | "OPTIONS" | "PATCH" | "POST" | "PUT" | "TRACE" => {
            return Err(Refusal::new(405, "only GET and HEAD are supported"));
        }
        _ => return Err(Refusal::new(501, "only GET and HEAD are supported")),
    };
    let is_11 = parsed.version == Some(1);
    let mut hosts = values(parsed, "host");
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host?),
        (None, _) if !is_11 => None,
        _ => return Err(Refusal::new(400, "exactly one Host header is required")),
    };
    let mut target = parsed.path.unwrap_or_default();
    let mut named = host;
    // Absolute form, as proxies are asked: every server must accept it, and its host replaces the Host header (RFC 9112 §3.2.2).
    if let Some((scheme, rest)) = target.split_at_checked(7)
        && scheme.eq_ignore_ascii_case("http://")
    {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        named = Some(rest[..end].to_owned());
        target = &rest[end..];
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let connection = list(parsed, "connection");
    let says = |word: &str| {
        let mut words = connection.iter().flat_map(|list| list.split(','));
        words.any(|said| said.trim().eq_ignore_ascii_case(word))
    };
    // A body would be read as the next request, so the connection ends after it.
    let length = list(parsed, "content-length");
    let has_body =
        length.is_some_and(|length| length.trim() != "0") || values(parsed, "transfer-encoding").count() > 0;
    Ok(Request {
        head_only,
        path: path.to_owned(),
        query: query.to_owned(),
        keep_alive: !has_body && !says("close") && (is_11 || says("keep-alive")),
        chunks: is_11,
        host: named,
        range: single(parsed, "range"),
        if_range: single(parsed, "if-range"),
        if_match: list(parsed, "if-match"),
        if_none_match: list(parsed, "if-none-match"),
    })
}

fn values<'a>(
    parsed: &'a httparse::Request<'_, '_>,
    name: &'a str,
) -> impl Iterator<Item = Result<String, Refusal>> + 'a {
    let named = parsed
        .headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.map(|header| {
        let text =
            std::str::from_utf8(header.value).map_err(|_| Refusal::new(400, "a header is not text"))?;
        Ok(text.trim().to_owned())
    })
}

/// A header with one value. `None` if it is given twice or is not text.
fn single(parsed: &httparse::Request<'_, '_>, name: &str) -> Option<String> {
    let mut found = values(parsed, name);
    match (found.next(), found.next()) {
        (Some(Ok(value)), None) => Some(value),
        _ => None,
    }
}

/// A header with a list, whose lines are joined.
fn list(parsed: &httparse::Request<'_, '_>, name: &str) -> Option<String> {
    let found: Vec<String> = values(parsed, name).flatten().collect();
    (!found.is_empty()).then(|| found.join(","))
}

/// The first value of a query parameter, empty without `=`, not decoded.
pub(super) fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Request {
        match parse(text.as_bytes()) {
            Parsed::Request(request, len) => {
                assert_eq!(len, text.len());
                request
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn refused(text: &str) -> u16 {
        match parse(text.as_bytes()) {
            Parsed::Bad(refusal) => refusal.status,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_players_request() {
        let read = request(
            "GET /t.me/news/5?single HTTP/1.1\r\nHost: router:8099\r\nRange: bytes=0-\r\nIf-Range: \"a\"\r\n\
             If-None-Match: \"a\"\r\nif-none-match: \"b\"\r\n\r\n",
        );
        assert_eq!(
            read,
            Request {
                path: "/t.me/news/5".into(),
                query: "single".into(),
                keep_alive: true,
                chunks: true,
                host: Some("router:8099".into()),
                range: Some("bytes=0-".into()),
                if_range: Some("\"a\"".into()),
                if_none_match: Some("\"a\",\"b\"".into()),
                ..Request::default()
            }
        );
    }

    #[test]
    fn connections_stay_as_http_says() {
        let stays = |text: &str| request(text).keep_alive;
        assert!(stays("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(!stays(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: TE, Close\r\n\r\n"
        ));
        assert!(!stays("GET / HTTP/1.0\r\n\r\n"));
        assert!(stays("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
        assert!(!stays("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"));
        assert!(stays("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
        assert!(!stays(
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        ));
    }

    #[test]
    fn the_absolute_form_names_the_host_that_counts() {
        let read = request("HEAD HTTP://b:1/x?y=1 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(read.head_only);
        assert_eq!(
            (read.host.as_deref(), &*read.path, &*read.query),
            (Some("b:1"), "/x", "y=1")
        );
    }

    #[test]
    fn a_range_given_twice_says_nothing() {
        let read = request("GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\nRange: bytes=2-3\r\n\r\n");
        assert_eq!(read.range, None);
    }

    #[test]
    fn what_cannot_be_answered_is_refused() {
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(refused("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
        assert_eq!(refused("\x16\x03\x01\x02\0\x01"), 400);
        assert_eq!(refused("POST / HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
        assert_eq!(refused("BREW / HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
        assert_eq!(refused("GET / HTTP/2.0\r\n\r\n"), 505);
        assert_eq!(
            refused(&format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX: {}",
                "a".repeat(HEAD_MAX)
            )),
            431
        );
        let many = "X: a\r\n".repeat(HEADERS_MAX + 1);
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")), 431);
    }

    #[test]
    fn any_beginning_of_a_request_waits_for_the_rest() {
        let text = "GET /t.me/news/5 HTTP/1.1\r\nHost: a\r\n\r\n";
        for len in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..len]), Parsed::Partial);
        }
        let two = text.repeat(2);
        assert!(matches!(parse(two.as_bytes()), Parsed::Request(_, len) if len == text.len()));
    }

    #[test]
    fn parameters_are_found_by_their_whole_name() {
        assert_eq!(parameter("single&remux=mp4&n=2&n=3", "n"), Some("2"));
        assert_eq!(parameter("single&remux=mp4", "single"), Some(""));
        assert_eq!(parameter("xremux=mp4", "remux"), None);
    }
}
