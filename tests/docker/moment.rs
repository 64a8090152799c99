//! `plugbay test`, which is a service for a moment, killed in the middle: whoever starts next removes what it left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use plugbay::domain::Isolation;

use super::bench::PATIENCE;
use super::client::{example, fixture};
use super::kind::{choice, clean_up, engine_is_there, kind, processes, running, sandboxes};
use super::support::process::until;

/// The killed one, and what is left of it.
struct Killed {
    child: Child,
    instance: String,
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        clean_up(&self.instance);
    }
}

#[expect(clippy::disallowed_methods, reason = "starts the program under test")]
fn command(temporary: &Path, plugin: &Path, context: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plugbay"));
    command.args(["test", "--context", context]).arg(plugin).current_dir(temporary).env("TMPDIR", temporary);
    command.env("PLUGBAY__SANDBOX__ENGINE", choice().as_str());
    command
}

/// Folders of services for a moment.
fn folders(temporary: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(temporary).unwrap().map(|entry| entry.unwrap().path());
    found.filter(|path| path.join("data/instance").exists()).collect()
}

fn mounts(instance: &str) -> usize {
    fs::read_to_string("/proc/self/mountinfo").unwrap().lines().filter(|line| line.contains(instance)).count()
}

#[test]
fn what_a_killed_trial_leaves_is_removed_by_the_next() {
    if !engine_is_there() {
        return;
    }
    let temporary = tempfile::Builder::new().prefix("pt-").tempdir_in("/tmp").unwrap();
    let package = temporary.path().join("slow");
    fs::create_dir(&package).unwrap();
    fs::copy(fixture("probe").join("plugin.yaml"), package.join("plugin.yaml")).unwrap();
    let main = "import time\nclass Probe:\n    def execute(self, context):\n        time.sleep(25)\n";
    fs::write(package.join("main.py"), main).unwrap();
    let mut command = command(temporary.path(), &package, "{}");
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut killed = Killed { child, instance: String::new() };
    until("it runs", PATIENCE, || {
        let instance =
            folders(temporary.path()).first().and_then(|path| fs::read_to_string(path.join("data/instance")).ok());
        instance.is_some_and(|instance| {
            instance.trim().clone_into(&mut killed.instance);
            // Shim and plugin, and bubblewrap.
            let all = if kind() == Isolation::Docker { 2 } else { 3 };
            sandboxes(&killed.instance).iter().any(|sandbox| processes(&killed.instance, sandbox).len() >= all)
        })
    });
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    let is_root = rustix::process::geteuid().is_root();
    until("its plugin ends with it", PATIENCE, || running(&killed.instance) == 0);
    assert_eq!((folders(temporary.path()).len(), sandboxes(&killed.instance).len()), (1, 1));
    assert_eq!(mounts(&killed.instance), usize::from(is_root));

    let output = self::command(temporary.path(), &example("echo"), "{}").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((sandboxes(&killed.instance), mounts(&killed.instance)), (Vec::new(), 0));
    assert_eq!(folders(temporary.path()), Vec::<PathBuf>::new());
}
