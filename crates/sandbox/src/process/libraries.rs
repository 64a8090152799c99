//! Libraries that wheels with C++ code load, and that every image of sandboxes has. Under bubblewrap they are the machine's,
//! which a small installation may lack.

use std::fmt;
use std::path::{Path, PathBuf};

/// File names, as the dynamic linker looks for them.
const WANTED: [&str; 2] = ["libstdc++.so.6", "libgomp.so.1"];

/// Where distributions keep libraries; the folder of the architecture is added.
const FOLDERS: [&str; 5] = ["/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib"];

/// Those that this machine lacks. Plugins without such wheels run all the same.
#[derive(Debug)]
pub struct MissingLibraries(Vec<&'static str>);

impl MissingLibraries {
    /// What brings them.
    pub const HOW: &str = "apt-get install libstdc++6 libgomp1";

    /// Looks where this machine keeps libraries; `None` if nothing is missing.
    pub fn find() -> Option<Self> {
        let missing = missing_in(&FOLDERS.map(PathBuf::from));
        (!missing.is_empty()).then_some(Self(missing))
    }
}

impl fmt::Display for MissingLibraries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} not found on this machine: wheels with C++ code will not load", self.0.join(" and "))
    }
}

fn missing_in(folders: &[PathBuf]) -> Vec<&'static str> {
    let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
    let is_in = |folder: &Path, name: &str| folder.join(name).is_file() || folder.join(&multiarch).join(name).is_file();
    WANTED.into_iter().filter(|name| !folders.iter().any(|folder| is_in(folder, name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_beside_each_other_and_below_the_architecture() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [folder.path().join("gone"), folder.path().to_owned()];
        assert_eq!(missing_in(&folders), WANTED);
        let below = folder.path().join(format!("{}-linux-gnu", std::env::consts::ARCH));
        std::fs::create_dir(&below).unwrap();
        std::fs::write(below.join(WANTED[0]), "").unwrap();
        assert_eq!(missing_in(&folders), [WANTED[1]]);
        std::os::unix::fs::symlink("gone", folder.path().join(WANTED[1])).unwrap();
        assert_eq!(missing_in(&folders), [WANTED[1]], "a link that leads nowhere is no library");
        std::fs::remove_file(folder.path().join(WANTED[1])).unwrap();
        std::fs::write(folder.path().join(WANTED[1]), "").unwrap();
        assert!(missing_in(&folders).is_empty());
        let text = MissingLibraries(WANTED.to_vec()).to_string();
        assert!(text.starts_with("libstdc++.so.6 and libgomp.so.1 not found on this machine: wheels"), "{text}");
    }
}
