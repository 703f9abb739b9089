//! `mtfetch serve`: binds the listeners, then serves players.

use super::args::ServeArgs;
use super::exit::{FAILED, USAGE, complain};
use crate::cache::{Cache, CacheOptions};
use crate::config::{CacheLocation, Config, cache_location, shown_address, token};
use crate::http::{self, Gateway, Settings};
use crate::random_word::random_word;
use crate::source::Source;
use mtrelay_core::reactor::Async;
use mtrelay_core::sys::process::{Rights, become_user};
use mtrelay_core::sys::socket;
use smol::future;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;

/// Applies the options of the command line to the configuration.
pub(super) fn adapt(config: &mut Config, args: &ServeArgs) -> Result<(), u8> {
    if !args.listen.is_empty() {
        config.listen.clone_from(&args.listen);
    }
    if let Some(file) = &args.token_file {
        let text = std::fs::read_to_string(file).map_err(|error| {
            complain(format_args!("{}: {error}", file.display()));
            USAGE
        })?;
        let read = token(text.trim()).map_err(|wrong| {
            complain(format_args!("{}: the token {wrong}", file.display()));
            USAGE
        })?;
        config.token = Some(read);
    }
    if let Some(text) = &args.cache {
        let read = cache_location(text).map_err(|wrong| {
            complain(format_args!("--cache {wrong}"));
            USAGE
        })?;
        match read {
            CacheLocation::File(path) => config.cache = Some(path),
            CacheLocation::Redis(server) => config.redis = Some(server),
        }
    }
    // A listener that other devices can reach always needs a token.
    if config.token.is_none() && !config.is_private() {
        let word = random_word();
        log::warn!("no token is configured; the token until the next start is {word}");
        config.token = Some(word);
    }
    Ok(())
}

/// Binds all listeners, then drops the rights that only this needed.
pub(super) fn bind(config: &Config, user: Option<&str>) -> Result<Vec<TcpListener>, u8> {
    let mut listeners = Vec::new();
    for &address in &config.listen {
        match socket::listen(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) => {
                complain(format_args!("{address}: {error}"));
                return Err(FAILED);
            }
        }
    }
    if let Some(user) = user {
        become_user(user, Rights::default()).map_err(|error| {
            complain(format_args!("cannot become {user}: {error}"));
            FAILED
        })?;
    }
    Ok(listeners)
}

pub(super) fn cache(config: &Config, account: i64) -> Rc<Cache> {
    Rc::new(Cache::new(CacheOptions {
        file: config.cache.clone(),
        redis: config.redis.clone(),
        account,
        lifetime: config.cache_lifetime,
    }))
}

/// Serves until the future is dropped.
pub(super) async fn run<S: Source>(
    source: Rc<S>,
    config: &Config,
    cache: Rc<Cache>,
    listeners: Vec<TcpListener>,
) -> u8 {
    let watched: Result<Vec<(SocketAddr, Async<TcpListener>)>, std::io::Error> = listeners
        .into_iter()
        .map(|listener| Ok((listener.local_addr()?, Async::new_nonblocking(listener)?)))
        .collect();
    let watched = match watched {
        Ok(watched) => watched,
        Err(error) => {
            complain(error);
            return FAILED;
        }
    };
    for (address, _) in &watched {
        let word = if config.token.is_some() { "TOKEN/" } else { "" };
        log::info!(
            "listening on http://{}/{word}t.me/NAME/NUMBER",
            shown_address(*address)
        );
    }
    let settings = Settings {
        token: config.token.clone(),
        connections: config.clients as usize,
        streams: config.streams as usize,
        remuxes: config.remuxes as usize,
        ffmpeg: config.ffmpeg.clone(),
        ..Settings::default()
    };
    let gateway = Gateway::new(source, cache.clone(), settings);
    let listeners = watched.into_iter().map(|(_, listener)| listener).collect();
    // Without a cache file the writer returns at once.
    let writing = async {
        cache.write_changes().await;
        future::pending::<()>().await;
    };
    future::or(http::serve(gateway, listeners), writing).await;
    FAILED
}
