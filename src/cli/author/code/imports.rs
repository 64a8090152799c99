//! Imports: which files the entry point reaches, and which imports nothing provides.

use std::collections::BTreeSet;

use super::Look;
use crate::analyze::{Analysis, Import, Module, Setting, is_standard, standard_names};
use crate::domain::{FieldError, escape};
use crate::package::Source;

/// What the runner brings.
const SDK: &str = "plugbay";

/// Folders in which Python looks for modules: the package, the entry point's own folder, and what came along.
fn roots(main: &str) -> Vec<String> {
    let mut roots = vec![String::new(), "vendor/".to_owned()];
    if let Some((folder, _)) = main.rsplit_once('/') {
        roots.push(format!("{folder}/"));
    }
    roots
}

/// Files of the package that the entry point imports, and those that these import.
pub(super) fn reached(analysis: &Analysis, main: &str) -> Vec<String> {
    let (mut reached, mut next) = (vec![main.to_owned()], 0);
    // A file that cannot be parsed is reached all the same.
    let is_there = |path: &str| analysis.module(path).is_some() || analysis.findings_in(path).next().is_some();
    while let Some(path) = reached.get(next).cloned() {
        next += 1;
        let Some(module) = analysis.module(&path) else { continue };
        for import in &module.imports {
            for file in candidates(module, import, main) {
                if is_there(&file) && !reached.contains(&file) {
                    reached.push(file);
                }
            }
        }
    }
    reached
}

/// Files that an import may load.
fn candidates(module: &Module, import: &Import, main: &str) -> Vec<String> {
    let mut names = vec![import.module.clone()];
    if let Some(name) = &import.name {
        names.push(if import.module.is_empty() { name.clone() } else { format!("{}.{name}", import.module) });
    }
    let bases = if import.level == 0 { roots(main) } else { package(module, import.level).into_iter().collect() };
    let mut files = Vec::new();
    for base in &bases {
        for name in names.iter().filter(|name| !name.is_empty()) {
            // Importing `a.b.c` runs `a` and `a.b`, too.
            let parts: Vec<&str> = name.split('.').collect();
            for count in 1..=parts.len() {
                let path = parts[..count].join("/");
                files.extend([format!("{base}{path}.py"), format!("{base}{path}/__init__.py")]);
            }
        }
    }
    files
}

/// The folder that so many leading dots mean, with its slash; nothing where they lead out of the package.
fn package(module: &Module, level: u32) -> Option<String> {
    let mut parts: Vec<&str> = module.path.split('/').collect();
    for _ in 0..level {
        parts.pop()?;
    }
    // What lies at the top belongs to no package of Python.
    (!parts.is_empty()).then(|| format!("{}/", parts.join("/")))
}

/// Whether a module of this name lies below one of the folders: a file, a folder, or a library.
fn lies_in(packed: &[Source], roots: &[String], name: &str) -> bool {
    let names = |path: &str| {
        roots.iter().any(|root| {
            path.strip_prefix(root.as_str()).and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| {
                // Libraries are `name.so` and `name.cpython-311-x86_64-linux-gnu.so`.
                rest.starts_with('/') || rest == ".py" || rest.starts_with('.') && rest.rsplit('.').next() == Some("so")
            })
        })
    };
    packed.iter().any(|source| names(source.path.as_str()))
}

/// Top-level names that can be imported, for a hint.
fn importable(packed: &[Source], roots: &[String]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = standard_names().map(str::to_owned).collect();
    names.insert(SDK.to_owned());
    for source in packed {
        for root in roots {
            let Some(rest) = source.path.as_str().strip_prefix(root.as_str()) else { continue };
            let (first, is_folder) = rest.split_once('/').map_or((rest, false), |(first, _)| (first, true));
            let name = if is_folder { Some(first) } else { first.strip_suffix(".py") };
            names.extend(name.map(str::to_owned));
        }
    }
    names
}

impl Look<'_> {
    /// Tells of imports that nothing provides, in files that the entry point reaches.
    pub(super) fn imports(&mut self, reached: &[String]) {
        let roots = roots(&self.code.declared.path);
        let modules: Vec<Module> = reached.iter().filter_map(|path| self.analysis.module(path)).cloned().collect();
        // Who changes the path, or makes files first, knows more than can be read here.
        let is_sure = !self.code.declared.is_built && !modules.iter().any(|module| module.changes_path);
        let mut told = BTreeSet::new();
        for module in &modules {
            for import in &module.imports {
                let Some(message) = self.missing(module, import, &roots) else { continue };
                if !told.insert((module.path.clone(), message.clone())) {
                    continue;
                }
                let (line, column) = (Some(import.place.line.into()), Some(import.place.column.into()));
                let field = FieldError { pointer: String::new(), line, column, message };
                let mistake = self.in_file(&module.path, field);
                match import.setting {
                    Setting::Load if is_sure => self.found.mistakes.push(mistake),
                    Setting::Load | Setting::Call => self.found.warnings.push(mistake),
                    Setting::Guarded | Setting::TypeChecking => {}
                }
            }
        }
    }

    /// Why an import fails, if it does.
    fn missing(&self, module: &Module, import: &Import, roots: &[String]) -> Option<String> {
        if matches!(import.setting, Setting::Guarded | Setting::TypeChecking) {
            return None;
        }
        let packed = self.code.packed;
        let top = import.module.split('.').next().unwrap_or_default();
        if import.level > 0 {
            let Some(folder) = package(module, import.level) else {
                return Some(format!(
                    "`{}` lies in no package, so that an import that begins with a dot fails",
                    escape(&module.path)
                ));
            };
            let is_there = top.is_empty() || lies_in(packed, std::slice::from_ref(&folder), top);
            return (!is_there).then(|| format!("there is no `{}` in `{}`", escape(top), escape(&folder)));
        }
        // What the index has to give is known when it was fetched.
        let is_known = top.is_empty() || top == SDK || is_standard(top) || lies_in(packed, roots, top);
        if is_known || self.code.vendors {
            return None;
        }
        let known = importable(packed, roots);
        let hint = super::hint(top, known.iter().map(String::as_str));
        let how = if hint.is_empty() { "; list its package in `dependencies`" } else { hint.as_str() };
        Some(format!("`{}` is neither in Python 3.11 nor in the package{how}", escape(top)))
    }
}
