//! The class that the service loads, and the functions that hooks and commands call. Where only running the code would
//! tell what there is, nothing is told.

use std::collections::BTreeSet;

use super::{Look, hint};
use crate::analyze::{Analysis, Class, Function, Module};
use crate::domain::{ChatKind, FieldError, HookName, Word as _, escape};

/// What the service calls on its own.
const OWN: [&str; 5] = ["execute", "initialize", "cleanup", "health_check", "configure"];

/// Hooks, what commands call, and what the chat calls.
fn is_handler(name: &str) -> bool {
    handlers().any(|known| known == name)
}

fn handlers() -> impl Iterator<Item = &'static str> + Clone {
    let of_kinds = ChatKind::ALL.iter().flat_map(|kind| kind.methods()).copied();
    HookName::ALL.iter().map(|hook| hook.as_str()).chain(of_kinds)
}

/// Bases of which is known what they have: nothing, or the methods of the SDK's class.
const EMPTY_BASES: [&str; 5] = ["builtins.object", "object", "abc.ABC", "typing.Generic", "typing.Protocol"];
const SDK_BASES: [&str; 2] = ["plugbay.Plugin", "plugbay.plugin.Plugin"];

/// Classes above a class that are looked at.
const MAX_BASES: usize = 32;

/// Whether something is there, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum There {
    Yes,
    No,
    Unknown,
}

/// Whether the class or one above it has this name.
pub(super) fn has(
    analysis: &Analysis,
    module: &Module,
    class: &Class,
    name: &str,
    seen: &mut BTreeSet<(String, String)>,
) -> There {
    if class.has(name) {
        return There::Yes;
    }
    if module.makes_names || class.has("__getattr__") || seen.len() > MAX_BASES {
        return There::Unknown;
    }
    if !seen.insert((module.path.clone(), class.name.clone())) {
        return There::No;
    }
    let is_plain = |decorator: &String| decorator.starts_with("dataclasses.dataclass");
    let mut there = if class.decorators.iter().all(is_plain) { There::No } else { There::Unknown };
    for base in &class.bases {
        let found = if EMPTY_BASES.contains(&base.as_str()) {
            There::No
        } else if SDK_BASES.contains(&base.as_str()) {
            if OWN[..4].contains(&name) { There::Yes } else { There::No }
        } else {
            match find(analysis, module, base) {
                Some((module, class)) => has(analysis, module, class, name, seen),
                None => There::Unknown,
            }
        };
        match found {
            There::Yes => return There::Yes,
            There::Unknown => there = There::Unknown,
            There::No => {}
        }
    }
    there
}

/// Whether the class or one above it has one of these names.
fn has_one(analysis: &Analysis, module: &Module, class: &Class, names: &[&str]) -> There {
    let mut unknown = false;
    for name in names {
        match has(analysis, module, class, name, &mut BTreeSet::new()) {
            There::Yes => return There::Yes,
            There::Unknown => unknown = true,
            There::No => {}
        }
    }
    if unknown { There::Unknown } else { There::No }
}

/// Whether it is a method of a place in the chat: those are looked for in the class alone.
fn name_is_of_chat(name: &str) -> bool {
    ChatKind::ALL.iter().any(|kind| kind.methods().contains(&name))
}

/// The class of a dotted name: of the same file, or of another one of the package.
pub(super) fn find<'a>(analysis: &'a Analysis, module: &'a Module, name: &str) -> Option<(&'a Module, &'a Class)> {
    let Some((path, class)) = name.rsplit_once('.') else { return Some((module, module.class(name)?)) };
    let file = path.replace('.', "/");
    let folder = module.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let roots = [String::new(), if folder.is_empty() { String::new() } else { format!("{folder}/") }];
    let files = roots.iter().flat_map(|root| [format!("{root}{file}.py"), format!("{root}{file}/__init__.py")]);
    let other = files.into_iter().find_map(|path| analysis.module(&path))?;
    Some((other, other.class(class)?))
}

