//! What went wrong, from one layer's words into the next one's.

use crate::connection::CallError;
use crate::session::RpcError;
use crate::source::FetchError;
use crate::way::OpenError;
use std::time::Duration;

/// How long the server says to wait, if that is what it says.
pub(crate) fn flood_wait(error: &RpcError) -> Option<Duration> {
    ["FLOOD_WAIT_", "FLOOD_PREMIUM_WAIT_", "SLOWMODE_WAIT_"]
        .iter()
        .find_map(|word| error.message.strip_prefix(word))
        .and_then(|seconds| seconds.parse::<u32>().ok())
        .map(|seconds| Duration::from_secs(seconds.into()))
}

/// The error in the words that the rest of the program has.
pub(crate) fn fetch_error(error: CallError) -> FetchError {
    match error {
        CallError::Rpc(rpc) => match (flood_wait(&rpc), rpc.code) {
            (Some(wait), _) => FetchError::Wait(wait),
            (None, 401) => FetchError::LoggedOut,
            _ => FetchError::Refused(rpc.message),
        },
        // The key is unknown, and only the owner of the account can make another one.
        CallError::Transport(-404) => FetchError::LoggedOut,
        CallError::Transport(code) => FetchError::Connection(format!("transport error {code}")),
        CallError::Wrong(what) => FetchError::Protocol(what),
        CallError::Lost(what) => FetchError::Connection(what),
        CallError::Idle => FetchError::Connection("the connection was closed".into()),
    }
}

pub(super) fn call_error(error: OpenError) -> CallError {
    match error {
        OpenError::Lost(what) => CallError::Lost(what),
        OpenError::Transport(code) => CallError::Transport(code),
        OpenError::Wrong(what) => CallError::Wrong(what),
    }
}

pub(super) fn unregistered() -> CallError {
    CallError::Rpc(RpcError {
        code: 401,
        message: "AUTH_KEY_UNREGISTERED".into(),
    })
}
