//! UCI files as rpcd serves them: sections with ids, changes that wait until they are applied, and the list of them.
//!
//! A section's id is its name, or one made up for an anonymous one; the page never sees a file, only these.

use serde_json::{Map, Value, json};

/// One section.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    id: String,
    kind: String,
    anonymous: bool,
    /// Texts, and arrays of texts for lists.
    options: Map<String, Value>,
}

/// One file, as it is saved and as it will be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Package {
    saved: Vec<Section>,
    edited: Vec<Section>,
    changes: Vec<Value>,
    made_up: usize,
}

impl Package {
    /// Reads a file as `uci export` prints it.
    pub(crate) fn parse(text: &str) -> Package {
        let mut package = Package::default();
        let mut sections: Vec<Section> = Vec::new();
        for words in lines(text) {
            let mut words = words.into_iter();
            let (what, first, second) = (words.next(), words.next(), words.next());
            match (what.as_deref(), first, second) {
                (Some("config"), Some(kind), name) => {
                    let id = match &name {
                        Some(name) => name.clone(),
                        None => package.make_up(),
                    };
                    sections.push(Section {
                        id,
                        kind,
                        anonymous: name.is_none(),
                        options: Map::new(),
                    });
                }
                (Some("option"), Some(name), Some(value)) => {
                    if let Some(section) = sections.last_mut() {
                        section.options.insert(name, value.into());
                    }
                }
                (Some("list"), Some(name), Some(value)) => {
                    if let Some(section) = sections.last_mut() {
                        let list = section.options.entry(name).or_insert_with(|| json!([]));
                        list.as_array_mut()
                            .expect("a list is an array")
                            .push(value.into());
                    }
                }
                _ => {}
            }
        }
        package.saved.clone_from(&sections);
        package.edited = sections;
        package
    }

    /// The saved file as `uci export` prints it.
    pub(crate) fn export(&self) -> String {
        let quote = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
        let mut text = String::new();
        for section in &self.saved {
            text.push_str(&format!("\nconfig {}", section.kind));
            if !section.anonymous {
                text.push_str(&format!(" {}", quote(&section.id)));
            }
            text.push('\n');
            for (name, value) in &section.options {
                match value {
                    Value::Array(values) => {
                        for value in values {
                            text.push_str(&format!("\tlist {name} {}\n", quote(&plain(value))));
                        }
                    }
                    value => text.push_str(&format!("\toption {name} {}\n", quote(&plain(value)))),
                }
            }
        }
        text
    }

    /// `uci get {config}`: everything, with what waits.
    pub(crate) fn values(&self) -> Value {
        let mut values = Map::new();
        for (index, section) in self.edited.iter().enumerate() {
            let mut shown = Map::new();
            shown.insert(".anonymous".into(), section.anonymous.into());
            shown.insert(".type".into(), section.kind.clone().into());
            shown.insert(".name".into(), section.id.clone().into());
            shown.insert(".index".into(), index.into());
            shown.extend(section.options.clone());
            values.insert(section.id.clone(), shown.into());
        }
        json!({ "values": values })
    }

    /// `uci changes`, of this file.
    pub(crate) fn changes(&self) -> &[Value] {
        &self.changes
    }

    /// `uci add {type, name, values}`: the new section's id.
    pub(crate) fn add(&mut self, kind: &str, name: Option<&str>, values: &Value) -> String {
        let id = name.map_or_else(|| self.make_up(), str::to_owned);
        self.changes.push(json!(["add", id, kind]));
        self.edited.push(Section {
            id: id.clone(),
            kind: kind.to_owned(),
            anonymous: name.is_none(),
            options: Map::new(),
        });
        self.set(&id, values);
        id
    }

