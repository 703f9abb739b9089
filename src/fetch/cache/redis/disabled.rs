//! Without the feature `redis`: a Redis URL is an error.

use std::convert::Infallible;
use std::io;
use std::str::FromStr;
use std::time::Duration;

/// A Redis server, which cannot exist in this build.
#[derive(Clone, Debug)]
pub(crate) struct RedisServer(Infallible);

impl FromStr for RedisServer {
    type Err = String;

    fn from_str(_: &str) -> Result<RedisServer, String> {
        Err("needs a mtfetch that was built with the feature redis".into())
    }
}

impl RedisServer {
    pub(crate) async fn get(&self, _: &str) -> io::Result<Option<Vec<u8>>> {
        match self.0 {}
    }

    pub(crate) async fn set(&self, _: &str, _: &[u8], _: Duration) -> io::Result<()> {
        match self.0 {}
    }
}
