//! The sources as the rules of [`super`] see them: crates, files, modules, functions, and which file uses which.
//!
//! Code behind `#[cfg(test)]`, files called `tests.rs` and folders called `tests` are not part of it.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syn::spanned::Spanned as _;

/// A crate of the workspace: its name in Rust, and its folder below the project's.
pub(super) struct CrateAt {
    pub(super) name: &'static str,
    pub(super) folder: &'static str,
}

/// The crates whose sources follow the rules. A folder inside another one belongs to the inner crate.
pub(super) const CRATES: [CrateAt; 5] = [
    CrateAt {
        name: "mtrelay",
        folder: "src",
    },
    CrateAt {
        name: "mtrelay_core",
        folder: "src/core",
    },
    CrateAt {
        name: "wire",
        folder: "src/wire",
    },
    CrateAt {
        name: "mtrelay_cipher",
        folder: "src/wire/cipher",
    },
    CrateAt {
        name: "mtfetch",
        folder: "src/fetch",
    },
];

/// A path in the code, as it is written: `["super", "Flow"]`.
pub(super) type RawPath = Vec<String>;

/// A function with a body.
pub(super) struct Function {
    pub(super) name: String,
    /// The line of its signature, from 1.
    pub(super) line: usize,
    pub(super) lines: usize,
    pub(super) arguments: usize,
    /// Whether the comments above it contain a line that begins with `// long: `.
    pub(super) excused: bool,
}

/// A source file.
pub(super) struct File {
    /// From the project's folder.
    pub(super) path: String,
    /// The index in [`CRATES`].
    pub(super) krate: usize,
    /// The modules that lead to it: empty for `lib.rs`, `["main"]` for `main.rs`.
    pub(super) module: Vec<String>,
    pub(super) text: String,
    pub(super) functions: Vec<Function>,
    pub(super) types: Vec<String>,
    pub(super) has_unsafe: bool,
    /// Every path with `::` in it, and every import. Leading `super`s of inline modules are removed.
    paths: Vec<RawPath>,
    /// The names that imports bring in, with what they stand for.
    aliases: BTreeMap<String, RawPath>,
}

/// All files of [`CRATES`].
pub(super) struct Sources {
    pub(super) files: Vec<File>,
    by_module: BTreeMap<(usize, Vec<String>), usize>,
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below this folder, sorted.
pub(super) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the folder is readable").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn is_test_file(path: &Path) -> bool {
    path.iter().any(|part| part == "tests" || part == "tests.rs")
}

impl Sources {
    pub(super) fn read() -> Sources {
        let mut files = Vec::new();
        for path in rust_files(&root().join("src")) {
            let inside = path.strip_prefix(root()).expect("found below it");
            if !is_test_file(inside) {
                files.push(File::read(inside));
            }
        }
        let by_module = files.iter().enumerate();
        let by_module = by_module
            .map(|(at, file)| ((file.krate, file.module.clone()), at))
            .collect();
        Sources { files, by_module }
    }

    /// What a path of this file names, as far as it is one of the crates': the crate and the path in it, without looking
    /// through imports.
    pub(super) fn absolute(&self, file: &File, path: &RawPath) -> Option<(usize, RawPath)> {
        let (first, rest) = path.split_first()?;
        let join = |base: &[String], rest: &[String]| [base, rest].concat();
        if let Some(krate) = CRATES.iter().position(|krate| krate.name == first) {
            return Some((krate, rest.to_vec()));
        }
        match first.as_str() {
            "crate" => Some((file.krate, rest.to_vec())),
            "self" => Some((file.krate, join(&file.module, rest))),
            "super" => {
                let supers = path.iter().take_while(|part| *part == "super").count();
                let base = file.module.len().checked_sub(supers)?;
                Some((file.krate, join(&file.module[..base], &path[supers..])))
            }
            _ => {
                let child = join(&file.module, std::slice::from_ref(first));
                self.by_module
                    .contains_key(&(file.krate, child.clone()))
                    .then(|| (file.krate, join(&child, rest)))
            }
        }
    }

