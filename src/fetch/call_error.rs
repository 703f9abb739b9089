//! Why a call of a Telegram method has no result, and what the layers above make of it.

use crate::route::OpenError;
use crate::session::RpcError;
use crate::source::FetchError;
use std::time::Duration;

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// The server answered with an error.
    Rpc(RpcError),
    /// A transport error (a negative number in place of a packet), which ended the connection.
    Transport(i32),
    /// The connection ended. Another attempt may help.
    Lost(String),
    /// The server breaks the protocol. Another attempt will not help.
    Wrong(String),
    /// The connection was closed because it was unused.
    Idle,
}

impl CallError {
    /// The server's answer to a key without an account.
    pub(crate) fn unregistered() -> CallError {
        CallError::Rpc(RpcError {
            code: 401,
            message: "AUTH_KEY_UNREGISTERED".into(),
        })
    }

    /// No answer within the time limit.
    pub(crate) fn no_answer() -> CallError {
        CallError::Lost("no answer".into())
    }
}

impl From<OpenError> for CallError {
    fn from(error: OpenError) -> CallError {
        match error {
            OpenError::Lost(what) => CallError::Lost(what),
            OpenError::Transport(code) => CallError::Transport(code),
            OpenError::Wrong(what) => CallError::Wrong(what),
        }
    }
}

impl From<CallError> for FetchError {
    fn from(error: CallError) -> FetchError {
        match error {
            CallError::Rpc(rpc) => match (flood_wait(&rpc), rpc.code) {
                (Some(wait), _) => FetchError::Wait(wait),
                (None, 401) => FetchError::LoggedOut,
                _ => FetchError::Refused(rpc.message),
            },
            // The server does not know the key. Only a login makes another one for this account.
            CallError::Transport(-404) => FetchError::LoggedOut,
            CallError::Transport(code) => FetchError::Connection(format!("transport error {code}")),
            CallError::Wrong(what) => FetchError::Protocol(what),
            CallError::Lost(what) => FetchError::Connection(what),
            CallError::Idle => FetchError::Connection("the connection was closed".into()),
        }
    }
}

/// The wait that the server demands, if the error is a flood wait.
pub(crate) fn flood_wait(error: &RpcError) -> Option<Duration> {
    ["FLOOD_WAIT_", "FLOOD_PREMIUM_WAIT_", "SLOWMODE_WAIT_"]
        .iter()
        .find_map(|word| error.message.strip_prefix(word))
        .and_then(|seconds| seconds.parse::<u32>().ok())
        .map(|seconds| Duration::from_secs(seconds.into()))
}
