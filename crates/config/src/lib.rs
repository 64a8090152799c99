//! The service's configuration: read once, checked as a whole, and never looked up again.
//!
//! A value comes from a flag, else from `PLUGBAY__SECTION__KEY` in the environment, else from the file, else from its
//! default. The file is the one of `--config`, else of `PLUGBAY_CONFIG`, else `./plugbay.yaml`, else
//! `/etc/plugbay/plugbay.yaml`, else none. `settings` is the one table of all keys. Nothing else reads the environment.

mod assemble;
mod choices;
mod database_settings;
mod docs;
mod environment;
mod error;
mod kind;
mod load;
mod sandbox_settings;
mod setting;
mod settings;
mod substitute;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

pub use choices::{EngineChoice, LogFormat, LogLevel};
pub use docs::{config_schema, configuration_page};
pub use environment::Environment;
pub use error::ConfigError;

use plugbay_domain::{
    AddressRange, AllowedHost, ArchiveLimits, Isolation, Operation, ResourceCeiling, ResourceLimits, SignaturePolicy,
};

/// The configuration of one service.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from, if there was one.
    pub file: Option<PathBuf>,
    /// Whether the operator gave up safety for convenience, on this machine only.
    pub insecure_dev: bool,
    /// How the service is reached and where it keeps things.
    pub server: ServerConfig,
    /// What plugins get.
    pub sandbox: SandboxConfig,
    /// Whom plugins must be signed by.
    pub security: SecurityConfig,
    /// What archives may weigh.
    pub limits: ArchiveLimits,
    /// What calls may take.
    pub calls: CallLimits,
    /// How plugins are watched.
    pub health: HealthConfig,
    /// When calls are kept from a plugin that only fails.
    pub breaker: BreakerConfig,
    /// How new versions take over.
    pub update: UpdateConfig,
    /// Where plugins may be fetched from.
    pub install: InstallConfig,
    /// What leaves plugins.
    pub egress: EgressConfig,
    /// What plugins can be granted.
    pub resources: ResourcesConfig,
    /// What a statement may take from the operator's databases.
    pub databases: DatabaseLimits,
    /// How full the disk may get.
    pub storage: StorageConfig,
    /// What is logged.
    pub logging: LoggingConfig,
}

/// `server`.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Everything the service keeps.
    pub data_dir: PathBuf,
    /// The sockets of running plugins. Absolute, and short enough for every socket below it.
    pub run_dir: PathBuf,
    /// Further names by which callers may address the service.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Connections at one time.
    pub max_connections: usize,
    /// Archives taken in at one time.
    pub max_uploads: usize,
    /// Longest pause in a request body.
    pub body_timeout: Duration,
    /// Bytes per second below which a body is too slow.
    pub min_body_rate: u64,
    /// How long a connection is kept after an answer.
    pub keep_alive: Duration,
    /// Requests per second and token; 0 for no limit.
    pub requests_per_second: u32,
}

/// `sandbox`.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// What plugins run in.
    pub engine: EngineChoice,
    /// Where Docker listens: `unix://` and a path.
    pub docker_host: String,
    /// Docker's name of the OCI runtime.
    pub runtime: String,
    /// The first uid of plugins.
    pub uid_base: u32,
    /// Sandboxes that are being started at one time.
    pub parallel_starts: usize,
    /// Which images plugins run from.
    pub images: ImagesConfig,
    /// What plugins run in without Docker.
    pub process: ProcessConfig,
    /// What a plugin gets where its manifest is silent.
    pub defaults: ResourceLimits,
    /// The most a manifest may ask for.
    pub ceiling: ResourceCeiling,
}

/// `sandbox.images`.
#[derive(Clone, Debug)]
pub struct ImagesConfig {
    /// Image of the runtime python.
    pub python: String,
}

/// `sandbox.process`.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// Where Python is, below the root.
    pub python: String,
    /// A folder that takes the place of this machine's programs.
    pub root: Option<PathBuf>,
    /// Whether plugins run where nothing can be limited.
    pub allow_without_cgroups: bool,
}

/// What `limits` says about calls.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// Bytes of one message from or to a plugin.
    pub message_bytes: usize,
    /// Calls that wait for one plugin.
    pub queue: usize,
    /// Longest time until a started plugin is ready.
    pub start: Duration,
    /// Calls of all plugins at one time.
    pub in_flight: usize,
    /// Bytes of answers that wait to be read, of all callers.
    pub answer_bytes: usize,
}

/// `update`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpdateConfig {
    /// How long a new version is watched.
    pub watch: Duration,
    /// The share of its calls that it may fail meanwhile.
    pub max_error_rate: f64,
    /// Versions that are kept.
    pub keep_versions: usize,
}

/// `breaker`.
#[derive(Clone, Copy, Debug)]
pub struct BreakerConfig {
    /// Failures in a row that stop calls; none do where this is 0.
    pub failures: u32,
    /// How long calls are stopped.
    pub open: Duration,
}

