//! JSON-RPC on `/ubus`, as uhttpd serves it: each call is checked against the login's rights, and then made for real on the daemon,
//! on a UCI file, or on as much of the rest of a router as the page asks for.
//!
//! Codes: those of ubus inside of a result, those of uhttpd (-32000 no such object, -32002 denied) as errors.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::access::Login;
use crate::world::World;

const INVALID_ARGUMENT: u32 = 2;
const METHOD_NOT_FOUND: u32 = 3;
const NOT_FOUND: u32 = 4;
const NO_DATA: u32 = 5;
const DENIED: u32 = 6;

/// What a call ends with.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A good answer.
    Done(Value),
    /// A status code of ubus.
    Code(u32),
    /// There is no such object.
    NoObject,
    /// The login may not.
    Denied,
    /// The whole request fails with this code of HTTP.
    Http(u16),
}

/// Answers that a test put in the place of the true ones, by `object.method`.
pub(crate) type Overrides = BTreeMap<String, Value>;

/// Answers one request, of one call or of many. An error is a code of HTTP.
pub(crate) fn request(
    body: &Value,
    logins: &BTreeMap<String, Login>,
    world: &mut World,
    overrides: &Overrides,
    calls: &mut Vec<Value>,
) -> Result<Value, u16> {
    match body {
        Value::Array(batch) => batch
            .iter()
            .map(|one| single(one, logins, world, overrides, calls))
            .collect(),
        one => single(one, logins, world, overrides, calls),
    }
}

fn single(
    message: &Value,
    logins: &BTreeMap<String, Login>,
    world: &mut World,
    overrides: &Overrides,
    calls: &mut Vec<Value>,
) -> Result<Value, u16> {
    let id = message["id"].clone();
    let params = &message["params"];
    if message["method"] == "list" {
        return Ok(json!({ "jsonrpc": "2.0", "id": id, "result": {} }));
    }
    let text = |at: usize| params[at].as_str().unwrap_or_default().to_owned();
    let (session, object, method) = (text(0), text(1), text(2));
    let args = &params[3];
    calls.push(json!({ "object": object, "method": method, "args": args }));
    let login = logins.get(&session);
    let outcome = match (login, overrides.get(&format!("{object}.{method}"))) {
        (None, _) => Outcome::Denied,
        (Some(login), _) if !login.may("ubus", &object, &method) => Outcome::Denied,
        (Some(_), Some(instead)) => overridden(instead),
        (Some(login), None) => call(login, world, &object, &method, args),
    };
    let error = |code: i32, text: &str| json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": text } });
    let result = |result: Value| json!({ "jsonrpc": "2.0", "id": id, "result": result });
    match outcome {
        Outcome::Done(answer) => Ok(result(json!([0, answer]))),
        Outcome::Code(0) => Ok(result(json!([0]))),
        Outcome::Code(code) => Ok(result(json!([code]))),
        Outcome::NoObject => Ok(error(-32000, "Object not found")),
        Outcome::Denied => Ok(error(-32002, "Access denied")),
        Outcome::Http(code) => Err(code),
    }
}

fn overridden(instead: &Value) -> Outcome {
    if let Some(answer) = instead.get("answer") {
        return Outcome::Done(answer.clone());
    }
    match (instead["code"].as_u64(), instead["http"].as_u64()) {
        (Some(code), _) => Outcome::Code(code as u32),
        (None, Some(code)) => Outcome::Http(code as u16),
        (None, None) => Outcome::NoObject,
    }
}

