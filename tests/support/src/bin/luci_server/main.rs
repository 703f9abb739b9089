//! A router's web server, as far as LuCI's page of the relay needs it: the page's files, LuCI's JSON-RPC turned into calls on the true
//! daemon and on a UCI file, and the access lists enforced.
//!
//! `luci_server --mtrelay PROGRAM [--luci CHECKOUT]` prints `listening http://127.0.0.1:PORT` and runs until its standard input ends.
//! Two logins exist, `owner` and `viewer`, named by the cookie `sysauth_http`. `POST /test/…` is for the tests; see `Server::control`.
#![allow(
    clippy::disallowed_methods,
    reason = "the ban on clocks is for the relay; tests are the outside world"
)]

mod access;
mod http;
mod pages;
mod rpc;
mod uci;
mod world;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use mtrelay_test_support::Script;
use serde_json::{Value, json};

use access::Login;
use http::{Request, Response};
use pages::{Pages, Visit};
use rpc::Overrides;
use uci::Package;
use world::World;

const JSON: &str = "application/json";

/// All that requests share.
struct Server {
    pages: Pages,
    logins: BTreeMap<String, Login>,
    bin: String,
    world: World,
    overrides: Overrides,
    /// Every call since the test last asked.
    calls: Vec<Value>,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (mut bin, mut luci) = (None, None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--mtrelay" => bin = words.next(),
            "--luci" => luci = words.next().map(PathBuf::from),
            _ => return wrong(&format!("unknown argument {word}")),
        }
    }
    let Some(bin) = bin else {
        return wrong("usage: luci_server --mtrelay PROGRAM [--luci CHECKOUT]");
    };
    let top = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the project is there");
    let acl = std::fs::read_to_string(top.join("luci/root/usr/share/rpcd/acl.d/luci-app-mtrelay.json"))
        .expect("the access lists are there");
    let acl: Value = serde_json::from_str(&acl).expect("the access lists are JSON");
    let logins = [
        ("owner".to_owned(), Login::new(&acl, |_, _| true)),
        (
            "viewer".to_owned(),
            Login::new(&acl, |group, part| {
                group == "luci-app-mtrelay-status" && part == "read"
            }),
        ),
    ];
    let mut world = World::new(&bin);
    world.start();
    let server = Server {
        pages: Pages::new(&top, luci.as_deref()),
        logins: logins.into(),
        bin,
        world,
        overrides: Overrides::new(),
        calls: Vec::new(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let mut out = std::io::stdout();
    // Nobody left to tell when the pipe is closed.
    let _ = writeln!(out, "listening http://{address}").and_then(|()| out.flush());
    let server = Arc::new(Mutex::new(server));
    let shared = Arc::clone(&server);
    std::thread::spawn(move || {
        http::serve(&listener, move |request| {
            shared
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .answer(&request)
        });
    });
    let mut unread = [0; 256];
    while matches!(std::io::stdin().read(&mut unread), Ok(1..)) {}
    server.lock().unwrap_or_else(PoisonError::into_inner).world.stop();
    ExitCode::SUCCESS
}

fn wrong(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "luci_server: {text}");
    ExitCode::from(2)
}

fn cookie<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request
        .cookie
        .split("; ")
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(other, value)| (other == name).then_some(value))
}

impl Server {
    fn answer(&mut self, request: &Request) -> Response {
        if let Some(path) = request.path.strip_prefix("/luci-static/") {
            return self.pages.file(path);
        }
        if request.path.starts_with("/ubus") || request.path == "/cgi-bin/luci/admin/ubus" {
            return self.rpc(request);
        }
        if let Some(name) = request.path.strip_prefix("/test/") {
            let args = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
            return match self.control(name, &args) {
                Ok(answer) => Response::ok(JSON, answer.to_string()),
                Err(error) => Response::code(500, &error),
            };
        }
        let Some(path) = request.path.strip_prefix("/cgi-bin/luci/") else {
            return Response::code(404, "not found");
        };
        let session = cookie(request, "sysauth_http").unwrap_or("owner").to_owned();
        let Some(login) = self.logins.get(&session) else {
            return Response::code(403, "no such login");
        };
        match (request.method.as_str(), path) {
            (_, "admin/menu") => Response::ok(JSON, self.pages.menu(login).to_string()),
            ("POST", "admin/uci/apply_rollback") => {
                let any = rpc::apply(&mut self.world);
                if any {
                    Response::ok(JSON, json!({ "token": "token" }).to_string())
                } else {
                    Response::code(204, "")
                }
            }
            ("POST", "admin/uci/apply_unchecked") => {
                rpc::apply(&mut self.world);
                Response::code(204, "")
            }
            ("POST", "admin/uci/confirm") => Response::code(204, ""),
            ("POST", "admin/uci/revert") => {
                self.world.uci.values_mut().for_each(Package::revert);
                Response::ok(JSON, "{}")
            }
            ("GET", _) => self.pages.view(&Visit {
                path,
                session: &session,
                login,
                theme: cookie(request, "theme").unwrap_or("bootstrap"),
                language: cookie(request, "language").unwrap_or("en"),
                poll: cookie(request, "poll")
                    .and_then(|seconds| seconds.parse().ok())
                    .unwrap_or(1.0),
            }),
            _ => Response::code(404, "not found"),
        }
    }

