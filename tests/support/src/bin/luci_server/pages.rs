//! The pages and files: LuCI's own from a checkout, or the stand-in's; ours as they are installed; and the shell around a view.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::access::Login;
use crate::http::Response;

/// Where everything is.
#[derive(Debug)]
pub(crate) struct Pages {
    /// The top of the project.
    top: PathBuf,
    /// LuCI's checkout, if the tests are to run with it.
    luci: Option<PathBuf>,
}

/// What a page is made for.
#[derive(Debug)]
pub(crate) struct Visit<'a> {
    /// Behind `/cgi-bin/luci/`: `admin/services/mtrelay/users`.
    pub(crate) path: &'a str,
    /// The login's id.
    pub(crate) session: &'a str,
    /// Its rights.
    pub(crate) login: &'a Login,
    /// `bootstrap` or `material`.
    pub(crate) theme: &'a str,
    /// Of the words: `en`, `ru` and so on.
    pub(crate) language: &'a str,
    /// Seconds between polls.
    pub(crate) poll: f64,
}

impl Pages {
    /// The project at `top`, and LuCI at `luci` or the stand-in.
    pub(crate) fn new(top: &Path, luci: Option<&Path>) -> Pages {
        Pages {
            top: top.to_owned(),
            luci: luci.map(Path::to_owned),
        }
    }

    /// A file under `/luci-static/`.
    pub(crate) fn file(&self, path: &str) -> Response {
        if path.split('/').any(|part| part == "..") {
            return Response::code(403, "no");
        }
        let mut roots = vec![self.top.join("luci/htdocs/luci-static")];
        match &self.luci {
            Some(luci) => roots.extend(
                [
                    "modules/luci-base",
                    "modules/luci-mod-status",
                    "libs/luci-lib-uqr",
                    "themes/luci-theme-bootstrap",
                    "themes/luci-theme-material",
                ]
                .map(|part| luci.join(part).join("htdocs/luci-static")),
            ),
            None => roots.push(self.top.join("tests/luci/standin/luci-static")),
        }
        let kind = match path.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("png") => "image/png",
            _ => "application/octet-stream",
        };
        match roots.iter().find_map(|root| fs::read(root.join(path)).ok()) {
            Some(body) => Response::ok(kind, body),
            None => Response::code(404, "not found"),
        }
    }

    /// The menu entries of the page, as the file that is installed has them.
    fn menu_file(&self) -> Value {
        let path = self
            .top
            .join("luci/root/usr/share/luci/menu.d/luci-app-mtrelay.json");
        let text = fs::read_to_string(path).expect("the menu is there");
        serde_json::from_str(&text).expect("the menu is JSON")
    }

    /// The tree that the theme's menu is made of.
    pub(crate) fn menu(&self, login: &Login) -> Value {
        let mut tree = json!({ "title": null, "children": { "admin": {
            "title": "Administration", "order": 10, "satisfied": true, "action": { "type": "firstchild" }, "children": {
                "status": { "title": "Status", "order": 10, "satisfied": true, "action": { "type": "firstchild" }, "children": {
                    "overview": { "title": "Overview", "order": 1, "satisfied": true,
                        "action": { "type": "view", "path": "status/index" } } } },
                "services": { "title": "Services", "order": 40, "satisfied": true, "action": { "type": "firstchild" },
                    "children": {} } } } } });
        for (path, entry) in self.menu_file().as_object().into_iter().flatten() {
            let mut node = &mut tree;
            for part in path.split('/') {
                let children = node.as_object_mut().expect("a node").entry("children");
                node = children
                    .or_insert_with(|| json!({}))
                    .as_object_mut()
                    .expect("children")
                    .entry(part)
                    .or_insert_with(|| json!({}));
            }
            let node = node.as_object_mut().expect("a node");
            node.extend(entry.as_object().cloned().unwrap_or_default());
            node.insert(
                "satisfied".into(),
                (writable(entry, login).is_some() && !entry["title"].is_null()).into(),
            );
        }
        tree
    }

    /// The page around a view. 403 for a login that lacks a group which the menu asks for, as LuCI's dispatcher says it.
    pub(crate) fn view(&self, visit: &Visit<'_>) -> Response {
        let menu = self.menu_file();
        let status = json!({ "title": "Overview", "action": { "type": "view", "path": "status/index" } });
        let entry = match visit.path {
            "admin/status/overview" => &status,
            path => &menu[path],
        };
        let Some(view) = entry["action"]["path"].as_str() else {
            return Response::code(404, "no such page");
        };
        let mut acl = Vec::new();
        let mut above = String::new();
        for part in visit.path.split('/') {
            above = if above.is_empty() {
                part.into()
            } else {
                format!("{above}/{part}")
            };
            acl.extend(
                menu[&above]["depends"]["acl"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default(),
            );
        }
        let all = json!({ "depends": { "acl": acl } });
        let Some(writable) = writable(&all, visit.login) else {
            return Response::code(403, "Forbidden");
        };
        let mut node = entry.as_object().cloned().unwrap_or_default();
        node.insert("satisfied".into(), true.into());
        node.insert("readonly".into(), (!writable).into());
        let parts: Vec<&str> = visit.path.split('/').collect();
        let env = json!({
            "media": format!("/luci-static/{}", visit.theme), "resource": "/luci-static/resources",
            "scriptname": "/cgi-bin/luci", "pathinfo": format!("/{}", visit.path), "documentroot": "/www",
            "requestpath": parts, "dispatchpath": parts, "pollinterval": visit.poll, "ubuspath": "/ubus/",
            "sessionid": visit.session, "token": "token", "nodespec": node, "apply_rollback": 90, "apply_holdoff": 1,
            "apply_timeout": 5, "apply_display": 1,
        });
        let name = if self.luci.is_none() {
            "standin"
        } else {
            visit.theme
        };
        let shell = fs::read_to_string(self.top.join(format!("tests/luci/shell/{name}.html")))
            .expect("every theme has its shell");
        let page = shell
            .replace("{{language}}", visit.language)
            .replace("{{words}}", &inline(&self.words(visit.language)))
            .replace("{{env}}", &inline(&env))
            .replace("{{view}}", view);
        Response::ok("text/html; charset=utf-8", page)
    }

    /// Every translated text of a language: ours, and LuCI's own where there is a checkout.
    fn words(&self, language: &str) -> Value {
        let mut words = Map::new();
        if let Some(luci) = &self.luci {
            for module in ["luci-base/po", "luci-mod-status/po"] {
                let own = ["base.po", "status.po"]
                    .map(|name| luci.join("modules").join(module).join(language).join(name));
                own.iter().for_each(|path| read_po(path, &mut words));
            }
        }
        read_po(
            &self.top.join("luci/po").join(language).join("mtrelay.po"),
            &mut words,
        );
        words.into()
    }
}