    /// The file that defines what this path names. `None` for a module itself and for what is not ours.
    fn definition(&self, file: &File, path: &RawPath, depth: usize) -> Option<usize> {
        if depth > 8 {
            return None;
        }
        let Some((krate, path_in)) = self.absolute(file, path) else {
            let (first, rest) = path.split_first()?;
            let target = file
                .aliases
                .get(first)
                .filter(|target| target.first() != Some(first))?;
            return self.definition(file, &[target.as_slice(), rest].concat(), depth + 1);
        };
        // The longest part of the path that is a module.
        let modules = (0..=path_in.len()).rev();
        let (len, at) = modules.into_iter().find_map(|len| {
            let found = self.by_module.get(&(krate, path_in[..len].to_vec()));
            found.map(|at| (len, *at))
        })?;
        let item = path_in.get(len)?;
        let home = &self.files[at];
        match home.aliases.get(item) {
            Some(target) => {
                let through = [target.as_slice(), &path_in[len + 1..]].concat();
                self.definition(home, &through, depth + 1).or(Some(at))
            }
            None => Some(at),
        }
    }

    /// The files whose items this file uses.
    pub(super) fn uses(&self, file: &File) -> BTreeSet<usize> {
        let own = self.by_module[&(file.krate, file.module.clone())];
        let found = file
            .paths
            .iter()
            .filter_map(|path| self.definition(file, path, 0));
        found.filter(|used| *used != own).collect()
    }

    /// The other crates that this file names.
    pub(super) fn crates(&self, file: &File) -> BTreeSet<usize> {
        let named = file
            .paths
            .iter()
            .filter_map(|path| Some(self.absolute(file, path)?.0));
        named.filter(|krate| *krate != file.krate).collect()
    }

    /// The top-level modules of its own crate that this file names, besides the one that it is in.
    pub(super) fn rooms(&self, file: &File) -> BTreeSet<String> {
        let own = file.module.first();
        let named = file.paths.iter().filter_map(|path| self.absolute(file, path));
        let named = named.filter(|(krate, _)| *krate == file.krate || file.module == ["main"]);
        let rooms = named.filter_map(|(krate, path)| {
            let first = path.into_iter().next()?;
            self.by_module
                .contains_key(&(krate, vec![first.clone()]))
                .then_some(first)
        });
        rooms.filter(|room| Some(room) != own).collect()
    }
}

impl File {
    fn read(inside: &Path) -> File {
        let text = fs::read_to_string(root().join(inside)).expect("sources are readable");
        let krates = CRATES.iter().enumerate();
        let (krate, at) = krates
            .filter(|(_, krate)| inside.starts_with(krate.folder))
            .max_by_key(|(_, krate)| krate.folder.len())
            .expect("it is below src");
        let below = inside
            .strip_prefix(at.folder)
            .expect("checked above")
            .with_extension("");
        let mut module: Vec<String> = below
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        if module == ["lib"] {
            module.clear();
        }
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", inside.display()));
        let mut file = File {
            path: inside.display().to_string(),
            krate,
            module,
            text,
            functions: Vec::new(),
            types: Vec::new(),
            has_unsafe: false,
            paths: Vec::new(),
            aliases: BTreeMap::new(),
        };
        let mut reexports = Vec::new();
        file.items(&parsed.items, 0, &mut reexports);
        // A re-export is a use only where the file names the item as well.
        let words: BTreeSet<String> = file.words(&parsed.items);
        file.paths.extend(
            reexports
                .into_iter()
                .filter(|path| path.last().is_some_and(|name| words.contains(name))),
        );
        file
    }

    fn items(&mut self, items: &[syn::Item], depth: usize, reexports: &mut Vec<RawPath>) {
        for item in items.iter().filter(|item| !is_test(item)) {
            match item {
                syn::Item::Use(import) => {
                    let public = !matches!(import.vis, syn::Visibility::Inherited);
                    let mut paths = Vec::new();
                    flatten(&import.tree, &mut Vec::new(), &mut paths);
                    for (name, path) in paths {
                        let path = without_supers(path, depth);
                        if depth == 0 {
                            self.aliases.insert(name, path.clone());
                        }
                        if public {
                            reexports.push(path)
                        } else {
                            self.paths.push(path)
                        }
                    }
                }
                syn::Item::Mod(module) => {
                    if let Some((_, items)) = &module.content {
                        self.items(items, depth + 1, reexports);
                    }
                }
                other => {
                    let tokens = other.to_token_stream();
                    self.has_unsafe |= names_unsafe(tokens.clone());
                    let mut paths = Vec::new();
                    token_paths(tokens, &mut paths);
                    let paths = paths.into_iter().filter(|path| path.len() > 1);
                    self.paths.extend(paths.map(|path| without_supers(path, depth)));
                    self.definitions(other);
                }
            }
        }
    }

