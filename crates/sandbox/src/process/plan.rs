//! What is started for a sandbox: the shim as launcher, which becomes bubblewrap, which becomes the shim inside. Pure but
//! for looking at which files this machine has; a snapshot shows the whole of it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::cgroup::{Group, TOP};
use crate::inside::{HOSTNAME, OOM_SCORE, PACKAGE_DIR, ULIMITS, bindings, entrypoint, environment};
use crate::runtime::SHIM;
use crate::{FolderAccess, SandboxSpec};

/// Where the launcher puts what bubblewrap binds, in mounts that nobody else sees. Every machine has this folder.
const STAGE: &str = "/tmp";

/// Descriptors that the launcher makes of its standard input and output.
const SECCOMP_FD: &str = "10";
const INFO_FD: &str = "11";

/// Of the root filesystem, as far as it is there: folders or links.
const ROOT_PARTS: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Of its `/etc`, as far as it is there. Nothing else of it is seen.
const ETC_PARTS: [&str; 4] = ["ssl/certs", "ld.so.cache", "localtime", "alternatives"];

/// Files below `/proc` that tell about the machine, as far as it has them.
const MASKED_FILES: [&str; 11] = [
    "kcore",
    "keys",
    "key-users",
    "latency_stats",
    "timer_list",
    "timer_stats",
    "sched_debug",
    "interrupts",
    "cmdline",
    "kallsyms",
    "kmsg",
];

/// Folders below `/proc` that tell about the machine.
const MASKED_FOLDERS: [&str; 4] = ["acpi", "asound", "scsi", "bus"];

/// What the operator set, and what was found on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// `sandbox.process.python`.
    pub(super) python: String,
    /// `sandbox.process.root`, or `/`.
    pub(super) root: PathBuf,
    /// Where bubblewrap is.
    pub(super) bubblewrap: PathBuf,
    /// `limits.message_bytes`.
    pub(super) message_bytes: usize,
}

/// The command that is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
}

/// Both halves of the command, which are written side by side.
#[derive(Default)]
struct Halves {
    launcher: Vec<OsString>,
    bubblewrap: Vec<OsString>,
    count: usize,
}

/// The command for a sandbox, in its cgroup if there is one.
pub(super) fn plan(spec: &SandboxSpec, settings: &Settings, group: Option<&Group>) -> Plan {
    let mut halves = Halves::new(spec.uid);
    halves.root(&settings.root);
    halves.system(spec.limits.tmp_mb);
    for (name, folder) in group.into_iter().flat_map(|group| &group.folders) {
        halves.launcher.extend(["--cgroup".into(), folder.into()]);
        halves.bind(folder, &format!("{TOP}/{name}"), FolderAccess::ReadOnly, false);
    }
    for binding in bindings(spec) {
        halves.bind(&binding.source, &binding.target, binding.access, binding.is_executable);
    }
    // As Docker does it by itself.
    halves.inside(&["--setenv", "HOSTNAME", HOSTNAME]);
    for variable in environment(spec) {
        let (name, value) = variable.split_once('=').unwrap_or((&variable, ""));
        halves.inside(&["--setenv", name, value]);
    }
    halves.inside(&["--chdir", PACKAGE_DIR, "--seccomp", SECCOMP_FD]);
    let program = entrypoint(spec, &settings.python, settings.message_bytes);
    halves.finish(&spec.runtime.join(SHIM), &settings.bubblewrap, &program)
}

/// A sandbox that holds nothing but the runtime files and ends at once, to see whether this machine can do it.
pub(super) fn trial(uid: u32, runtime: &Path, settings: &Settings) -> Plan {
    let mut halves = Halves::new(uid);
    halves.root(&settings.root);
    halves.system(1);
    halves.bind(runtime, "/opt/plugbay", FolderAccess::ReadOnly, true);
    halves.inside(&["--seccomp", SECCOMP_FD]);
    let program = [settings.python.clone(), "-c".to_owned(), "pass".to_owned()];
    halves.finish(&runtime.join(SHIM), &settings.bubblewrap, &program)
}

impl Halves {
    fn new(uid: u32) -> Self {
        let mut halves = Self::default();
        let number = uid.to_string();
        halves.outside(&["launch", "--uid", &number, "--stage", STAGE, "--oom-score", &OOM_SCORE.to_string()]);
        for (name, value) in ULIMITS {
            halves.outside(&["--limit", &format!("{name}={value}")]);
        }
        // The launcher has left the network already; as its owner is the machine, nobody inside can change it.
        halves.inside(&["--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup"]);
        halves.inside(&["--disable-userns", "--uid", &number, "--gid", &number, "--hostname", HOSTNAME]);
        halves.inside(&["--new-session", "--die-with-parent", "--as-pid-1", "--clearenv"]);
        halves
    }

    fn outside(&mut self, words: &[&str]) {
        self.launcher.extend(words.iter().map(OsString::from));
    }

    fn inside(&mut self, words: &[&str]) {
        self.bubblewrap.extend(words.iter().map(OsString::from));
    }

