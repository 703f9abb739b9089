//! As much of HTTP/1.1 as a browser on the same machine needs: one thread a connection, kept alive, bodies with a length.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// More than any request of the page.
const BODY_MAX: usize = 4 << 20;

/// A request.
#[derive(Debug)]
pub(crate) struct Request {
    /// `GET`, `POST` and so on.
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    /// The Cookie header.
    pub(crate) cookie: String,
    /// What was sent with it.
    pub(crate) body: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) code: u16,
    /// The media type.
    pub(crate) kind: &'static str,
    /// What is sent.
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// A good answer.
    pub(crate) fn ok(kind: &'static str, body: impl Into<Vec<u8>>) -> Response {
        Response {
            code: 200,
            kind,
            body: body.into(),
        }
    }

    /// An answer that is only a code and a line of text.
    pub(crate) fn code(code: u16, text: &str) -> Response {
        Response {
            code,
            kind: "text/plain; charset=utf-8",
            body: text.into(),
        }
    }
}

/// Serves until the process ends.
pub(crate) fn serve(listener: &TcpListener, answer: impl Fn(Request) -> Response + Send + Sync + 'static) {
    let answer = Arc::new(answer);
    for stream in listener.incoming().flatten() {
        let answer = Arc::clone(&answer);
        std::thread::spawn(move || {
            // A browser that goes away in the middle is nobody's fault.
            let _ = connection(stream, &*answer);
        });
    }
}

fn connection(stream: TcpStream, answer: &dyn Fn(Request) -> Response) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader)? {
        let response = answer(request);
        let head = format!(
            "HTTP/1.1 {} Said\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\r\n",
            response.code,
            response.kind,
            response.body.len()
        );
        writer.write_all(head.as_bytes())?;
        writer.write_all(&response.body)?;
    }
    Ok(())
}

fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or("/"));
    let path = target.split('?').next().unwrap_or(target);
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        cookie: String::new(),
        body: Vec::new(),
    };
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        let Some((name, value)) = header.split_once(':') else {
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "cookie" => request.cookie = value.trim().to_owned(),
            _ => {}
        }
    }
    if length > BODY_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    request.body = vec![0; length];
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}
