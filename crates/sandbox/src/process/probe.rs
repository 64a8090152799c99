//! Whether this machine can run sandboxes without Docker. Each thing that is missing has a name and a fix; nothing is
//! replaced by something weaker without a word.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::ENGINE;
use super::cgroup::Hierarchies;
use super::plan::{Settings, trial};
use super::running::{Starter, run};
use crate::SandboxError;
use plugbay_config::ProcessConfig;

/// Where bubblewrap is looked for. Never in the service's own PATH, which somebody else may have set.
const FOLDERS: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/bin"];

/// The first bubblewrap that can forbid further user namespaces.
const OLDEST: (u32, u32) = (0, 8);

const INSTALL: &str = "apt-get install bubblewrap";

/// What was found.
#[derive(Debug)]
pub(super) struct Probed {
    pub(super) version: String,
    /// `None` where the operator allows to run without.
    pub(super) hierarchies: Option<Hierarchies>,
    pub(super) settings: Settings,
}

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) instance: &'a str,
    pub(super) config: &'a ProcessConfig,
    pub(super) runtime: &'a Path,
    pub(super) uid_base: u32,
    pub(super) message_bytes: usize,
}

/// Something that this machine lacks.
#[derive(Debug, PartialEq, Eq)]
struct Lack {
    problem: String,
    how: &'static str,
}

fn lack(problem: impl Into<String>, how: &'static str) -> Lack {
    Lack { problem: problem.into(), how }
}

/// Everything at once: whoever installs one thing should not be told of the next only afterwards.
fn refusal(lacks: &[Lack]) -> SandboxError {
    let joined = |part: fn(&Lack) -> &str| lacks.iter().map(part).collect::<Vec<_>>().join("; ");
    SandboxError::TooOld { engine: ENGINE, problem: joined(|lack| &lack.problem), how: joined(|lack| lack.how) }
}

/// Looks at everything a sandbox needs, and tries one.
pub(super) async fn probe(asked: Asked<'_>, starter: &Starter, filter: &[u8]) -> Result<Probed, SandboxError> {
    let ProcessConfig { python, root, allow_without_cgroups } = asked.config;
    let root = root.clone().unwrap_or_else(|| PathBuf::from("/"));
    let root = std::path::absolute(&root).unwrap_or(root);
    let bubblewrap = match find_bubblewrap() {
        Ok(path) => version_of(&path).await.map(|version| (path, version)),
        Err(lack) => Err(lack),
    };
    let python_found = check_python(&root, python);
    let hierarchies = check_root().and_then(|()| find_cgroups(asked.instance, *allow_without_cgroups));
    let (bubblewrap, version, hierarchies) = match (hierarchies, bubblewrap, python_found) {
        (Ok(hierarchies), Ok((bubblewrap, version)), Ok(())) => (bubblewrap, version, hierarchies),
        (hierarchies, bubblewrap, python) => {
            let lacks = [hierarchies.err(), bubblewrap.err(), python.err()];
            return Err(refusal(&lacks.into_iter().flatten().collect::<Vec<_>>()));
        }
    };
    let settings = Settings { python: python.clone(), root, bubblewrap, message_bytes: asked.message_bytes };
    // The highest number is nobody's: plugins are counted upwards from the base.
    let plan = trial(asked.uid_base, asked.runtime, &settings);
    let ended = run(starter, &plan, filter).await.map_err(|source| SandboxError::Failed {
        engine: ENGINE,
        action: "try a sandbox",
        source: source.into(),
    })?;
    if !ended.status.success() {
        let how = if is_about_namespaces(&ended.said) {
            "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000 kernel.apparmor_restrict_unprivileged_userns=0"
        } else {
            "run the service on the machine itself, or in a container that may make namespaces and mounts"
        };
        return Err(refusal(&[lack(format!("cannot make a sandbox: {}", one_line(&ended.said)), how)]));
    }
    Ok(Probed { version, hierarchies, settings })
}

fn check_root() -> Result<(), Lack> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(lack(
        "needs root: without it every plugin would have the service's own user",
        "start the service as root, or use Docker: sandbox.engine: docker",
    ))
}

