//! A service inside this process, for one plugin and a moment.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::fake_host;
use crate::cli::Context;
use crate::cli::client::Connection;
use crate::cli::failure::{Failure, Local};
use crate::config::{Config, LogLevel, Overrides};
use crate::domain::{Manifest, SignaturePolicy};
use crate::startup::{HostStandIn, Running, StartupError, momentary_folder};
use crate::telemetry;
use crate::wire::System;

/// How often the service is asked whether it is ready, and how many times.
const READY_TICK: Duration = Duration::from_millis(100);
const READY_TRIES: u32 = 100;

/// The service, with the way to it.
pub(super) struct Service {
    pub(super) connection: Connection,
    runtime: Runtime,
    shutdown: Box<dyn Fn()>,
    task: JoinHandle<Result<(), StartupError>>,
    /// Everything that it keeps; removed with it.
    _folder: TempDir,
}

impl Service {
    /// Starts it with the configuration of this machine's service, if there is one, but on a free port and in a folder
    /// of its own. Resources are made for what the plugin asks for; those of this machine are left alone.
    pub(super) fn start(manifest: &Manifest, stand_in: Arc<HostStandIn>, context: &Context) -> Result<Self, Failure> {
        let folder = momentary_folder().map_err(|error| Failure::io("make a temporary folder", &error))?;
        let mut config = config(folder.path())?;
        config.resources = fake_host::resources(manifest, folder.path())?;
        telemetry::init(config.logging);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::io("start the runtime", &error))?;
        let token = config.server.data_dir.join("admin.token");
        let running = runtime.block_on(Running::start_trial(config, stand_in))?;
        let url = format!("http://{}", running.address());
        let shutdown = running.shutdown();
        let task = runtime.spawn(running.run());
        let token = std::fs::read_to_string(&token).map_err(|error| Failure::read(&token, &error))?;
        let connection = Connection::to(&url, Some(SecretString::from(token.trim())), context)?.without_warning();
        Ok(Self { connection, runtime, shutdown: Box::new(move || shutdown.stop()), task, _folder: folder })
    }

    /// Waits until it can run plugins; what it lacks is the failure.
    pub(super) fn wait_until_ready(&self) -> Result<(), Failure> {
        let mut missing = Vec::new();
        for _ in 0..READY_TRIES {
            let system: System = self.connection.get("/api/system")?;
            missing = system.doctor.into_iter().filter(|check| !check.is_fine()).collect();
            // What is being looked at has no way out yet, because nobody has to do anything.
            if missing.is_empty() || missing.iter().any(|check| check.how.is_some()) {
                break;
            }
            self.connection.pause(READY_TICK)?;
        }
        let Some(first) = missing.into_iter().next() else { return Ok(()) };
        let how = first.how.unwrap_or_else(|| "--no-sandbox runs only the plugin's own tests".to_owned());
        Err(Failure::local(
            Local::Failed,
            format!("no sandbox on this machine: {}: {}", first.check, first.detail),
            how,
        ))
    }

    /// Stops it and removes everything that it kept.
    pub(super) fn stop(self) -> Result<(), Failure> {
        (self.shutdown)();
        let ended = self.runtime.block_on(self.task);
        self.runtime.shutdown_background();
        match ended {
            Ok(ended) => Ok(ended?),
            Err(panic) => Err(Failure::local(Local::Failed, panic.to_string(), "report this")),
        }
    }
}

fn config(folder: &Path) -> Result<Config, Failure> {
    let listen = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let overrides = Overrides { listen, insecure_dev: true, ..Overrides::default() };
    let mut config = Config::load(overrides)?.in_folder(folder);
    config.security.signatures = SignaturePolicy::Off;
    config.storage.min_free_bytes = 0;
    // What the plugin does is told by its own log; the service's shows what is wrong with the service.
    config.logging.level = LogLevel::Error;
    Ok(config)
}
