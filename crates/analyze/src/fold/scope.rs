//! What names are known to mean while a file is walked, in the order of its statements.

use std::collections::BTreeMap;

use ruff_python_ast::{Expr, StmtImport, StmtImportFrom};

use crate::budget::Budget;
use crate::value::{Constant, Folded, Known};

/// Built-in functions and objects that matter to what follows. Others are like any unknown name.
const BUILTINS: [&str; 36] = [
    "__builtins__",
    "__import__",
    "__loader__",
    "bool",
    "breakpoint",
    "bytearray",
    "bytes",
    "chr",
    "compile",
    "delattr",
    "dict",
    "eval",
    "exec",
    "filter",
    "float",
    "getattr",
    "globals",
    "hasattr",
    "hex",
    "input",
    "int",
    "len",
    "list",
    "locals",
    "map",
    "memoryview",
    "object",
    "open",
    "ord",
    "print",
    "repr",
    "reversed",
    "setattr",
    "str",
    "tuple",
    "vars",
];

/// Bytes of all values that are remembered for one file.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Longest dotted name.
const MAX_NAME: usize = 256;

/// The names of nested scopes, from the module to the innermost function or class.
#[derive(Debug)]
pub(crate) struct Scopes<'b> {
    frames: Vec<Frame>,
    bytes: usize,
    pub(crate) budget: &'b Budget,
}

#[derive(Debug, Default)]
struct Frame {
    names: BTreeMap<String, Option<Folded>>,
    /// Names of a class are not seen by its methods.
    is_class: bool,
}

impl<'b> Scopes<'b> {
    pub(crate) fn new(budget: &'b Budget) -> Self {
        Self { frames: vec![Frame::default()], bytes: 0, budget }
    }

    pub(crate) fn enter(&mut self) {
        self.frames.push(Frame::default());
    }

    pub(crate) fn enter_class(&mut self) {
        self.frames.push(Frame { is_class: true, ..Frame::default() });
    }

    pub(crate) fn leave(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        let freed: usize = frame.names.values().flatten().map(Folded::size).sum();
        self.bytes = self.bytes.saturating_sub(freed);
    }

    /// Binds a name; nothing as a value means that it is not known.
    pub(crate) fn bind(&mut self, name: &str, value: Option<Folded>) {
        let size = value.as_ref().map_or(0, Folded::size);
        let value = value.filter(|_| self.bytes + size <= MAX_BYTES);
        self.bytes += value.as_ref().map_or(0, Folded::size);
        let Some(frame) = self.frames.last_mut() else { return };
        let old = frame.names.insert(name.to_owned(), value);
        self.bytes = self.bytes.saturating_sub(old.flatten().map_or(0, |old| old.size()));
    }

    /// What a name means, if that is known.
    pub(crate) fn get(&self, name: &str) -> Option<Folded> {
        let innermost = self.frames.len().saturating_sub(1);
        let seen = |(at, frame): &(usize, &Frame)| !frame.is_class || *at == innermost;
        let bound = self.frames.iter().enumerate().rev().filter(seen).find_map(|(_, frame)| frame.names.get(name));
        match bound {
            Some(value) => value.clone(),
            None if name == "__builtins__" => Some(Folded::named("builtins".to_owned())),
            None if BUILTINS.contains(&name) => Some(Folded::named(format!("builtins.{name}"))),
            None => None,
        }
    }

    /// A number that stands for a name in a comprehension, or what else is known of it for a while.
    pub(crate) fn bind_constant(&mut self, name: &str, constant: Constant, layers: u8) {
        self.bind(name, Some(Folded::constant(constant, layers)));
    }

    pub(crate) fn import(&mut self, import: &StmtImport) {
        for alias in &import.names {
            let whole = alias.name.as_str();
            // `import a.b` binds `a`, `import a.b as c` binds `c` to all of it.
            let top = whole.split('.').next().unwrap_or(whole);
            let (bound, meant) = alias.asname.as_ref().map_or((top, top), |name| (name.as_str(), whole));
            self.bind(bound, Some(Folded::named(meant.to_owned())));
        }
    }

    pub(crate) fn import_from(&mut self, import: &StmtImportFrom) {
        let dots = ".".repeat(usize::try_from(import.level.min(16)).unwrap_or_default());
        let module = import.module.as_ref().map_or("", |module| module.as_str());
        for alias in &import.names {
            let name = alias.asname.as_ref().unwrap_or(&alias.name).as_str();
            let separator = if module.is_empty() { "" } else { "." };
            self.bind(name, Some(Folded::named(format!("{dots}{module}{separator}{}", alias.name.as_str()))));
        }
    }

    /// The dotted name of an expression: resolved where its first name is known, else as written.
    pub(crate) fn name_of(&mut self, expr: &Expr) -> Option<String> {
        match super::fold(expr, self) {
            Some(Folded { known: Known::Named(name), .. }) => return Some(name),
            Some(Folded { known: Known::Constant(_), .. }) => return None,
            None => {}
        }
        let mut parts = Vec::new();
        let mut at = expr;
        loop {
            match at {
                Expr::Attribute(attribute) => {
                    parts.push(attribute.attr.as_str());
                    at = &attribute.value;
                }
                Expr::Name(name) => {
                    parts.push(name.id.as_str());
                    break;
                }
                _ => return None,
            }
            if parts.len() > 16 {
                return None;
            }
        }
        parts.reverse();
        let whole = parts.join(".");
        (whole.len() <= MAX_NAME).then_some(whole)
    }
}

/// The name of something inside of what has a name.
pub(crate) fn inside(name: &str, attribute: &str) -> Option<Folded> {
    // Calling what has a name by `__call__` is calling it.
    if attribute == "__call__" {
        return Some(Folded::named(name.to_owned()));
    }
    // `builtins.__dict__` and the like are another way to the same names.
    let base = name.strip_suffix(".__dict__").unwrap_or(name);
    let whole = format!("{base}.{attribute}");
    (whole.len() <= MAX_NAME).then(|| Folded::named(whole))
}
