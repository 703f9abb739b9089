//! Calls of the API: which method it is, whether it may be called, and its answer.

mod auth;
mod chats;
mod config;
mod files;
mod schema;

use crate::faults::Corruption;
use crate::state::{From, State};
use grammers_tl_types::{Cursor, Deserializable, Identifiable, LAYER, Serializable, functions as f};

/// What becomes of a call.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The answer.
    Result(Vec<u8>),
    /// A refusal.
    Error(i32, String),
    /// A part of a file, damaged or not.
    Part(Vec<u8>, Option<Corruption>),
    /// A part is refused.
    PartError(i32, String),
    /// The answer comes at another time, or never.
    Later,
    /// The connection is cut.
    Kill,
}

/// An answer, or why there is none.
type Answer = Result<Vec<u8>, (i32, String)>;

fn refuse<T>(code: i32, words: impl Into<String>) -> Result<T, (i32, String)> {
    Err((code, words.into()))
}

fn done(answer: impl Serializable) -> Answer {
    Ok(answer.to_bytes())
}

/// Methods that need no user.
const OPEN: [&str; 10] = [
    "help.getConfig",
    "help.getNearestDc",
    "auth.sendCode",
    "auth.signIn",
    "auth.checkPassword",
    "auth.importBotAuthorization",
    "auth.importAuthorization",
    "auth.logOut",
    "account.getPassword",
    "unknown",
];

fn method(id: u32) -> &'static str {
    match id {
        f::help::GetConfig::CONSTRUCTOR_ID => "help.getConfig",
        f::help::GetNearestDc::CONSTRUCTOR_ID => "help.getNearestDc",
        f::auth::SendCode::CONSTRUCTOR_ID => "auth.sendCode",
        f::auth::SignIn::CONSTRUCTOR_ID => "auth.signIn",
        f::auth::CheckPassword::CONSTRUCTOR_ID => "auth.checkPassword",
        f::auth::ImportBotAuthorization::CONSTRUCTOR_ID => "auth.importBotAuthorization",
        f::auth::ExportAuthorization::CONSTRUCTOR_ID => "auth.exportAuthorization",
        f::auth::ImportAuthorization::CONSTRUCTOR_ID => "auth.importAuthorization",
        f::auth::LogOut::CONSTRUCTOR_ID => "auth.logOut",
        f::account::GetPassword::CONSTRUCTOR_ID => "account.getPassword",
        f::users::GetUsers::CONSTRUCTOR_ID => "users.getUsers",
        f::updates::GetState::CONSTRUCTOR_ID => "updates.getState",
        f::contacts::ResolveUsername::CONSTRUCTOR_ID => "contacts.resolveUsername",
        f::channels::GetMessages::CONSTRUCTOR_ID => "channels.getMessages",
        f::channels::GetChannels::CONSTRUCTOR_ID => "channels.getChannels",
        f::messages::GetDialogs::CONSTRUCTOR_ID => "messages.getDialogs",
        f::messages::GetDiscussionMessage::CONSTRUCTOR_ID => "messages.getDiscussionMessage",
        f::messages::GetReplies::CONSTRUCTOR_ID => "messages.getReplies",
        f::upload::GetFile::CONSTRUCTOR_ID => "upload.getFile",
        _ => "unknown",
    }
}

impl State {
    /// Answers a call, whatever is wrapped around it.
    pub(crate) fn handle_call(&mut self, from: &From, query: &[u8]) -> Reply {
        let mut query = query;
        let query = loop {
            match self.unwrapped(from, query) {
                Ok(Some(inner)) => query = inner,
                Ok(None) => break query,
                Err((code, words)) => return Reply::Error(code, words),
            }
        };
        let Some((id, arguments)) = query.split_first_chunk() else {
            return Reply::Error(400, "INPUT_METHOD_INVALID".into());
        };
        let id = u32::from_le_bytes(*id);
        let name = method(id);
        *self.counters.calls.entry((from.dc, name)).or_default() += 1;
        let left = self.wait_left(from.dc);
        if left.is_some() {
            self.counters.during_wait += 1;
        }
        if !self.session(from).is_some_and(|session| session.is_initialised) {
            return Reply::Error(400, "CONNECTION_NOT_INITED".into());
        }
        if !OPEN.contains(&name) && self.user(from).is_none() {
            return Reply::Error(401, "AUTH_KEY_UNREGISTERED".into());
        }
        let arguments = &mut Cursor::from_slice(arguments);
        if name == "upload.getFile" {
            return match f::upload::GetFile::deserialize(arguments) {
                Ok(request) => self.part(from, &request, left),
                Err(_) => Reply::Error(400, "INPUT_REQUEST_INVALID".into()),
            };
        }
        match self.dispatch(from, id, arguments) {
            Ok(bytes) => Reply::Result(bytes),
            Err((code, words)) => Reply::Error(code, words),
        }
    }