/// Makes a call; whether the login may is asked before, but for UCI.
pub(crate) fn call(login: &Login, world: &mut World, object: &str, method: &str, args: &Value) -> Outcome {
    match (object, method) {
        ("mtrelay", _) => world.call(method, args),
        ("uci", _) => uci(login, world, method, args),
        ("session", "access") => access(login, args),
        ("log", "read") => Outcome::Done(world.log()),
        ("rc", "list") => Outcome::Done(json!({ "mtrelay": {
            "start": 95, "stop": 10, "enabled": true, "running": world.daemon().is_some()
        } })),
        ("rc", "init") => service(world, args),
        ("network.interface", "dump") => Outcome::Done(json!({ "interface": [{
            "interface": "wan", "up": true, "metric": 0,
            "route": [{ "target": "0.0.0.0", "mask": 0, "nexthop": "198.51.100.1" }],
            "ipv4-address": [{ "address": "8.8.4.4", "mask": 24 }], "ipv6-address": []
        }] })),
        ("luci", "getFeatures") => Outcome::Done(json!({ "ipv6": true, "firewall4": true })),
        ("file", "list") => Outcome::Done(json!({ "entries": status_boxes(args) })),
        ("system", "board") => Outcome::Done(json!({ "hostname": "OpenWrt" })),
        ("system" | "network" | "luci-rpc", _) => Outcome::Done(json!({})),
        _ => Outcome::NoObject,
    }
}

/// The only box of the status page is ours; nothing else is listed.
fn status_boxes(args: &Value) -> Value {
    match args["path"].as_str() {
        Some(path) if path.ends_with("view/status/include") => {
            json!([{ "name": "70_mtrelay.js", "type": "file" }])
        }
        _ => json!([]),
    }
}

fn service(world: &mut World, args: &Value) -> Outcome {
    if args["name"] != "mtrelay" {
        return Outcome::Code(NOT_FOUND);
    }
    match args["action"].as_str() {
        Some("start") => world.start(),
        Some("stop") => world.stop(),
        Some("restart") => {
            world.stop();
            world.start();
        }
        Some("reload") => world.reload(),
        _ => return Outcome::Code(INVALID_ARGUMENT),
    }
    Outcome::Code(0)
}

fn access(login: &Login, args: &Value) -> Outcome {
    let Some(function) = args["function"].as_str() else {
        return Outcome::Done(login.all());
    };
    let scope = args["scope"].as_str().unwrap_or("ubus");
    let object = args["object"].as_str().unwrap_or_default();
    Outcome::Done(json!({ "access": login.may(scope, object, function) }))
}

fn uci(login: &Login, world: &mut World, method: &str, args: &Value) -> Outcome {
    match method {
        "changes" if args.get("config").is_none() => {
            let changed = world
                .uci
                .iter()
                .filter(|(name, package)| !package.changes().is_empty() && login.may("uci", name, "read"));
            let changes: serde_json::Map<String, Value> = changed
                .map(|(name, package)| (name.clone(), package.changes().into()))
                .collect();
            return Outcome::Done(json!({ "changes": changes }));
        }
        "apply" | "confirm" => {
            apply(world);
            return Outcome::Code(0);
        }
        _ => {}
    }
    let Some(config) = args["config"].as_str() else {
        return Outcome::Code(INVALID_ARGUMENT);
    };
    let needed = if matches!(method, "get" | "changes") {
        "read"
    } else {
        "write"
    };
    if !login.may("uci", config, needed) {
        return Outcome::Code(DENIED);
    }
    let Some(package) = world.uci.get_mut(config) else {
        return Outcome::Code(NOT_FOUND);
    };
    let section = args["section"].as_str().unwrap_or_default();
    let found = match method {
        "get" => return Outcome::Done(package.values()),
        "changes" => return Outcome::Done(json!({ "changes": package.changes() })),
        "add" => {
            let kind = args["type"].as_str().unwrap_or_default();
            let id = package.add(kind, args["name"].as_str(), &args["values"]);
            return Outcome::Done(json!({ "section": id }));
        }
        "set" => package.set(section, &args["values"]),
        "delete" => package.delete(section, args["options"].as_array().map(Vec::as_slice)),
        "order" => true,
        _ => return Outcome::Code(METHOD_NOT_FOUND),
    };
    Outcome::Code(if found { 0 } else { NO_DATA })
}

/// Saves what waits, and tells the daemon if its own file changed. Whether anything waited.
pub(crate) fn apply(world: &mut World) -> bool {
    let mut any = false;
    let mut ours = false;
    for (name, package) in &mut world.uci {
        let changed = package.apply();
        any |= changed;
        ours |= changed && name == "mtrelay";
    }
    if ours {
        world.reload();
    }
    any
}
