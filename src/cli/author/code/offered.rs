//! Methods that `tools:` of plugin.yaml names: whether the class has them, and offers them.

use std::collections::BTreeSet;

use super::class::{There, find, has};
use super::{Look, hint};
use crate::analyze::{Analysis, Class, Function, Module};
use crate::domain::escape;

/// Decorators that offer a method to callers.
const OFFERS: [&str; 2] = ["plugbay.method", "plugbay.plugin.method"];

impl Look<'_> {
    /// Tells of a tool whose method is not there, or that callers do not reach.
    pub(super) fn tools(&mut self, main: &Module, class: Option<&Class>) {
        let Some(class) = class else { return };
        for (method, pointer) in self.code.declared.tools.clone() {
            // What begins with `on_` is offered wherever it stands.
            if main.makes_names || method.starts_with("on_") {
                continue;
            }
            let shown = escape(&method);
            let found = lineage(&self.analysis, main, class)
                .into_iter()
                .find_map(|class| class.methods.iter().rfind(|known| known.name == method).cloned());
            let is_there = has(&self.analysis, main, class, &method, &mut BTreeSet::new());
            let message = match (found, is_there) {
                (None, There::No) => {
                    let hint = hint(&method, class.methods.iter().map(|known| known.name.as_str()));
                    format!("`{}` has no method `{shown}`{hint}", class.name)
                }
                (Some(found), _) if !is_offered(&found) => {
                    format!("`{}` does not offer `{shown}` to callers; put @plugbay.method before it", class.name)
                }
                (Some(found), _) if found.is_generator && self.code.declared.with_output.contains(&method) => {
                    format!("`{shown}` gives its answer in parts, which have no schema; leave `output` out")
                }
                _ => continue,
            };
            self.in_manifest(&pointer, message);
        }
    }
}

/// Whether callers can call it, as far as can be told: a decorator of the plugin's own may offer it, too.
fn is_offered(method: &Function) -> bool {
    let is_known = |decorator: &String| decorator.starts_with("functools.") || decorator.starts_with("typing.");
    method.name == "execute"
        || method.decorators.iter().any(|decorator| OFFERS.contains(&decorator.as_str()) || !is_known(decorator))
}

/// The class and those above it in the package.
fn lineage(analysis: &Analysis, module: &Module, class: &Class) -> Vec<Class> {
    const MOST: usize = 32;
    let mut found = vec![(module.clone(), class.clone())];
    let mut next = 0;
    while let Some((module, class)) = found.get(next).cloned() {
        next += 1;
        for base in &class.bases {
            let Some((module, class)) = find(analysis, &module, base) else { continue };
            let is_known = found.iter().any(|(known, other)| known.path == module.path && other.name == class.name);
            if !is_known && found.len() < MOST {
                found.push((module.clone(), class.clone()));
            }
        }
    }
    found.into_iter().map(|(_, class)| class).collect()
}
