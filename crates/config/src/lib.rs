//! The service's configuration: read once, checked as a whole, and never looked up again.
//!
//! A value comes from a flag, else from `PLUGBAY__SECTION__KEY` in the environment, else from the file, else from its
//! default. The file is the one of `--config`, else of `PLUGBAY_CONFIG`, else `./plugbay.yaml`, else
//! `/etc/plugbay/plugbay.yaml`, else none. `sections/` has each key once. Nothing else reads the environment.

mod choices;
mod docs;
mod environment;
mod error;
mod kind;
mod load;
mod sections;
mod setting;
mod settings;
mod substitute;
#[cfg(test)]
mod tests;
mod values;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

pub use choices::{ChatRecord, EngineChoice, LogFormat, LogLevel};
pub use docs::{config_schema, configuration_page};
pub use environment::Environment;
pub use error::ConfigError;
pub use sections::{
    ApiConfig, BreakerConfig, CallLimits, ChatBudget, ChatConfig, Config, DatabaseConfig, DatabaseLimits, EgressConfig,
    ExternalScanner, FolderConfig, HealthConfig, ImagesConfig, InstallConfig, LoggingConfig, MinIsolation,
    ProcessConfig, ResourcesConfig, SandboxConfig, ScanConfig, SecurityConfig, ServerConfig, StorageConfig,
    UpdateConfig,
};

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