/// The cgroups of this service; `None` where the operator goes without.
fn find_cgroups(instance: &str, may_be_without: bool) -> Result<Option<Hierarchies>, Lack> {
    match Hierarchies::find(instance) {
        Ok(found) => Ok(Some(found)),
        Err(_) if may_be_without => Ok(None),
        Err(problem) => Err(lack(
            format!("cannot limit memory and processes: {problem}"),
            "start the service where root may make cgroups with the controllers memory, pids and cpu; for development sandbox.process.allow_without_cgroups: true goes without limits",
        )),
    }
}

fn find_bubblewrap() -> Result<PathBuf, Lack> {
    let is_program =
        |path: &PathBuf| path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    let found = FOLDERS.iter().map(|folder| Path::new(folder).join("bwrap")).find(is_program);
    found.ok_or_else(|| lack("needs bubblewrap, which is not installed", INSTALL))
}

async fn version_of(bubblewrap: &Path) -> Result<String, Lack> {
    let mut command = Command::new(bubblewrap);
    command.arg("--version").env_clear().current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
    match command.output().await {
        Ok(output) => read_version(&String::from_utf8_lossy(&output.stdout)),
        Err(error) => Err(lack(format!("cannot start `{}`: {error}", bubblewrap.display()), INSTALL)),
    }
}

fn read_version(text: &str) -> Result<String, Lack> {
    let version = text.trim().strip_prefix("bubblewrap ").unwrap_or_default();
    let mut numbers = version.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= OLDEST => Ok(version.to_owned()),
        (Some(Ok(_)), Some(Ok(_))) => {
            let (major, minor) = OLDEST;
            Err(lack(format!("has bubblewrap {version}, and {major}.{minor} is needed"), INSTALL))
        }
        _ => Err(lack("cannot tell which bubblewrap this is", INSTALL)),
    }
}

fn check_python(root: &Path, python: &str) -> Result<(), Lack> {
    let python = root.join(python.trim_start_matches('/'));
    if python.exists() {
        return Ok(());
    }
    Err(lack(
        format!("finds no Python at `{}`", python.display()),
        "apt-get install python3, or set sandbox.process.python; with sandbox.process.root, make the folder with docker/python/build.sh --folder DIR",
    ))
}

/// Bubblewrap's words where the kernel refuses the first namespace.
fn is_about_namespaces(said: &str) -> bool {
    ["namespace", "uid map", "--unshare-user", "userns"].iter().any(|word| said.contains(word))
}

fn one_line(text: &str) -> String {
    plugbay_domain::escape(text.lines().next().unwrap_or("it said nothing"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugbay_domain::{Code, Refusal as _};

    #[test]
    fn an_old_bubblewrap_is_named() {
        assert_eq!(read_version("bubblewrap 0.8.0\n").unwrap(), "0.8.0");
        assert_eq!(read_version("bubblewrap 1.0").unwrap(), "1.0");
        let wanted = lack("has bubblewrap 0.4.1, and 0.8 is needed", INSTALL);
        assert_eq!(read_version("bubblewrap 0.4.1\n").unwrap_err(), wanted);
        assert!(read_version("what?").is_err());
    }

    #[test]
    fn everything_that_is_missing_is_told_at_once() {
        let root = tempfile::tempdir().unwrap();
        let python = check_python(root.path(), "/usr/bin/python3").unwrap_err();
        let error = refusal(&[lack("needs bubblewrap, which is not installed", INSTALL), python]);
        assert_eq!(error.code(), Code::EngineTooOld);
        let text = error.to_string();
        let place = format!("no Python at `{}/usr/bin/python3`", root.path().display());
        assert!(text.contains("needs bubblewrap") && text.contains(&place), "{text}");
        let how = error.how().unwrap();
        assert!(how.contains(INSTALL) && how.contains("apt-get install python3"), "{how}");
    }

    #[test]
    fn what_the_kernel_refuses_is_told_apart() {
        assert!(is_about_namespaces(
            "bwrap: No permissions to create new namespace, likely because the kernel does not"
        ));
        assert!(is_about_namespaces("bwrap: setting up uid map: Permission denied"));
        assert!(!is_about_namespaces("shim: launch: cannot leave the machine's mounts: Operation not permitted"));
    }
}
