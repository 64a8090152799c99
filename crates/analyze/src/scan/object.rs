//! Judges ELF files: what they import, and what of them compilers do not make.

use super::hit::Hit;
use crate::elf::Object;
use crate::verdict::Verdict;

/// The hits of one file.
pub(super) fn hits(object: &Object) -> Vec<Hit> {
    let is_own = !object.path.starts_with("vendor/");
    let mut hits = Vec::new();
    let mut tell = |rule: &str, own: Verdict, vendor: Verdict, what: String, reason: &str| {
        let verdict = if is_own { own } else { vendor };
        if verdict > Verdict::Clean {
            hits.push(Hit {
                rule: rule.to_owned(),
                verdict,
                path: object.path.clone(),
                place: None,
                what,
                reason: reason.to_owned(),
                how: "Build it from its source with the usual flags of the compiler.".to_owned(),
            });
        }
    };
    let imports = |names: &[&str]| {
        let found = object.imports.iter().map(String::as_str).filter(|name| names.contains(name));
        Some(found.collect::<Vec<_>>().join(", ")).filter(|found| !found.is_empty())
    };
    if let Some(found) =
        imports(&["ptrace", "process_vm_writev", "process_vm_readv", "memfd_create", "fexecve", "execveat"])
    {
        let reason = "It can look into other programs, or run one that lies in memory alone.";
        tell("elf-imports", Verdict::Suspicious, Verdict::Notes, found, reason);
    }
    if let Some(found) =
        imports(&["execve", "execv", "execvp", "execl", "execlp", "posix_spawn", "posix_spawnp", "system", "popen"])
    {
        tell("elf-programs", Verdict::Notes, Verdict::Clean, found, "It starts programs.");
    }
    if object.writable_code {
        let reason = "Memory is both written and run: code that makes code, as packers do.";
        tell(
            "elf-writable-code",
            Verdict::Suspicious,
            Verdict::Notes,
            "a segment is writable and executable".to_owned(),
            reason,
        );
    }
    if object.executable_stack {
        let reason = "What is written to the stack can be run, which makes every overflow a hole.";
        tell("elf-stack", Verdict::Notes, Verdict::Notes, "its stack is executable".to_owned(), reason);
    }
    if let Some(packer) = &object.packer {
        let reason = "Its code is packed, so that it cannot be read before it runs.";
        tell("elf-packed", Verdict::Suspicious, Verdict::Suspicious, packer.clone(), reason);
    }
    if let Some(path) = object.search_paths.iter().flat_map(|paths| paths.split(':')).find(|path| is_foreign(path)) {
        let reason = "It looks for libraries in a folder that is not part of the package.";
        tell("elf-search-path", Verdict::Notes, Verdict::Clean, path.to_owned(), reason);
    }
    hits
}

fn is_foreign(path: &str) -> bool {
    !path.is_empty()
        && !path.starts_with("$ORIGIN")
        && !path.starts_with("${ORIGIN}")
        && !path.starts_with("/usr/lib")
        && !path.starts_with("/lib")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules_of(path: &str, change: impl FnOnce(&mut Object)) -> Vec<(String, Verdict)> {
        let mut object = Object { path: path.to_owned(), imports: vec!["puts".to_owned()], ..Object::default() };
        change(&mut object);
        hits(&object).into_iter().map(|hit| (hit.rule, hit.verdict)).collect()
    }

    #[test]
    fn what_compilers_do_not_make_is_told() {
        assert!(rules_of("main", |object| object.search_paths.push("$ORIGIN/lib:/usr/lib/x".to_owned())).is_empty());
        let found = rules_of("main", |object| {
            object.imports.extend(["ptrace", "execve"].map(str::to_owned));
            object.search_paths.push("$ORIGIN:/tmp/lib".to_owned());
            object.packer = Some("UPX".to_owned());
            (object.writable_code, object.executable_stack) = (true, true);
        });
        let expected = [
            ("elf-imports", Verdict::Suspicious),
            ("elf-programs", Verdict::Notes),
            ("elf-writable-code", Verdict::Suspicious),
            ("elf-stack", Verdict::Notes),
            ("elf-packed", Verdict::Suspicious),
            ("elf-search-path", Verdict::Notes),
        ];
        assert_eq!(found, expected.map(|(rule, verdict)| (rule.to_owned(), verdict)));
        let vendored = rules_of("vendor/a/x.so", |object| object.imports.push("execve".to_owned()));
        assert!(vendored.is_empty(), "{vendored:?}");
    }
}