    fn definitions(&mut self, item: &syn::Item) {
        match item {
            syn::Item::Fn(function) => self.function(&function.sig, function.span(), &function.attrs),
            syn::Item::Impl(block) => {
                for item in &block.items {
                    if let syn::ImplItem::Fn(method) = item {
                        self.function(&method.sig, method.span(), &method.attrs);
                    }
                }
            }
            syn::Item::Trait(definition) => {
                for item in &definition.items {
                    if let syn::TraitItem::Fn(method) = item {
                        self.function(&method.sig, method.span(), &method.attrs);
                    }
                }
            }
            syn::Item::Struct(definition) => self.types.push(definition.ident.to_string()),
            syn::Item::Enum(definition) => self.types.push(definition.ident.to_string()),
            _ => {}
        }
    }

    fn function(&mut self, signature: &syn::Signature, span: Span, attributes: &[syn::Attribute]) {
        let first = signature.span().start().line;
        let above = attributes
            .first()
            .map_or(first, |attribute| attribute.span().start().line.min(first));
        let lines: Vec<&str> = self.text.lines().collect();
        // Ordinary comments stand above the attributes, or between them and the signature.
        let before = lines[..above - 1]
            .iter()
            .rev()
            .take_while(|line| line.trim_start().starts_with("//"));
        let mut comments = before.chain(&lines[above - 1..first - 1]);
        self.functions.push(Function {
            name: signature.ident.to_string(),
            line: first,
            lines: span.end().line + 1 - first,
            arguments: signature.inputs.len(),
            excused: comments.any(|line| line.trim_start().starts_with("// long: ")),
        });
    }

    /// Every word of the code besides imports.
    fn words(&self, items: &[syn::Item]) -> BTreeSet<String> {
        let mut words = BTreeSet::new();
        for item in items
            .iter()
            .filter(|item| !is_test(item) && !matches!(item, syn::Item::Use(_)))
        {
            let mut paths = Vec::new();
            token_paths(item.to_token_stream(), &mut paths);
            words.extend(paths.into_iter().flatten());
        }
        words
    }
}

/// Whether the item is compiled for tests only.
fn is_test(item: &syn::Item) -> bool {
    let attributes = match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| {
        let text = attribute.meta.to_token_stream().to_string();
        text == "test" || text == "cfg (test)"
    })
}

/// The imports of a tree: the name that is brought in, and the whole path. Of `a::*` only `a::*` itself.
fn flatten(tree: &syn::UseTree, before: &mut RawPath, found: &mut Vec<(String, RawPath)>) {
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, found);
            before.pop();
        }
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, found)),
        syn::UseTree::Glob(_) => {
            found.push(("*".to_owned(), [before.as_slice(), &["*".to_owned()]].concat()))
        }
        syn::UseTree::Name(syn::UseName { ident }) | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
            let whole = match ident.to_string().as_str() {
                "self" => before.clone(),
                name => [before.as_slice(), &[name.to_owned()]].concat(),
            };
            let name = match tree {
                syn::UseTree::Rename(rename) => rename.rename.to_string(),
                _ => whole.last().cloned().unwrap_or_default(),
            };
            found.push((name, whole));
        }
    }
}

/// `super` inside an inline module is the file's own module.
fn without_supers(path: RawPath, depth: usize) -> RawPath {
    let supers = path
        .iter()
        .take(depth)
        .take_while(|part| *part == "super")
        .count();
    match supers {
        0 => path,
        _ if path.get(supers).is_some_and(|part| part == "super") => path[supers..].to_vec(),
        _ => [&["self".to_owned()], &path[supers..]].concat(),
    }
}

/// The words of these tokens, those that `::` connects as one path.
fn token_paths(tokens: TokenStream, found: &mut Vec<RawPath>) {
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(word) => {
                let word = word.to_string();
                match found.last_mut() {
                    Some(path) if colons == 2 => path.push(word),
                    _ => found.push(vec![word]),
                }
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            TokenTree::Group(group) => {
                token_paths(group.stream(), found);
                // What follows the group begins a path of its own.
                found.push(Vec::new());
                colons = 0;
            }
            _ => colons = 0,
        }
    }
    found.retain(|path| !path.is_empty());
}

fn names_unsafe(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(word) => word == "unsafe",
        TokenTree::Group(group) => names_unsafe(group.stream()),
        _ => false,
    })
}
