//! A service in a process of its own, with its folders, and the engine around it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::client::Client;
use super::kind::{choice, clean_up, engine_is_there, running};
use super::served::short_folder;
use super::support::process::Process;

/// `plugbay` on a machine like this one after a shell's command that mounts something. Nothing changes for others.
pub(crate) fn elsewhere(change: &str, arguments: &[&str]) -> Command {
    mounting("private", change, arguments)
}

#[expect(clippy::disallowed_methods, reason = "starts the program under test")]
fn mounting(propagation: &str, change: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("{change} && exec \"$@\"");
    command.args(["--mount", "--propagation", propagation, "sh", "-c", &script, "sh"]);
    command.arg(env!("CARGO_BIN_EXE_plugbay")).args(arguments);
    command
}

/// A service's folders, and the service while it runs.
pub(crate) struct Machine {
    folder: TempDir,
    run_dir: TempDir,
}

impl Machine {
    /// Folders for a service; `None` where the engine may be left out and is.
    pub(crate) fn new() -> Option<Self> {
        engine_is_there().then(|| Self::with_config(""))
    }

    /// Folders for a service with more in its configuration.
    pub(crate) fn with_config(more: &str) -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap(), run_dir: short_folder() };
        let run_dir = machine.run_dir.path().display();
        let config = format!("server: {{ run_dir: {run_dir} }}\nsecurity: {{ signatures: off }}\n{more}");
        fs::write(machine.folder.path().join("plugbay.yaml"), config).unwrap();
        machine
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The configuration file, in the folder of everything else.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("plugbay.yaml")
    }

    pub(crate) fn serve(&self) -> (Process, Client) {
        let config = self.config();
        let process = Process::serve(&self.data(), &config, &["--insecure-dev", "--engine", choice().as_str()]);
        let client = self.client(&process);
        (process, client)
    }

    /// The same where a shell's command has changed what is mounted; see [`elsewhere`].
    pub(crate) fn serve_elsewhere(&self, change: &str) -> (Process, Client) {
        self.serve_mounting("private", change)
    }

    /// The same, and what is mounted in shared folders of the machine is seen there. The command sees to all others.
    pub(crate) fn serve_beside(&self, change: &str) -> (Process, Client) {
        self.serve_mounting("unchanged", change)
    }

    fn serve_mounting(&self, propagation: &str, change: &str) -> (Process, Client) {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--insecure-dev", "--data-dir"];
        let mut command = mounting(propagation, change, &arguments);
        command.arg(self.data()).arg("--config").arg(self.config());
        let process = Process::start(command);
        let client = self.client(&process);
        (process, client)
    }

    fn client(&self, process: &Process) -> Client {
        let token = fs::read_to_string(self.data().join("admin.token")).unwrap();
        Client::new(process.address.parse().unwrap(), token.trim())
    }

    pub(crate) fn instance(&self) -> String {
        fs::read_to_string(self.data().join("instance")).unwrap().trim().to_owned()
    }

    pub(crate) fn run_dir(&self) -> &Path {
        self.run_dir.path()
    }

    /// Folders of sessions; without one, everything that is left.
    pub(crate) fn run_dirs(&self) -> usize {
        let names = fs::read_dir(self.run_dir()).unwrap().map(|entry| entry.unwrap().file_name());
        let names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        match names.iter().filter(|name| name.starts_with("session_")).count() {
            0 => names.len(),
            sessions => sessions,
        }
    }

    /// How many sandboxes of the service run now.
    pub(crate) fn running(&self) -> usize {
        running(&self.instance())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if !self.data().join("instance").exists() {
            return;
        }
        clean_up(&self.instance());
    }
}
