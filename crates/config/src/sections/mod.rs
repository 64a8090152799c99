//! One file for each section of the configuration, in which each key stands once.

mod breaker;
mod chat;
mod databases;
mod egress;
mod health;
mod install;
mod limits;
mod logging;
mod resources;
mod sandbox;
mod security;
mod server;
mod storage;
mod update;

pub use breaker::BreakerConfig;
pub use chat::{ChatBudget, ChatConfig};
pub use databases::DatabaseLimits;
pub use egress::EgressConfig;
pub use health::HealthConfig;
pub use install::InstallConfig;
pub use limits::CallLimits;
pub use logging::LoggingConfig;
pub use resources::{ApiConfig, DatabaseConfig, FolderConfig, ResourcesConfig};
pub use sandbox::{ImagesConfig, ProcessConfig, SandboxConfig};
pub use security::{ExternalScanner, MinIsolation, ScanConfig, SecurityConfig};
pub use server::ServerConfig;
pub use storage::StorageConfig;
pub use update::UpdateConfig;

use std::path::PathBuf;

use crate::setting::section;
use plugbay_domain::ArchiveLimits;

section! {
    /// The configuration of one service.
    #[derive(Clone, Debug)]
    pub struct Config at "" {
        sections {
            /// How the service is reached and where it keeps things.
            server: ServerConfig,
            /// What plugins get.
            sandbox: SandboxConfig,
            /// Whom plugins must be signed by.
            security: SecurityConfig,
            /// What archives may weigh.
            limits: ArchiveLimits,
            /// What calls may take.
            calls: CallLimits,
            /// How plugins are watched.
            health: HealthConfig,
            /// When calls are kept from a plugin that only fails.
            breaker: BreakerConfig,
            /// How new versions take over.
            update: UpdateConfig,
            /// Where plugins may be fetched from.
            install: InstallConfig,
            /// What leaves plugins.
            egress: EgressConfig,
            /// What plugins can be granted.
            resources: ResourcesConfig,
            /// How full the disk may get.
            storage: StorageConfig,
            /// What is logged.
            logging: LoggingConfig,
            /// What passes between people and models.
            chat: ChatConfig,
            /// What a statement may take from the operator's databases.
            databases: DatabaseLimits,
        }
        beside {
            /// The file it came from, if there was one.
            file: Option<PathBuf> = None,
            /// Whether the operator gave up safety for convenience, on this machine only.
            insecure_dev: bool = false,
        }
    }
}
