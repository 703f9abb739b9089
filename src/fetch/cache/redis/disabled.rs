//! Without the feature there is no server, and a URL of one is a mistake.

use std::convert::Infallible;
use std::io;
use std::str::FromStr;
use std::time::Duration;

/// A Redis.
#[derive(Clone, Debug)]
pub struct Server(Infallible);

impl FromStr for Server {
    type Err = String;

    fn from_str(_: &str) -> Result<Server, String> {
        Err("needs a mtfetch that was built with the feature redis".into())
    }
}

impl Server {
    pub(in crate::cache) async fn get(&self, _: &str) -> io::Result<Option<Vec<u8>>> {
        match self.0 {}
    }

    pub(in crate::cache) async fn set(&self, _: &str, _: &[u8], _: Duration) -> io::Result<()> {
        match self.0 {}
    }
}