    fn dispatch(&mut self, from: &From, id: u32, arguments: &mut Cursor<'_>) -> Answer {
        match id {
            f::help::GetConfig::CONSTRUCTOR_ID => done(self.config(from.dc)),
            f::help::GetNearestDc::CONSTRUCTOR_ID => done(config::nearest(from.dc)),
            f::auth::SendCode::CONSTRUCTOR_ID => self.send_code(from, &read(arguments)?),
            f::auth::SignIn::CONSTRUCTOR_ID => self.sign_in(from, &read(arguments)?),
            f::auth::CheckPassword::CONSTRUCTOR_ID => self.check_password(from, &read(arguments)?),
            f::auth::ImportBotAuthorization::CONSTRUCTOR_ID => self.import_bot(from, &read(arguments)?),
            f::auth::ExportAuthorization::CONSTRUCTOR_ID => self.export(from, &read(arguments)?),
            f::auth::ImportAuthorization::CONSTRUCTOR_ID => self.import(from, &read(arguments)?),
            f::auth::LogOut::CONSTRUCTOR_ID => self.log_out(from),
            f::account::GetPassword::CONSTRUCTOR_ID => self.password(from),
            f::users::GetUsers::CONSTRUCTOR_ID => self.users(from, &read(arguments)?),
            f::updates::GetState::CONSTRUCTOR_ID => done(config::no_updates(self.unix_seconds())),
            f::contacts::ResolveUsername::CONSTRUCTOR_ID => self.resolve(&read(arguments)?),
            f::channels::GetMessages::CONSTRUCTOR_ID => self.messages(from, &read(arguments)?),
            f::channels::GetChannels::CONSTRUCTOR_ID => self.channels(from, &read(arguments)?),
            f::messages::GetDialogs::CONSTRUCTOR_ID => self.dialogs(from),
            f::messages::GetDiscussionMessage::CONSTRUCTOR_ID => self.discussion(from, &read(arguments)?),
            f::messages::GetReplies::CONSTRUCTOR_ID => self.replies(from, &read(arguments)?),
            _ => {
                self.violation(
                    from.link,
                    format!("the method {id:08x} is none of those that are needed"),
                );
                refuse(400, "INPUT_METHOD_INVALID")
            }
        }
    }

    /// What a call wraps around another one, if it does.
    fn unwrapped<'a>(&mut self, from: &From, query: &'a [u8]) -> Result<Option<&'a [u8]>, (i32, String)> {
        let mut input = Cursor::from_slice(query);
        let id: u32 = read(&mut input)?;
        match id {
            0xda9b_0d0d => {
                let layer: i32 = read(&mut input)?;
                if layer != LAYER {
                    return refuse(400, "CONNECTION_LAYER_INVALID");
                }
            }
            0xc1cd_5ea9 => self.init_connection(from, &mut input)?,
            // invokeWithoutUpdates
            0xbf94_59b7 => {}
            // invokeAfterMsg
            0xcb9f_372d => drop(read::<i64>(&mut input)?),
            _ => return Ok(None),
        }
        Ok(Some(&query[input.pos()..]))
    }

    fn init_connection(&mut self, from: &From, input: &mut Cursor<'_>) -> Result<(), (i32, String)> {
        let flags: u32 = read(input)?;
        let api_id: i32 = read(input)?;
        let device: String = read(input)?;
        let system: String = read(input)?;
        let version: String = read(input)?;
        let _languages: [String; 3] = [read(input)?, read(input)?, read(input)?];
        if flags != 0 {
            self.violation(from.link, "initConnection with a proxy or parameters");
            return refuse(400, "INPUT_REQUEST_INVALID");
        }
        if api_id != self.world.api_id {
            return refuse(400, "API_ID_INVALID");
        }
        if device.is_empty() || system.is_empty() || version.is_empty() {
            self.violation(from.link, "a client that does not say what it is");
            return refuse(400, "CONNECTION_DEVICE_MODEL_EMPTY");
        }
        if let Some(session) = self.session(from) {
            session.is_initialised = true;
        }
        self.counters
            .clients
            .push((LAYER, api_id, device, system, version));
        Ok(())
    }

    /// Who has logged in with the key that this came with.
    fn user(&self, from: &From) -> Option<i64> {
        self.keys.get(&(from.dc, from.key))?.user
    }
}

fn read<T: Deserializable>(input: &mut Cursor<'_>) -> Result<T, (i32, String)> {
    T::deserialize(input).map_err(|_| (400, "INPUT_REQUEST_INVALID".into()))
}
