//! What an analysis gives. All of it comes from foreign code: escape it before it is shown.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::capability::Capability;
use crate::elf::Object;
use crate::flow::Flow;
pub use crate::place::Place;
use crate::value::Constant;

/// What was found in a package.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Analysis {
    /// Python files, in the order in which they were read.
    pub modules: Vec<Module>,
    /// ELF files.
    pub objects: Vec<Object>,
    /// What could not be read, and why.
    pub findings: Vec<Finding>,
}

impl Analysis {
    /// The Python file of this path.
    pub fn module(&self, path: &str) -> Option<&Module> {
        self.modules.iter().find(|module| module.path == path)
    }

    /// Findings about the file of this path.
    pub fn findings_in<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Finding> {
        self.findings.iter().filter(move |finding| finding.path == path)
    }

    /// Whether all was read within the limits.
    pub fn is_complete(&self) -> bool {
        !self.findings.iter().any(|finding| finding.kind.is_limit())
    }
}

/// A Python file. Of files in `vendor/` only imports, uses and the calls of what is used are kept.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Module {
    /// The file's path in the package.
    pub path: String,
    /// Its first text.
    pub docstring: Option<String>,
    /// Its imports, wherever they stand.
    pub imports: Vec<Import>,
    /// Classes at its top level, also in a block such as `if` or `try`.
    pub classes: Vec<Class>,
    /// Functions at its top level.
    pub functions: Vec<Function>,
    /// Constants at its top level, such as `metadata` and `__version__`.
    pub constants: BTreeMap<String, Constant>,
    /// Every name that is bound somewhere in the file: by an assignment, a definition or an import.
    pub bound: BTreeSet<String>,
    /// Names that are assigned at its top level; definitions and imports are not among them.
    pub assigned: BTreeSet<String>,
    /// Whether names are made in ways that only running the file tells: `globals()`, `import *`, `__getattr__`.
    pub makes_names: bool,
    /// Whether the file changes where imports are looked for.
    pub changes_path: bool,
    /// Calls.
    pub calls: Vec<Call>,
    /// Capabilities that are used.
    pub uses: Vec<Use>,
    /// Texts that a rule of a scan looks for.
    pub marks: Vec<Mark>,
    /// Values that go from a source to a sink.
    pub flows: Vec<Flow>,
}

impl Module {
    /// The class of this name.
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.classes.iter().rfind(|class| class.name == name)
    }

    /// Top-level functions that handle something: `on_message` and the like.
    pub fn handlers(&self) -> impl Iterator<Item = &Function> {
        self.functions.iter().filter(|function| function.name.starts_with("on_"))
    }
}

/// Under which condition an import runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// When the file is loaded.
    Load,
    /// In a `try` whose handlers catch that it fails, or under a condition.
    Guarded,
    /// For type checkers alone.
    TypeChecking,
    /// When a function is called.
    Call,
}

/// An import of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Import {
    /// Where the name stands.
    pub place: Place,
    /// The module, such as `os.path`; empty in `from . import x`.
    pub module: String,
    /// What is taken out of it: `x` in `from m import x`.
    pub name: Option<String>,
    /// The name that is bound, where `as` gives it another.
    pub alias: Option<String>,
    /// Leading dots of a relative import.
    pub level: u32,
    /// When it runs.
    pub setting: Setting,
}

impl Import {
    /// The dotted name of what is imported.
    pub fn whole(&self) -> String {
        match &self.name {
            Some(name) => format!("{}.{name}", self.module),
            None => self.module.clone(),
        }
    }
}

/// A class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub place: Place,
    /// What it derives from, by dotted names with aliases resolved; `?` for what is no name.
    pub bases: Vec<String>,
    /// Its decorators, in the same form.
    pub decorators: Vec<String>,
    /// Its first text.
    pub docstring: Option<String>,
    /// Its methods.
    pub methods: Vec<Function>,
    /// Annotated fields: name and type.
    pub fields: Vec<Parameter>,
    /// Names that are assigned in its body.
    pub names: BTreeSet<String>,
    /// Keywords after its bases that are constants, such as `total=False`.
    pub keywords: BTreeMap<String, Constant>,
}