/// JSON that may stand inside of a script element.
fn inline(value: &Value) -> String {
    value.to_string().replace('/', "\\/")
}

/// As LuCI's dispatcher reads `depends.acl`: None without one of the groups, else whether any of them may be written.
fn writable(entry: &Value, login: &Login) -> Option<bool> {
    let groups = entry["depends"]["acl"].as_array();
    let groups: Vec<&str> = groups.into_iter().flatten().filter_map(Value::as_str).collect();
    let may = |group: &str, part: &str| login.may("access-group", group, part);
    if groups
        .iter()
        .any(|group| !may(group, "read") && !may(group, "write"))
    {
        return None;
    }
    Some(groups.is_empty() || groups.iter().any(|group| may(group, "write")))
}

/// The singular texts of a po file.
fn read_po(path: &Path, words: &mut Map<String, Value>) {
    let Ok(text) = fs::read_to_string(path) else {
        return;
    };
    let (mut id, mut said, mut into) = (String::new(), String::new(), 0);
    for line in text.lines().chain([""]) {
        let (place, rest) = match line.split_once(' ') {
            Some(("msgid", rest)) => (1, rest),
            Some(("msgstr", rest)) => (2, rest),
            _ if line.starts_with('"') => (into, line),
            _ => (0, ""),
        };
        if place == 0 {
            if !id.is_empty() && !said.is_empty() {
                words.insert(std::mem::take(&mut id), std::mem::take(&mut said).into());
            }
            id.clear();
            said.clear();
        }
        into = place;
        // A quoted text of a po file is a text of JSON as well.
        let piece = serde_json::from_str::<String>(rest).unwrap_or_default();
        match place {
            1 => id.push_str(&piece),
            2 => said.push_str(&piece),
            _ => {}
        }
    }
}