/// `health`.
#[derive(Clone, Copy, Debug)]
pub struct HealthConfig {
    /// Time between two health questions to a plugin.
    pub interval: Duration,
}

/// `security`.
#[derive(Clone, Copy, Debug)]
pub struct SecurityConfig {
    /// Whether archives must be signed.
    pub signatures: SignaturePolicy,
    /// In what plugins must run at least.
    pub min_isolation: MinIsolation,
}

/// `security.min_isolation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinIsolation {
    /// Plugins without the signature of a trusted key.
    pub unsigned: Isolation,
    /// Plugins with network access.
    pub networked: Isolation,
    /// Every plugin.
    pub all: Isolation,
}

/// `install`.
#[derive(Clone, Debug)]
pub struct InstallConfig {
    /// Hosts that are fetched from although they are private, or plain HTTP.
    pub allow_hosts: Vec<AllowedHost>,
    /// Longest time for a download.
    pub timeout: Duration,
}

/// `egress`.
#[derive(Clone, Debug)]
pub struct EgressConfig {
    /// Hosts that may be reached although they are private, once they were granted by name.
    pub allow_private: Vec<AllowedHost>,
    /// Addresses that count as private although they are public ones.
    pub deny: Vec<AddressRange>,
    /// Where the service itself listens, once it does. No plugin gets there, granted and listed or not.
    pub service: Option<SocketAddr>,
    /// Connections of one plugin at one time.
    pub max_tunnels: usize,
    /// Longest time to resolve a name, and to connect.
    pub connect_timeout: Duration,
    /// How long a connection may carry nothing.
    pub idle: Duration,
    /// How long a connection may last.
    pub tunnel_time: Duration,
    /// Bytes one connection may carry, both directions together.
    pub tunnel_bytes: u64,
    /// Certificates that are trusted beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// Bytes of a body that the service sends or takes for a plugin.
    pub fetch_bytes: usize,
}

/// `resources`, each by the operator's name for it.
#[derive(Clone, Debug, Default)]
pub struct ResourcesConfig {
    /// Databases.
    pub databases: BTreeMap<String, DatabaseConfig>,
    /// Folders.
    pub folders: BTreeMap<String, FolderConfig>,
    /// APIs.
    pub apis: BTreeMap<String, ApiConfig>,
}

/// A database of the operator's.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// `sqlite://` and an absolute path.
    pub url: String,
}

/// A folder of the operator's.
#[derive(Clone, Debug)]
pub struct FolderConfig {
    /// Where it is; absolute.
    pub path: PathBuf,
}

/// An API of the operator's.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// What every path is appended to.
    pub base_url: String,
    /// Sent with every request.
    pub token: Option<SecretString>,
    /// Methods with paths that may be called; nothing when empty.
    pub allow: Vec<Operation>,
}

/// `databases`.
#[derive(Clone, Debug)]
pub struct DatabaseLimits {
    /// Rows of one answer.
    pub rows: usize,
    /// Bytes of one answer.
    pub result_bytes: usize,
    /// Longest time of one request.
    pub time: Duration,
    /// Bytes of memory for one statement.
    pub memory_bytes: u64,
    /// Bytes that a file may grow to.
    pub file_bytes: u64,
    /// Processes at one time.
    pub workers: usize,
    /// How long a process stays without work.
    pub idle: Duration,
    /// What is started as `plugbay db-worker`: this program. Only a test, which is another program, names it.
    pub program: PathBuf,
}

/// `storage`.
#[derive(Clone, Copy, Debug)]
pub struct StorageConfig {
    /// Free bytes below which nothing is installed.
    pub min_free_bytes: u64,
    /// Bytes of keys and values that a plugin may keep.
    pub kv_bytes: u64,
    /// Whether plugins run only where the file system limits their `/data`.
    pub require_hard_quota: bool,
}

/// `logging`.
#[derive(Clone, Copy, Debug)]
pub struct LoggingConfig {
    /// The least severe line that is written.
    pub level: LogLevel,
    /// How lines are written.
    pub format: LogFormat,
}

/// What the flags of `serve` say.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--engine`.
    pub engine: Option<EngineChoice>,
    /// `--insecure-dev`.
    pub insecure_dev: bool,
    /// `--allow-plain-http`.
    pub allow_plain_http: bool,
}

impl Config {
    /// Reads flags, the process's environment and the file.
    pub fn load(overrides: Overrides) -> Result<Self, ConfigError> {
        load::load(overrides, &Environment::of_process())
    }

    /// The same for a service that keeps everything in this folder.
    #[must_use]
    pub fn in_folder(mut self, folder: &Path) -> Self {
        self.server.data_dir = folder.join("data");
        self.server.run_dir = folder.join("run");
        self
    }

    /// The defaults, on a free port of the loopback interface.
    pub fn for_testing(data_dir: &Path) -> Self {
        let overrides = Overrides { data_dir: Some(data_dir.to_owned()), ..Overrides::default() };
        let mut config = load::defaults(overrides);
        config.server.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.storage.min_free_bytes = 0;
        config
    }
}