impl Class {
    /// The method of this name.
    pub fn method(&self, name: &str) -> Option<&Function> {
        self.methods.iter().rfind(|method| method.name == name)
    }

    /// Whether its own body has this name: a method, or something that is assigned.
    pub fn has(&self, name: &str) -> bool {
        self.method(name).is_some() || self.names.contains(name)
    }
}

/// A function or method.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub place: Place,
    /// `async def`.
    pub is_async: bool,
    /// Whether it yields.
    pub is_generator: bool,
    /// Its parameters in order.
    pub parameters: Vec<Parameter>,
    /// The type hint of its result, as written.
    pub returns: Option<String>,
    /// Its decorators, by dotted names with aliases resolved; `?` for what is no name.
    pub decorators: Vec<String>,
    /// Its first text.
    pub docstring: Option<String>,
}

/// How a parameter is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterKind {
    /// By its position alone.
    Positional,
    /// By position or name.
    Any,
    /// `*args`.
    Rest,
    /// By its name alone.
    Keyword,
    /// `**kwargs`.
    Keywords,
}

/// A parameter of a function, or an annotated field of a class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// How it is given.
    pub kind: ParameterKind,
    /// Its type hint, as written.
    pub hint: Option<String>,
    /// Whether it has a default.
    pub has_default: bool,
    /// The default, where it is a constant.
    pub default: Option<Constant>,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Call {
    /// Where it begins.
    pub place: Place,
    /// What is called, by its dotted name with aliases resolved, such as `subprocess.run` or `self.host.http.fetch`.
    pub callee: String,
    /// Arguments by position; nothing for one that is no constant.
    pub arguments: Vec<Option<Constant>>,
    /// Arguments by name.
    pub keywords: BTreeMap<String, Option<Constant>>,
    /// Texts among the arguments, with `*` for what is not known; of the author's own files, and of calls that use a capability.
    pub texts: Vec<String>,
    /// Whether what is called is got by a name in a text, such as `getattr(os, "system")`.
    pub by_text: bool,
    /// Function around it, such as `Plugin.execute`; empty at the top level.
    pub within: String,
    /// Layers of encoded code in which it was found; 0 for plain code.
    pub layer: u8,
}

/// A text that a rule of a scan looks for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mark {
    /// Where it stands.
    pub place: Place,
    /// The part of it that matters, with `*` for what is not known.
    pub text: String,
    /// Layers of encoding that were taken off it.
    pub layer: u8,
}

/// A use of a capability.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Use {
    /// Which one.
    pub capability: Capability,
    /// Where.
    pub place: Place,
    /// What is used, such as `socket.socket`.
    pub what: String,
    /// Function around it; empty at the top level.
    pub within: String,
    /// Layers of encoded code in which it was found; 0 for plain code.
    pub layer: u8,
}

/// Why something could not be read as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// It is no valid Python.
    Syntax,
    /// It is valid in a later Python than that of the image.
    Version,
    /// It is not UTF-8.
    Encoding,
    /// It is a symbolic link, which is not followed.
    Link,
    /// It could not be read from disk.
    Unreadable,
    /// It begins like an ELF file and is none.
    Elf,
    /// It is larger than what is looked at.
    TooLarge,
    /// Its expressions or blocks are nested deeper than what is looked at.
    TooDeep,
    /// There was no time left.
    Time,
    /// Its constants cost more to follow than what is spent on one file.
    Folding,
    /// There are more results than what is kept.
    Results,
    /// There are more files than what is looked at.
    Files,
}

impl FindingKind {
    /// Whether a limit was hit, so that something was left out.
    pub const fn is_limit(self) -> bool {
        matches!(self, Self::TooLarge | Self::TooDeep | Self::Time | Self::Folding | Self::Results | Self::Files)
    }
}

/// Something that could not be read as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which kind.
    pub kind: FindingKind,
    /// The file; empty for the whole package.
    pub path: String,
    /// Where in it.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
}