impl Look<'_> {
    /// Tells of a class or handler that is not there.
    pub(super) fn class(&mut self) {
        let Some(main) = self.main().cloned() else { return };
        let class = match self.code.declared.class.clone() {
            Some(wanted) => self.declared_class(&main, &wanted),
            None => self.only_class(&main),
        };
        self.handlers(&main, class.as_ref());
        self.tools(&main, class.as_ref());
        self.near_misses(&main, class.as_ref());
    }

    /// The class that `class` names. Nothing where it is missing or comes from elsewhere.
    fn declared_class(&mut self, main: &Module, wanted: &str) -> Option<Class> {
        if let Some(class) = main.class(wanted) {
            return Some(class.clone());
        }
        if !main.makes_names && !main.bound.contains(wanted) && !wanted.contains('.') {
            let names: Vec<&str> = main.classes.iter().map(|class| class.name.as_str()).collect();
            let has = match names.as_slice() {
                [] => "it has none at its top level".to_owned(),
                names => format!("it has {}", listed(names)),
            };
            let hint = hint(wanted, names.iter().copied());
            self.in_manifest("/class", format!("`{}` has no class `{}`; {has}{hint}", main.path, escape(wanted)));
        }
        None
    }

    /// The only class with `execute` or a method of the plugin's place in the chat, which is taken where `class` is not
    /// given.
    fn only_class(&mut self, main: &Module) -> Option<Class> {
        let of_chat = self.code.declared.chat.map_or(&[][..], ChatKind::methods);
        let wanted: Vec<&str> = std::iter::once("execute").chain(of_chat.iter().copied()).collect();
        let names: BTreeSet<&str> = main.classes.iter().map(|class| class.name.as_str()).collect();
        let classes = names.iter().filter_map(|name| main.class(name));
        let judged: Vec<_> = classes.map(|class| (class, has_one(&self.analysis, main, class, &wanted))).collect();
        if main.makes_names || judged.iter().any(|(_, there)| *there == There::Unknown) {
            return None;
        }
        let with: Vec<&Class> =
            judged.iter().filter(|(_, there)| *there == There::Yes).map(|(class, _)| *class).collect();
        match with.as_slice() {
            [only] => return Some((*only).clone()),
            // Something that is assigned may be a class.
            [] if main.assigned.iter().all(|name| main.constants.contains_key(name)) => {
                let methods = main.classes.iter().flat_map(|class| &class.methods).map(|method| method.name.as_str());
                let (first, more) = (of_chat.first().unwrap_or(&"execute"), of_chat.get(1));
                let or = more.map(|other| format!(" or `{other}`")).unwrap_or_default();
                let hint = hint(first, methods);
                let message = format!("`{}` defines no class with a method `{first}`{or}{hint}", main.path);
                self.in_manifest("/main", message);
            }
            [] => {}
            several => {
                let names: Vec<&str> = several.iter().map(|class| class.name.as_str()).collect();
                let message = format!(
                    "`{}` defines several classes with `execute`: {}; say which by `class`",
                    main.path,
                    listed(&names)
                );
                self.in_manifest("/main", message);
            }
        }
        None
    }

    fn handlers(&mut self, main: &Module, class: Option<&Class>) {
        let mut wanted = self.code.declared.hooks.clone();
        if self.code.declared.has_commands {
            wanted.push(("on_command".to_owned(), "/commands".to_owned()));
        }
        let promised = self.code.declared.chat.map_or(&[][..], ChatKind::promised);
        wanted.extend(promised.iter().map(|method| ((*method).to_owned(), "/chat/kind".to_owned())));
        for (name, pointer) in wanted {
            // Names that plugin.yaml may not have are told by its reader.
            let is_bound = !name_is_of_chat(&name) && main.bound.contains(&name);
            if !is_handler(&name) || main.makes_names || is_bound {
                continue;
            }
            let Some(class) = class else { continue };
            if has(&self.analysis, main, class, &name, &mut BTreeSet::new()) == There::No {
                let functions = main.functions.iter().chain(&class.methods).map(|function| function.name.as_str());
                let hint = hint(&name, functions);
                let message = match pointer.as_str() {
                    "/commands" => {
                        format!(
                            "commands call `on_command`, and `{}` has no function or method of this name{hint}",
                            main.path
                        )
                    }
                    _ => format!("`{}` has no function or method `{name}`{hint}", main.path),
                };
                self.in_manifest(&pointer, message);
            }
        }
    }

    /// Tells of names that differ little from those that the service calls.
    fn near_misses(&mut self, main: &Module, class: Option<&Class>) {
        let methods = class.map_or(&[][..], |class| &class.methods);
        let is_offered = |function: &&Function| function.decorators.is_empty() && !function.name.starts_with('_');
        let mut told = Vec::new();
        for function in main.functions.iter().filter(|function| function.name.starts_with("on_")).chain(methods) {
            let name = function.name.as_str();
            let known = OWN.iter().copied().chain(handlers());
            if !is_offered(&function) || known.clone().any(|word| word == name) {
                continue;
            }
            let is_free = |word: &&str| !main.functions.iter().chain(methods).any(|function| function.name == **word);
            if let Some(near) = crate::domain::nearest(name, known.filter(|word| is_free(word))) {
                let message = format!("the service never calls `{name}`; did you mean `{near}`?");
                let (line, column) = (Some(function.place.line.into()), Some(function.place.column.into()));
                told.push(FieldError { pointer: String::new(), line, column, message });
            }
        }
        for field in told {
            let mistake = self.in_file(&main.path, field);
            self.found.warnings.push(mistake);
        }
    }
}

/// The first names of a list, for a message.
fn listed(names: &[&str]) -> String {
    const MOST: usize = 5;
    let shown: Vec<String> = names.iter().take(MOST).map(|name| escape(name)).collect();
    shown.join(", ")
}