    /// Shows a file or folder at `target`. The launcher opens it as root, and forbids what is not wanted.
    fn bind(&mut self, source: &Path, target: &str, access: FolderAccess, is_executable: bool) {
        let is_read_only = access == FolderAccess::ReadOnly;
        let flags = format!("{}{}", if is_read_only { "r" } else { "" }, if is_executable { "" } else { "x" });
        let mut binding = OsString::from(format!("{}={flags}=", self.count));
        binding.push(source);
        self.launcher.extend(["--bind".into(), binding]);
        self.staged(target, is_read_only);
    }

    /// A filesystem in memory, without programs, which counts as the plugin's memory.
    fn tmpfs(&mut self, target: &str, options: &str) {
        let name = self.count;
        self.outside(&["--tmpfs", &format!("{name}=mode=1777,{options}")]);
        self.staged(target, false);
    }

    fn staged(&mut self, target: &str, is_read_only: bool) {
        let source = format!("{STAGE}/{}", self.count);
        self.inside(&[if is_read_only { "--ro-bind" } else { "--bind" }, &source, target]);
        self.count += 1;
    }

    /// Programs and libraries.
    fn root(&mut self, root: &Path) {
        for part in ROOT_PARTS {
            let source = root.join(part);
            match source.read_link() {
                Ok(link) => {
                    let target = format!("/{part}");
                    self.bubblewrap.extend(["--symlink".into(), link.into_os_string(), target.into()]);
                }
                Err(_no_link) if source.is_dir() => {
                    self.bind(&source, &format!("/{part}"), FolderAccess::ReadOnly, true);
                }
                Err(_not_there) => {}
            }
        }
        for part in ETC_PARTS {
            let source = root.join("etc").join(part);
            // Links such as localtime lead below /usr, which is another folder inside than outside.
            match source.read_link() {
                Ok(link) if link.is_absolute() => {
                    let target = format!("/etc/{part}");
                    self.bubblewrap.extend(["--symlink".into(), link.into_os_string(), target.into()]);
                }
                Ok(_) | Err(_) if source.exists() => {
                    self.bind(&source, &format!("/etc/{part}"), FolderAccess::ReadOnly, false);
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// `/proc`, `/dev` and what is writable in memory.
    fn system(&mut self, tmp_mb: u64) {
        self.inside(&["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"]);
        let proc = Path::new("/proc");
        for name in MASKED_FILES.iter().filter(|name| proc.join(name).exists()) {
            self.inside(&["--ro-bind", "/dev/null", &format!("/proc/{name}")]);
        }
        for name in MASKED_FOLDERS.iter().filter(|name| proc.join(name).is_dir()) {
            let folder = format!("/proc/{name}");
            self.inside(&["--tmpfs", &folder, "--remount-ro", &folder]);
        }
        self.inside(&["--dev", "/dev"]);
        self.tmpfs("/dev/shm", "size=1m,nr_inodes=1024");
        self.inside(&["--remount-ro", "/dev"]);
        self.tmpfs("/tmp", &format!("size={tmp_mb}m,nr_inodes=4096"));
    }

    fn finish(mut self, launcher: &Path, bubblewrap: &Path, program: &[String]) -> Plan {
        self.inside(&["--remount-ro", "/", "--info-fd", INFO_FD, "--"]);
        let mut arguments = self.launcher;
        arguments.extend(["--".into(), bubblewrap.into()]);
        arguments.append(&mut self.bubblewrap);
        arguments.extend(program.iter().map(OsString::from));
        Plan { program: launcher.to_owned(), arguments }
    }
}

impl Plan {
    /// For people: words that are no text are shown as far as they are.
    pub(super) fn readable(&self) -> Vec<String> {
        let program = String::from_utf8_lossy(self.program.as_os_str().as_bytes()).into_owned();
        let rest = self.arguments.iter().map(|word| String::from_utf8_lossy(word.as_bytes()).into_owned());
        std::iter::once(program).chain(rest).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::testing::spec;
    use crate::{DataMount, DataQuota};

    #[test]
    fn the_whole_command_is_as_reviewed() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["usr", "sbin", "etc/ssl/certs"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        symlink("usr/bin", root.path().join("bin")).unwrap();
        symlink("/usr/share/zoneinfo/Etc/UTC", root.path().join("etc/localtime")).unwrap();
        let settings = Settings {
            bubblewrap: "/usr/bin/bwrap".into(),
            root: root.path().to_owned(),
            python: "/usr/bin/python3".to_owned(),
            message_bytes: 4_194_304,
        };
        let group = Group {
            version: 1,
            folders: vec![("pids".to_owned(), "/sys/fs/cgroup/pids/plugbay/instance-1/session".into())],
        };
        let spec =
            spec().with_network().with_data(DataMount { source: "/run/volumes/1".into(), quota: DataQuota::Hard });
        let mut lines = vec![String::new()];
        for word in plan(&spec, &settings, Some(&group)).readable() {
            let word = word.replace(&*root.path().to_string_lossy(), "ROOT");
            let line = lines.last_mut().unwrap();
            if word.starts_with("--") && !line.is_empty() {
                lines.push(word);
            } else {
                line.push_str(if line.is_empty() { "" } else { " " });
                line.push_str(&word);
            }
        }
        // Which of these files there are is the kernel's affair.
        lines.retain(|line| !line.contains("/dev/null /proc/") && !line.contains("tmpfs /proc/"));
        lines.retain(|line| !line.starts_with("--remount-ro /proc/"));
        insta::assert_snapshot!(lines.join("\n"));
    }
}
