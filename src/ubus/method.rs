//! The methods of the object: a table of names, arguments and functions.

use super::blob::{self, Value, kind};
use super::document::Document;
use super::message::Status;
use super::service::{Check, Failure, Service};

/// Sessions on a page without `limit`, and the maximum: 256 rows are about 60 KiB.
const PAGE: usize = 64;
const MAX_PAGE: usize = 256;

/// A method of the object.
pub(super) struct Method {
    pub(super) name: &'static str,
    /// Name and type of each; [`kind::INT32`] stands for integers of any length.
    pub(super) arguments: &'static [(&'static str, u8)],
    pub(super) call: Call,
}

/// Fills the document, or starts a deferred answer.
type Call = fn(&dyn Service, &Arguments<'_>, &mut Document) -> Result<Option<Check>, Failure>;

/// In the order in which `ubus -v list` shows them.
pub(super) const METHODS: [Method; 7] = [
    Method {
        name: "status",
        arguments: &[],
        call: |service, _, out| {
            service.snapshot().emit_status(out);
            Ok(None)
        },
    },
    Method {
        name: "dcs",
        arguments: &[],
        call: |service, _, out| {
            service.snapshot().emit_dcs(out);
            Ok(None)
        },
    },
    Method {
        name: "users",
        arguments: &[],
        call: |service, _, out| {
            service.snapshot().emit_users(out);
            Ok(None)
        },
    },
    Method {
        name: "sessions",
        arguments: &[("limit", kind::INT32), ("offset", kind::INT32)],
        call: |service, arguments, out| {
            let limit = arguments.count(0)?.map_or(PAGE, |limit| limit.min(MAX_PAGE));
            service.emit_sessions(arguments.count(1)?.unwrap_or(0), limit, out);
            Ok(None)
        },
    },
    Method {
        name: "link",
        arguments: &[("user", kind::STRING), ("host", kind::STRING)],
        call: |service, arguments, out| {
            let user = arguments.text(0)?.ok_or(Status::INVALID_ARGUMENT)?;
            service.emit_links(user, arguments.text(1)?, out)?;
            Ok(None)
        },
    },
    Method {
        name: "check",
        arguments: &[("id", kind::INT32)],
        call: |service, arguments, _| {
            let id = arguments.int(0).ok_or(Status::INVALID_ARGUMENT)?;
            service.check(id).map(Some)
        },
    },
    Method {
        name: "reload",
        arguments: &[],
        call: |service, _, _| service.reload().map(|()| None),
    },
];
/// The largest number of arguments of a method.
const MAX_ARGUMENTS: usize = 2;

/// The arguments of a call, in the order of the method's own list.
#[derive(Debug, Default)]
pub(super) struct Arguments<'a>([Option<Value<'a>>; MAX_ARGUMENTS]);

impl<'a> Arguments<'a> {
    /// Unknown arguments are ignored (LuCI's web server adds one to every call); null counts as absent.
    pub(super) fn parse(wanted: &[(&str, u8)], data: &'a [u8]) -> Result<Arguments<'a>, Status> {
        let mut arguments = Arguments::default();
        for field in blob::fields(data) {
            let field = field.map_err(|_| Status::INVALID_ARGUMENT)?;
            let known = wanted.iter().zip(&mut arguments.0);
            for ((_, kind), place) in known.filter(|((name, _), _)| name.as_bytes() == field.name) {
                *place = match (field.value, *kind) {
                    (Value::Null, _) => None,
                    (value @ Value::Int(_), kind::INT32) | (value @ Value::Str(_), kind::STRING) => {
                        Some(value)
                    }
                    _ => return Err(Status::INVALID_ARGUMENT),
                };
            }
        }
        Ok(arguments)
    }

    fn int(&self, at: usize) -> Option<i64> {
        match self.0[at] {
            Some(Value::Int(value)) => Some(value),
            _ => None,
        }
    }

    /// A number that must not be negative.
    fn count(&self, at: usize) -> Result<Option<usize>, Status> {
        match self.int(at) {
            Some(value) if value < 0 => Err(Status::INVALID_ARGUMENT),
            value => Ok(value.map(|value| usize::try_from(value).unwrap_or(usize::MAX))),
        }
    }

    fn text(&self, at: usize) -> Result<Option<&'a str>, Status> {
        match self.0[at] {
            Some(Value::Str(text)) => std::str::from_utf8(text)
                .map(Some)
                .map_err(|_| Status::INVALID_ARGUMENT),
            _ => Ok(None),
        }
    }
}
