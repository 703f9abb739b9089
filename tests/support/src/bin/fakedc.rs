//! A fake data centre for tests that are not written in Rust.
//!
//! `fakedc [--listen ADDR:PORT]... [--script NAME]` prints `listening ADDR:PORT` for each address, in order, then
//! `connection dc=-2 tag=dddddddd` for each connection whose header came. It runs until its standard input ends.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use mtrelay_test_support::{FakeDc, Payload, Script, Then};

const USAGE: &str = "usage: fakedc [--listen ADDR:PORT]... \
    [--script respq|echo|silent|stall|sink|refuse|source=BYTES|error=CODE|reset=BYTES]";

fn main() -> ExitCode {
    let (listen, script) = match arguments(std::env::args().skip(1)) {
        Ok(parsed) => parsed,
        Err(wrong) => {
            // Nobody left to tell when standard error is closed; the same below.
            let _ = writeln!(std::io::stderr(), "fakedc: {wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let builder = FakeDc::builder(script).on_header(|connection| {
        if let Some(header) = connection.header {
            say(&format!("connection dc={} tag={}", header.dc, header.tag));
        }
    });
    let builder = listen
        .into_iter()
        .fold(builder, |builder, addr| builder.listen(addr));
    let dc = match builder.start() {
        Ok(dc) => dc,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "fakedc: cannot listen: {error}");
            return ExitCode::FAILURE;
        }
    };
    dc.addrs()
        .iter()
        .for_each(|addr| say(&format!("listening {addr}")));
    let mut unread = [0; 256];
    while matches!(std::io::stdin().read(&mut unread), Ok(1..)) {}
    ExitCode::SUCCESS
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<(Vec<SocketAddr>, Script), String> {
    let (mut listen, mut chosen) = (Vec::new(), Script::ResPq);
    while let Some(word) = words.next() {
        let (option, value) = match word
            .split_once('=')
            .filter(|(option, _)| option.starts_with("--"))
        {
            Some((option, value)) => (option.to_string(), value.to_string()),
            None => {
                let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
                (word, value)
            }
        };
        match option.as_str() {
            "--listen" => listen.push(value.parse().map_err(|_| format!("{value} is no ADDR:PORT"))?),
            "--script" => chosen = script(&value).ok_or_else(|| format!("no script is called {value}"))?,
            _ => return Err(format!("{option} is unknown")),
        }
    }
    Ok((listen, chosen))
}

fn script(name: &str) -> Option<Script> {
    Some(match name.split_once('=').unwrap_or((name, "")) {
        ("respq", _) => Script::ResPq,
        ("echo", _) => Script::Echo,
        ("silent", _) => Script::Silent,
        ("stall", _) => Script::Stall,
        ("sink", _) => Script::Sink { expect: None },
        ("refuse", _) => Script::Refuse,
        ("source", bytes) => Script::Source {
            payload: Payload::new(0, bytes.parse().ok()?),
            then: Then::Close,
        },
        ("error", code) => Script::TransportError(code.parse().ok()?),
        ("reset", bytes) => Script::ResetAt(bytes.parse().ok()?),
        _ => return None,
    })
}
