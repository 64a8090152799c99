//! What code can use beyond computing, and by which names it does. The names are data.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Serialize;

/// Something that code uses beyond computing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// Connections.
    Network,
    /// Other programs.
    Process,
    /// Files.
    Files,
    /// Variables of the environment, and who runs the program.
    Environment,
    /// Code that is made while the program runs.
    DynamicCode,
    /// Objects that are made from bytes, which runs what the bytes say.
    Deserialization,
    /// Code below Python.
    NativeCode,
}

impl Capability {
    /// Every capability.
    pub const ALL: [Self; 7] = [
        Self::Network,
        Self::Process,
        Self::Files,
        Self::Environment,
        Self::DynamicCode,
        Self::Deserialization,
        Self::NativeCode,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Process => "process",
            Self::Files => "files",
            Self::Environment => "environment",
            Self::DynamicCode => "dynamic-code",
            Self::Deserialization => "deserialization",
            Self::NativeCode => "native-code",
        }
    }
}

pub(crate) const RULES: &str = include_str!("../data/capabilities.txt");

struct Rule {
    capability: Capability,
    /// Importing it is a use.
    by_import: bool,
}

fn rules() -> &'static BTreeMap<&'static str, Rule> {
    static KNOWN: OnceLock<BTreeMap<&'static str, Rule>> = OnceLock::new();
    KNOWN.get_or_init(|| RULES.lines().filter_map(rule).collect())
}

/// One line of the data: a capability, a name, and `import` where importing is a use.
fn rule(line: &'static str) -> Option<(&'static str, Rule)> {
    let mut words = line.split_whitespace();
    let capability = words.next()?;
    let capability = Capability::ALL.into_iter().find(|known| known.as_str() == capability)?;
    Some((words.next()?, Rule { capability, by_import: words.next() == Some("import") }))
}

/// The capability that using this dotted name takes.
pub(crate) fn of_name(name: &str) -> Option<Capability> {
    // What a call returns was counted where it was called.
    let mut at = Some(name).filter(|name| !name.contains('('));
    while let Some(name) = at {
        if let Some(rule) = rules().get(name) {
            return Some(rule.capability);
        }
        at = name.rsplit_once('.').map(|(outer, _)| outer);
    }
    None
}

/// The capability that importing this module takes.
pub(crate) fn of_import(module: &str) -> Option<Capability> {
    let mut at = Some(module);
    while let Some(name) = at {
        if let Some(rule) = rules().get(name).filter(|rule| rule.by_import) {
            return Some(rule.capability);
        }
        at = name.rsplit_once('.').map(|(outer, _)| outer);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_data_is_a_rule() {
        let lines = RULES.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines.clone() {
            assert!(rule(line).is_some(), "{line}");
            let tail = line.split_whitespace().nth(2);
            assert!(matches!(tail, None | Some("import")), "{line}");
        }
        assert_eq!(rules().len(), lines.count(), "no name stands twice");
    }

    #[test]
    fn names_below_a_name_belong_to_it() {
        assert_eq!(of_name("os.environ.get"), Some(Capability::Environment));
        assert_eq!(of_name("os.path.join"), None);
        assert_eq!(of_name("builtins.open().read"), None);
        assert_eq!(of_import("urllib.request"), Some(Capability::Network));
        assert_eq!(of_import("urllib.parse"), None);
        assert_eq!(of_import("os"), None);
    }
}
