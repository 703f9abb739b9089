//! With the feature `redis`: the client.

use super::resp::{self, MAX_REPLY, Reply};
use mtrelay_core::dial;
use mtrelay_core::reactor::{Async, Timer};
use mtrelay_core::sys::socket;
use smol::future;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

/// Limit for one request. A lookup at Telegram takes about as long.
const TIMEOUT: Duration = Duration::from_millis(500);
/// The port of a URL without one.
const DEFAULT_PORT: u16 = 6379;

/// A Redis: `redis://[[USER]:PASSWORD@]HOST[:PORT][/NUMBER]`.
#[derive(Clone)]
pub(crate) struct RedisServer {
    host: String,
    port: u16,
    user: String,
    password: String,
    database: u32,
    timeout: Duration,
    /// The connection while no request uses it.
    idle: Rc<RefCell<Option<Async<TcpStream>>>>,
}

impl std::fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "redis://{}:{}/{}", self.host, self.port, self.database)
    }
}

impl FromStr for RedisServer {
    type Err = String;

    fn from_str(url: &str) -> Result<RedisServer, String> {
        let wrong =
            || String::from("is not the URL of a Redis (redis://[[USER]:PASSWORD@]HOST[:PORT][/NUMBER])");
        let rest = url.strip_prefix("redis://").ok_or_else(wrong)?;
        let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, address) = place.rsplit_once('@').unwrap_or(("", place));
        let (user, password) = login.split_once(':').unwrap_or(("", login));
        let (host, port) = match address
            .strip_prefix('[')
            .and_then(|address| address.split_once(']'))
        {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(wrong)?)),
            None => address
                .split_once(':')
                .map_or((address, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty()
            || !host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b))
        {
            return Err(wrong());
        }
        Ok(RedisServer {
            host: host.to_owned(),
            port: port.map_or(Ok(DEFAULT_PORT), str::parse).map_err(|_| wrong())?,
            user: user.to_owned(),
            password: password.to_owned(),
            database: if database.is_empty() {
                Ok(0)
            } else {
                database.parse()
            }
            .map_err(|_| wrong())?,
            timeout: TIMEOUT,
            idle: Rc::default(),
        })
    }
}

impl RedisServer {
    pub(crate) async fn get(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        match self.ask(&[b"GET", key.as_bytes()]).await? {
            Reply::Bytes(bytes) => Ok(Some(bytes)),
            Reply::Nothing => Ok(None),
            other => Err(unexpected(other)),
        }
    }

    pub(crate) async fn set(&self, key: &str, value: &[u8], lifetime: Duration) -> io::Result<()> {
        let seconds = lifetime.as_secs().max(1).to_string();
        match self
            .ask(&[b"SET", key.as_bytes(), value, b"EX", seconds.as_bytes()])
            .await?
        {
            Reply::Ok => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    async fn ask(&self, words: &[&[u8]]) -> io::Result<Reply> {
        let late = async {
            Timer::after(self.timeout).await;
            Err(io::Error::new(ErrorKind::TimedOut, "no answer"))
        };
        future::or(self.ask_untimed(words), late).await
    }

    async fn ask_untimed(&self, words: &[&[u8]]) -> io::Result<Reply> {
        let kept = self.idle.borrow_mut().take();
        if let Some(connection) = kept
            && let Ok(reply) = talk(&connection, words).await
        {
            *self.idle.borrow_mut() = Some(connection);
            return Ok(reply);
        }
        // There was no connection, or the server has closed it: after a restart or an idle timeout.
        let connection = self.connect().await?;
        let reply = talk(&connection, words).await?;
        *self.idle.borrow_mut() = Some(connection);
        Ok(reply)
    }

    async fn connect(&self) -> io::Result<Async<TcpStream>> {
        let place = (self.host.clone(), self.port);
        let addresses = smol::unblock(move || place.to_socket_addrs().map(Vec::from_iter)).await?;
        let mut failure = ErrorKind::AddrNotAvailable.into();
        for address in addresses {
            let connecting = async { dial::connect(socket::open(address, None, None)?, address).await };
            match connecting.await {
                Ok(connection) => {
                    self.greet(&connection).await?;
                    return Ok(connection);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn greet(&self, connection: &Async<TcpStream>) -> io::Result<()> {
        let mut commands: Vec<Vec<&[u8]>> = Vec::new();
        let database = self.database.to_string();
        match (&*self.user, &*self.password) {
            ("", "") => {}
            ("", password) => commands.push(vec![b"AUTH", password.as_bytes()]),
            (user, password) => commands.push(vec![b"AUTH", user.as_bytes(), password.as_bytes()]),
        }
        if self.database != 0 {
            commands.push(vec![b"SELECT", database.as_bytes()]);
        }
        for command in commands {
            match talk(connection, &command).await? {
                Reply::Ok => {}
                other => return Err(unexpected(other)),
            }
        }
        Ok(())
    }
}

/// Sends a command and reads its reply. One command is in flight at a time, so nothing may follow the reply.
async fn talk(mut connection: &Async<TcpStream>, words: &[&[u8]]) -> io::Result<Reply> {
    connection.write_all(&resp::command(words)).await?;
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match connection.read(&mut piece).await? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => read.extend_from_slice(&piece[..n]),
        }
        let invalid = |what| io::Error::new(ErrorKind::InvalidData, what);
        match resp::reply(&read).map_err(invalid)? {
            Some((reply, len)) if len == read.len() => return Ok(reply),
            None if read.len() <= 2 * MAX_REPLY => {}
            _ => return Err(invalid("more than one reply")),
        }
    }
}

fn unexpected(reply: Reply) -> io::Error {
    match reply {
        Reply::Error(words) => {
            io::Error::other(words.chars().filter(|c| !c.is_control()).collect::<String>())
        }
        _ => io::Error::new(ErrorKind::InvalidData, "a reply to something else"),
    }
}

#[cfg(test)]
mod tests;
