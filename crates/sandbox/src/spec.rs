//! What a sandbox must be. Starts fully closed; each opening is a method that says what it gives away.

use std::path::PathBuf;

use semver::Version;

use super::DataMount;
use plugbay_domain::{FolderAccess, PluginId, PluginName, ResourceLimits, SessionId};

/// What the shim starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryPoint {
    /// The runner of the SDK with these arguments; the socket is fd 3.
    Python {
        /// Arguments of the runner.
        arguments: Vec<String>,
    },
    /// A program of the package that speaks the protocol on fd 0 and 1.
    Stdio {
        /// Its path below the package.
        program: String,
    },
    /// A program of the package, started for each call.
    Exec {
        /// Its path below the package.
        program: String,
        /// Methods it is called for.
        methods: Vec<String>,
    },
    /// A program of the operator's that looks at a package, started for each call. What it ends with is its own business
    /// as long as it prints an answer: programs that search end with an error when they find something.
    Guest {
        /// The program, as it is found inside, and its arguments.
        command: Vec<String>,
        /// The method it is called for.
        method: String,
    },
}

/// A folder of the operator's, granted to a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderMount {
    /// It appears as `/mnt/<name>`.
    pub name: String,
    /// Where it is on the machine.
    pub source: PathBuf,
    /// What may be done in it.
    pub access: FolderAccess,
}

/// How a sandbox reaches other hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Not at all: there is nothing but its own loopback.
    #[default]
    None,
    /// There is nothing but its own loopback either; the shim carries names and connections to the service.
    Proxied,
}

/// A sandbox as it must be: no network, nothing writable but `/tmp`, no capabilities, nothing of the machine but what
/// stands here.
#[derive(Clone, Debug, PartialEq)]
pub struct SandboxSpec {
    /// The service it belongs to.
    pub instance: String,
    /// The session it runs.
    pub session: SessionId,
    /// The plugin.
    pub plugin_id: PluginId,
    /// Its name.
    pub name: PluginName,
    /// Its version.
    pub version: Version,
    /// The image by the name the operator gave it.
    pub image: String,
    /// User and group inside.
    pub uid: u32,
    /// What it gets.
    pub limits: ResourceLimits,
    /// What is started.
    pub entry_point: EntryPoint,
    /// The unpacked package, read-only at `/plugin`.
    pub package: PathBuf,
    /// Shim and SDK, read-only at `/opt/plugbay`.
    pub runtime: PathBuf,
    /// Sockets and nonce, read-only at `/run/plugbay`.
    pub instance_dir: PathBuf,
    /// What the plugin keeps, writable at `/data`; see [`SandboxSpec::with_data`].
    pub data: Option<DataMount>,
    /// Granted folders; see [`SandboxSpec::with_folder`].
    pub folders: Vec<FolderMount>,
    /// The way to other hosts; see [`SandboxSpec::with_network`].
    pub network: Network,
}

impl SandboxSpec {
    /// Opens `/data`: the plugin keeps what it writes there, and fills the disk below up to its quota.
    #[must_use]
    pub fn with_data(mut self, data: DataMount) -> Self {
        self.data = Some(data);
        self
    }

    /// Opens the way to the service's `egress.sock`: what the service lets through leaves, and comes back. The sandbox
    /// itself gets no network.
    #[must_use]
    pub fn with_network(mut self) -> Self {
        self.network = Network::Proxied;
        self
    }

    /// Opens one folder of the machine: everything below it can be read, and with [`FolderAccess::ReadWrite`] changed.
    #[must_use]
    pub fn with_folder(mut self, folder: FolderMount) -> Self {
        self.folders.push(folder);
        self
    }
}
