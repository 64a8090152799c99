//! What an operator demands of imports.

use super::hit::{Hit, MAX_HITS_IN_FILE};
use crate::model::{Analysis, Import, Place};
use crate::stdlib::is_standard;
use crate::verdict::Verdict;

/// What an operator demands of code. A hit is suspicious.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Modules that may be imported beside Python's library, the package and its `vendor/`. Empty: all.
    pub allowed_imports: Vec<String>,
    /// Modules that may not be imported, such as `ctypes` or `os.path`; what is below one is it, too.
    pub denied_imports: Vec<String>,
}

impl Policy {
    /// What of a package is against it.
    pub(super) fn hits(&self, analysis: &Analysis, files: &[&str]) -> Vec<Hit> {
        if self.allowed_imports.is_empty() && self.denied_imports.is_empty() {
            return Vec::new();
        }
        let mut hits = Vec::new();
        for module in &analysis.modules {
            let imports = module.imports.iter().filter(|import| import.level == 0);
            let named = imports.map(|import: &Import| (import.place, import.whole()));
            let by_text = module.calls.iter().filter_map(|call| {
                let is_import = matches!(call.callee.as_str(), "builtins.__import__" | "importlib.import_module");
                Some((call.place, call.texts.first().filter(|_| is_import)?.clone()))
            });
            let wrong = named.chain(by_text).filter_map(|(place, name)| Some((place, self.wrong(&name, files)?, name)));
            hits.extend(wrong.take(MAX_HITS_IN_FILE).map(|(place, rule, name)| hit(&module.path, place, rule, name)));
        }
        hits
    }

    /// The rule that an import breaks.
    fn wrong(&self, name: &str, files: &[&str]) -> Option<&'static str> {
        let is_below = |known: &String| {
            name.strip_prefix(known.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if self.denied_imports.iter().any(is_below) {
            return Some("denied-import");
        }
        let top = name.split('.').next().unwrap_or(name);
        let is_brought = || {
            files.iter().any(|file| {
                let file = file.strip_prefix("vendor/").unwrap_or(file);
                let first = file.split('/').next().unwrap_or(file);
                first == top || first.strip_prefix(top).is_some_and(|rest| rest.starts_with('.'))
            })
        };
        let is_allowed = self.allowed_imports.is_empty() || self.allowed_imports.iter().any(is_below);
        (!is_allowed && !is_standard(top) && top != "plugbay" && !is_brought()).then_some("import-not-allowed")
    }
}

fn hit(path: &str, place: Place, rule: &str, name: String) -> Hit {
    let is_denied = rule == "denied-import";
    let reason = if is_denied {
        "The operator of this service allows no import of it."
    } else {
        "The operator of this service allows imports from a list, and it is not on it."
    };
    let setting = if is_denied { "denied_imports" } else { "allowed_imports" };
    Hit {
        rule: rule.to_owned(),
        verdict: Verdict::Suspicious,
        path: path.to_owned(),
        place: Some(place),
        what: name,
        reason: reason.to_owned(),
        how: format!("Remove the import, or ask for a change of `security.scan.{setting}`."),
    }
}