    /// `uci set {section, values}`. False: there is no such section.
    pub(crate) fn set(&mut self, id: &str, values: &Value) -> bool {
        let Some(section) = self.edited.iter_mut().find(|section| section.id == id) else {
            return false;
        };
        for (name, value) in values.as_object().into_iter().flatten() {
            self.changes.push(match value {
                Value::Array(_) => json!(["list-add", id, name, list_text(value)]),
                value => json!(["set", id, name, plain(value)]),
            });
            let stored = match value {
                Value::Array(values) => values.iter().map(|value| Value::from(plain(value))).collect(),
                value => Value::from(plain(value)),
            };
            section.options.insert(name.clone(), stored);
        }
        true
    }

    /// `uci delete {section, options}`: those options, or the whole section. False: there is no such section.
    pub(crate) fn delete(&mut self, id: &str, options: Option<&[Value]>) -> bool {
        let Some(at) = self.edited.iter().position(|section| section.id == id) else {
            return false;
        };
        match options {
            None => {
                self.edited.remove(at);
                self.changes.push(json!(["remove", id]));
            }
            Some(options) => {
                for name in options {
                    let name = plain(name);
                    self.edited[at].options.shift_remove(&name);
                    self.changes.push(json!(["remove", id, name]));
                }
            }
        }
        true
    }

    /// Takes what waits over. Whether there was anything.
    pub(crate) fn apply(&mut self) -> bool {
        let any = !self.changes.is_empty();
        self.saved.clone_from(&self.edited);
        self.changes.clear();
        any
    }

    /// Forgets what waits.
    pub(crate) fn revert(&mut self) {
        self.edited.clone_from(&self.saved);
        self.changes.clear();
    }

    fn make_up(&mut self) -> String {
        self.made_up += 1;
        format!("cfg{:02x}{:04x}", self.made_up, self.made_up * 0x5a7 % 0xffff)
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn list_text(value: &Value) -> String {
    let values = value.as_array().into_iter().flatten().map(plain);
    values.collect::<Vec<_>>().join(" ")
}

/// The words of each line: bare ones, and quoted ones which may touch each other (`'it'\''s'`) and span lines.
fn lines(text: &str) -> Vec<Vec<String>> {
    let mut lines = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => {
                let word = word.get_or_insert_default();
                word.extend(letters.by_ref().take_while(|letter| *letter != '\''));
            }
            '\\' => word.get_or_insert_default().extend(letters.next()),
            letter if letter.is_whitespace() => {
                let line = lines.last_mut().expect("there is a line");
                line.extend(word.take());
                if letter == '\n' {
                    lines.push(Vec::new());
                }
            }
            letter => word.get_or_insert_default().push(letter),
        }
    }
    lines.last_mut().expect("there is a line").extend(word);
    lines.retain(|line| !line.is_empty());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\nconfig relay 'main'\n\tlist listen '0.0.0.0:1'\n\tlist listen '[::]:1'\n\toption modes 'dd ee'\n\
        \nconfig user\n\toption name 'it'\\''s'\n";

    #[test]
    fn a_file_comes_out_as_it_went_in() {
        assert_eq!(Package::parse(FILE).export(), FILE);
    }

    #[test]
    fn changes_wait_until_they_are_applied() {
        let mut package = Package::parse(FILE);
        assert!(package.set("main", &json!({ "modes": "dd" })));
        assert!(!package.set("other", &json!({})));
        let id = package.add("user", None, &json!({ "name": "b" }));
        assert!(package.delete("main", Some(&[json!("listen")])));
        assert_eq!(package.export(), FILE);
        assert_eq!(package.changes().len(), 4);
        assert_eq!(package.values()["values"][&id]["name"], "b");
        assert!(package.apply());
        assert_eq!(
            package.export(),
            "\nconfig relay 'main'\n\toption modes 'dd'\n\nconfig user\n\toption name 'it'\\''s'\n\nconfig user\n\toption name 'b'\n"
        );
        assert!(package.delete(&id, None));
        package.revert();
        assert!(package.values()["values"].get(&id).is_some());
        assert!(!package.apply());
    }
}