    fn rpc(&mut self, request: &Request) -> Response {
        let Ok(body) = serde_json::from_slice(&request.body) else {
            return Response::code(400, "no JSON");
        };
        match rpc::request(
            &body,
            &self.logins,
            &mut self.world,
            &self.overrides,
            &mut self.calls,
        ) {
            Ok(answer) => Response::ok(JSON, answer.to_string()),
            Err(code) => Response::code(code, "as the test wishes"),
        }
    }

    /// What tests do to this world:
    /// `reset`: all anew; `service {action}`; `open {dc, bytes, secret}` or
    /// `open {dc, up, down}`: a session; `echo {session, bytes}`; `close {session}`;
    /// `script {place, name}`: what a data centre does; `log {lines}`; `uci {config, text}`: a file; `export {config}`: what was saved;
    /// `instead {call: {answer | code | http | absent}}`: other answers; `call {object, method, args}`: a call
    /// past every access list; `calls`: what was called since.
    fn control(&mut self, name: &str, args: &Value) -> Result<Value, String> {
        let number = |name: &str| args[name].as_u64().unwrap_or(0);
        match name {
            "reset" => {
                self.world.end();
                self.world = World::new(&self.bin);
                self.world.start();
                self.overrides.clear();
                self.calls.clear();
            }
            "service" => match args["action"].as_str() {
                Some("stop") => self.world.stop(),
                _ => self.world.start(),
            },
            "open" => {
                let dc = args["dc"].as_i64().unwrap_or(2) as i16;
                let session = match args["down"].as_u64() {
                    Some(down) => self.world.look(dc, number("up") as usize, down as usize)?,
                    None => {
                        let secret = args["secret"].as_str();
                        self.world.open(secret, dc, number("bytes") as usize)?
                    }
                };
                return Ok(json!({ "session": session }));
            }
            "echo" => self.world.echo(number("session"), number("bytes") as usize)?,
            "close" => self.world.close(number("session")),
            "script" => {
                let script = match args["name"].as_str() {
                    Some("respq") => Script::ResPq,
                    Some("refuse") => Script::Refuse,
                    Some("silent") => Script::Silent,
                    _ => Script::Echo,
                };
                self.world.script(number("place") as usize, script);
            }
            "log" => self.world.foreign_lines = args["lines"].as_array().cloned().unwrap_or_default(),
            "uci" => {
                let config = args["config"].as_str().unwrap_or("mtrelay").to_owned();
                let package = Package::parse(args["text"].as_str().unwrap_or_default());
                self.world.uci.insert(config, package);
                self.world.reload();
            }
            "export" => {
                let config = args["config"].as_str().unwrap_or("mtrelay");
                let package = self.world.uci.get(config).ok_or("no such file")?;
                return Ok(json!({ "text": package.export() }));
            }
            "instead" => {
                let calls = args.as_object().into_iter().flatten();
                self.overrides = calls
                    .map(|(call, answer)| (call.clone(), answer.clone()))
                    .collect();
            }
            "call" => {
                let object = args["object"].as_str().unwrap_or("mtrelay");
                let method = args["method"].as_str().unwrap_or_default();
                return match rpc::call(
                    &self.logins["owner"],
                    &mut self.world,
                    object,
                    method,
                    &args["args"],
                ) {
                    rpc::Outcome::Done(answer) => Ok(answer),
                    other => Err(format!("{object} {method}: {other:?}")),
                };
            }
            "calls" => return Ok(std::mem::take(&mut self.calls).into()),
            _ => return Err(format!("no {name}")),
        }
        Ok(json!({}))
    }
}
