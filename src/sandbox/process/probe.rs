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
use crate::config::ProcessConfig;
use crate::sandbox::SandboxError;

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

/// Looks at everything a sandbox needs, and tries one.
pub(super) async fn probe(asked: Asked<'_>, starter: &Starter, filter: &[u8]) -> Result<Probed, SandboxError> {
    if !rustix::process::geteuid().is_root() {
        return Err(lacks(
            "needs root: without it every plugin would have the service's own user".to_owned(),
            "start the service as root, or use Docker: sandbox.engine: docker",
        ));
    }
    let bubblewrap = find_bubblewrap()?;
    let version = version_of(&bubblewrap).await?;
    let ProcessConfig { python, root, allow_without_cgroups } = asked.config;
    let root = root.clone().unwrap_or_else(|| PathBuf::from("/"));
    let settings = Settings {
        python: python.clone(),
        root: std::path::absolute(&root).unwrap_or(root),
        bubblewrap,
        message_bytes: asked.message_bytes,
    };
    check_python(&settings)?;
    let hierarchies = match Hierarchies::find(asked.instance) {
        Ok(found) => Some(found),
        Err(_) if *allow_without_cgroups => None,
        Err(problem) => {
            return Err(lacks(
                format!("cannot limit memory and processes: {problem}"),
                "start the service where root may make cgroups with the controllers memory, pids and cpu; for development sandbox.process.allow_without_cgroups: true goes without limits",
            ));
        }
    };
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
        return Err(lacks(format!("cannot make a sandbox: {}", one_line(&ended.said)), how));
    }
    Ok(Probed { version, hierarchies, settings })
}

fn lacks(problem: String, how: &'static str) -> SandboxError {
    SandboxError::TooOld { engine: ENGINE, problem, how }
}

fn find_bubblewrap() -> Result<PathBuf, SandboxError> {
    let is_program =
        |path: &PathBuf| path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    let found = FOLDERS.iter().map(|folder| Path::new(folder).join("bwrap")).find(is_program);
    found.ok_or_else(|| lacks("needs bubblewrap, which is not installed".to_owned(), INSTALL))
}

async fn version_of(bubblewrap: &Path) -> Result<String, SandboxError> {
    let mut command = Command::new(bubblewrap);
    command.arg("--version").env_clear().current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|source| SandboxError::Failed {
        engine: ENGINE,
        action: "ask bubblewrap for its version",
        source: source.into(),
    })?;
    read_version(&String::from_utf8_lossy(&output.stdout))
}

fn read_version(text: &str) -> Result<String, SandboxError> {
    let version = text.trim().strip_prefix("bubblewrap ").unwrap_or_default();
    let mut numbers = version.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= OLDEST => Ok(version.to_owned()),
        (Some(Ok(_)), Some(Ok(_))) => {
            let (major, minor) = OLDEST;
            Err(lacks(format!("has bubblewrap {version}, and {major}.{minor} is needed"), INSTALL))
        }
        _ => Err(lacks("cannot tell which bubblewrap this is".to_owned(), INSTALL)),
    }
}

fn check_python(settings: &Settings) -> Result<(), SandboxError> {
    let python = settings.root.join(settings.python.trim_start_matches('/'));
    if python.exists() {
        return Ok(());
    }
    Err(lacks(
        format!("finds no Python at `{}`", python.display()),
        "apt-get install python3, or set sandbox.process.python; with sandbox.process.root, make the folder with docker/python/build.sh --folder DIR",
    ))
}

/// Bubblewrap's words where the kernel refuses the first namespace.
fn is_about_namespaces(said: &str) -> bool {
    ["namespace", "uid map", "--unshare-user", "userns"].iter().any(|word| said.contains(word))
}

fn one_line(text: &str) -> String {
    crate::domain::escape(text.lines().next().unwrap_or("it said nothing"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Code, Refusal as _};

    #[test]
    fn an_old_bubblewrap_is_named() {
        assert_eq!(read_version("bubblewrap 0.8.0\n").unwrap(), "0.8.0");
        assert_eq!(read_version("bubblewrap 1.0").unwrap(), "1.0");
        let error = read_version("bubblewrap 0.4.1\n").unwrap_err();
        assert_eq!((error.code(), error.how().as_deref()), (Code::EngineTooOld, Some(INSTALL)));
        assert!(error.to_string().contains("has bubblewrap 0.4.1, and 0.8 is needed"), "{error}");
        assert!(read_version("what?").is_err());
    }

    #[test]
    fn a_missing_python_is_named_with_its_place() {
        let root = tempfile::tempdir().unwrap();
        let settings = Settings {
            python: "/usr/bin/python3".to_owned(),
            root: root.path().to_owned(),
            bubblewrap: PathBuf::from("/usr/bin/bwrap"),
            message_bytes: 1,
        };
        let error = check_python(&settings).unwrap_err().to_string();
        assert!(error.contains(&format!("no Python at `{}/usr/bin/python3`", root.path().display())), "{error}");
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
