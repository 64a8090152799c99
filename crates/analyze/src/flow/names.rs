//! Which names are sources and sinks.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use plugbay_domain::Word as _;

use super::{Origin, Sink};

pub(crate) const RULES: &str = include_str!("../../data/flows.txt");

#[derive(Default)]
struct Names {
    from: BTreeMap<&'static str, Origin>,
    to: BTreeMap<&'static str, Sink>,
    reads: Vec<&'static str>,
    paths: Vec<&'static str>,
}

impl Names {
    /// Takes one line of the data. `None`: it is no rule.
    fn add(&mut self, line: &'static str) -> Option<()> {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "from" => {
                let (kind, name) = rest.split_once(' ')?;
                self.from.insert(name, Origin::ALL.iter().copied().find(|origin| origin.as_str() == kind)?);
            }
            "to" => {
                let (kind, name) = rest.split_once(' ')?;
                self.to.insert(name, Sink::ALL.iter().copied().find(|sink| sink.as_str() == kind)?);
            }
            "reads" => self.reads.push(rest),
            "path" => self.paths.push(rest),
            _ => return None,
        }
        Some(())
    }
}

fn names() -> &'static Names {
    static KNOWN: OnceLock<Names> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let mut names = Names::default();
        for line in RULES.lines() {
            names.add(line);
        }
        names
    })
}

/// What is found under the longest name that this one is or is below.
fn longest<T: Copy>(known: &BTreeMap<&'static str, T>, name: &str) -> Option<T> {
    let mut at = name;
    loop {
        if let Some(found) = known.get(at) {
            return Some(*found);
        }
        at = &at[..at.rfind(['.', '(', '['])?];
    }
}

/// What a name gives.
pub(crate) fn source_of(name: &str) -> Option<Origin> {
    longest(&names().from, name)
}

/// Where a call of this name takes what it is given.
pub(crate) fn sink_of(name: &str) -> Option<Sink> {
    longest(&names().to, name)
}

/// What the value of this variable of the environment is.
pub(crate) fn origin_of_variable(name: &str) -> Origin {
    const OF_MACHINE: [&str; 8] =
        ["COMPUTERNAME", "USERNAME", "USER", "LOGNAME", "HOSTNAME", "USERDOMAIN", "USERPROFILE", "HOME"];
    const OF_SERVICES: [&str; 12] = [
        "AWS_",
        "GITHUB_TOKEN",
        "GH_TOKEN",
        "NPM_TOKEN",
        "TWINE_",
        "PYPI_",
        "CI_JOB_TOKEN",
        "GITLAB_",
        "VAULT_",
        "AZURE_",
        "GOOGLE_APPLICATION",
        "KUBECONFIG",
    ];
    let name = name.to_ascii_uppercase();
    if OF_MACHINE.contains(&name.as_str()) {
        return Origin::Identity;
    }
    if OF_SERVICES.iter().any(|start| name.starts_with(start)) { Origin::Secret } else { Origin::Variable }
}

/// Whether a call of this name opens the file that it is given.
pub(crate) fn reads_file(name: &str) -> bool {
    names().reads.contains(&name)
}

/// Whether credentials lie in files with such a path.
pub(crate) fn is_secret_path(path: &str) -> bool {
    // A longer text is no path.
    if path.len() > 400 || path.len() < 4 {
        return false;
    }
    let path = path.to_ascii_lowercase();
    names().paths.iter().any(|part| path.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_data_is_a_rule() {
        let mut names = Names::default();
        for line in RULES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            assert!(names.add(line).is_some(), "{line}");
        }
        assert_eq!(source_of("os.environ.get()"), Some(Origin::Variable));
        assert_eq!(source_of("os.environ.items()"), Some(Origin::Environment));
        assert_eq!(source_of("os.path"), None);
        assert_eq!(sink_of("socket.socket().sendall"), Some(Sink::Network));
        assert_eq!(sink_of("socket.socket().settimeout"), None);
        assert!(is_secret_path("C:\\Users\\x\\AppData\\Local\\Google\\Chrome\\User Data"));
        assert!(!is_secret_path("/data/notes.txt"));
    }
}
