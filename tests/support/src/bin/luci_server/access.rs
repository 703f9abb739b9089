//! Who may call what: the page's own access lists, read from the file that is installed, and what LuCI itself grants every login.
//!
//! As rpcd does it: a group's `read` and `write` parts grant scopes, and the group itself appears in `access-group`. A call that
//! no part grants is denied, so that a page that asks for more than its file declares fails here as it would on a router.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// What every login of LuCI may do, as far as its runtime does it.
const BASE: &[(&str, &str, &str)] = &[
    ("ubus", "session", "access"),
    ("ubus", "luci", "getFeatures"),
    ("ubus", "file", "list"),
    ("ubus", "uci", "get"),
    ("ubus", "uci", "changes"),
    ("ubus", "uci", "add"),
    ("ubus", "uci", "apply"),
    ("ubus", "uci", "confirm"),
    ("ubus", "uci", "delete"),
    ("ubus", "uci", "order"),
    ("ubus", "uci", "rename"),
    ("ubus", "uci", "set"),
    ("uci", "luci", "read"),
];

/// What LuCI's own status page and network library ask for, granted with its groups.
const STATUS: &[(&str, &str, &str)] = &[
    ("ubus", "luci-rpc", "*"),
    ("ubus", "network", "*"),
    ("ubus", "system", "*"),
    ("uci", "network", "read"),
    ("uci", "wireless", "read"),
];

/// The rights of one login.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    granted: BTreeSet<(String, String, String)>,
}

impl Login {
    /// With these parts (`read`, `write`) of the groups of an access list.
    pub(crate) fn new(acl: &Value, may: impl Fn(&str, &str) -> bool) -> Login {
        let own = |list: &[(&str, &str, &str)]| -> Vec<_> {
            list.iter()
                .map(|&(scope, object, function)| (scope.into(), object.into(), function.into()))
                .collect()
        };
        let mut granted: BTreeSet<(String, String, String)> =
            own(BASE).into_iter().chain(own(STATUS)).collect();
        for (group, parts) in acl.as_object().into_iter().flatten() {
            for part in ["read", "write"] {
                let Some(scopes) = parts.get(part).and_then(Value::as_object) else {
                    continue;
                };
                if may(group, part) {
                    granted.insert(("access-group".into(), group.clone(), part.into()));
                    grant(&mut granted, part, scopes);
                }
            }
        }
        Login { granted }
    }

    /// Whether it may.
    pub(crate) fn may(&self, scope: &str, object: &str, function: &str) -> bool {
        let has = |function: &str| {
            self.granted
                .contains(&(scope.to_owned(), object.to_owned(), function.to_owned()))
        };
        has(function) || has("*")
    }

    /// Every right, as `session access` without arguments tells it.
    pub(crate) fn all(&self) -> Value {
        let mut scopes = Map::new();
        for (scope, object, function) in &self.granted {
            let objects = scopes.entry(scope.clone()).or_insert_with(|| json!({}));
            let objects = objects.as_object_mut().expect("it was made one");
            let functions = objects.entry(object.clone()).or_insert_with(|| json!([]));
            functions
                .as_array_mut()
                .expect("it was made one")
                .push(function.clone().into());
        }
        scopes.into()
    }
}

fn grant(granted: &mut BTreeSet<(String, String, String)>, part: &str, scopes: &Map<String, Value>) {
    for (scope, objects) in scopes {
        match objects {
            Value::Object(objects) => {
                for (object, functions) in objects {
                    for function in functions
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str)
                    {
                        granted.insert((scope.clone(), object.clone(), function.into()));
                    }
                }
            }
            Value::Array(objects) => {
                for object in objects.iter().filter_map(Value::as_str) {
                    granted.insert((scope.clone(), object.into(), part.into()));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_has_what_its_groups_grant() {
        let acl = json!({
            "look": { "read": { "ubus": { "a": ["see"] } } },
            "touch": { "read": { "uci": ["b"] }, "write": { "ubus": { "a": ["do"] }, "uci": ["b"] } }
        });
        let viewer = Login::new(&acl, |group, _| group == "look");
        assert!(viewer.may("ubus", "a", "see") && viewer.may("access-group", "look", "read"));
        assert!(!viewer.may("ubus", "a", "do") && !viewer.may("uci", "b", "read"));
        let owner = Login::new(&acl, |_, _| true);
        assert!(
            owner.may("ubus", "a", "do") && owner.may("uci", "b", "read") && owner.may("uci", "b", "write")
        );
        assert!(!owner.may("ubus", "a", "else") && !owner.may("uci", "c", "read"));
        assert_eq!(owner.all()["access-group"]["touch"], json!(["read", "write"]));
    }
}
