//! The whole service over HTTP, with plugins in real sandboxes.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use plugbay::config::Config;
use serde_json::Value;
use tempfile::TempDir;

use super::bench::docker;
use super::client::{Client, fixture};
use super::kind::{choice, clean_up, engine_is_there, sandboxes};
use super::support::app::{Setup, TestApp};

/// A running service whose sandboxes are gone when its test has ended.
pub(crate) struct Served {
    /// Taken by `end` and `restart`.
    app: Option<TestApp>,
    client: Client,
    /// Short, as paths of sockets must be.
    run_dir: TempDir,
    instance: String,
}

impl Deref for Served {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// A service with this folder for sockets, and the engine of this run.
pub(crate) fn setup(run_dir: &TempDir) -> Setup {
    TestApp::setup().unsigned().with(|config| {
        run_dir.path().clone_into(&mut config.server.run_dir);
        config.sandbox.engine = choice();
    })
}

/// A folder for sockets.
pub(crate) fn short_folder() -> TempDir {
    tempfile::Builder::new().prefix("pb-").tempdir_in("/tmp").unwrap()
}

/// What Docker says of a container.
pub(crate) fn inspect(container: &str) -> Value {
    let text = docker(&["inspect", container]).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[0].take()
}

impl Served {
    /// A service; `None` where the engine may be left out and is.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(|_| {}).await
    }

    /// A service with another configuration.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Option<Self> {
        if !engine_is_there() {
            return None;
        }
        let run_dir = short_folder();
        let setup = setup(&run_dir).with(change);
        Some(Self::of(setup.start().await, run_dir))
    }

    /// A service with one plugin of the tests that runs.
    pub(crate) async fn with(plugin: &str) -> Option<Self> {
        let served = Self::start().await?;
        served.run(&fixture(plugin)).await;
        Some(served)
    }

    pub(crate) fn of(app: TestApp, run_dir: TempDir) -> Self {
        let instance = fs::read_to_string(app.data().join("instance")).unwrap().trim().to_owned();
        let client = Client::new(app.address, &app.token);
        Self { app: Some(app), client, run_dir, instance }
    }

    /// Stops the service and starts it again on what it stored.
    pub(crate) async fn restart(&mut self) {
        let setup = self.stop_service().await;
        let app = setup.start().await;
        self.client = Client::new(app.address, &app.token);
        self.app = Some(app);
    }

    /// Stops the service. None of its sandboxes may be left, and no folder of a session.
    pub(crate) async fn stop_service(&mut self) -> Setup {
        let setup = self.app.take().unwrap().stop().await;
        // Whatever a test did, the log tells of everything that the service wrote.
        let verified = plugbay::startup::verify_audit(&setup.data(), None).await;
        assert!(verified.is_ok(), "{verified:?}");
        assert_eq!(sandboxes(&self.instance), Vec::<String>::new(), "left behind");
        assert_eq!(fs::read_dir(self.run_dir.path()).unwrap().count(), 0, "instance directories are left");
        setup
    }

    /// What every test ends with.
    pub(crate) async fn end(mut self) {
        self.stop_service().await;
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.app.as_ref().unwrap().data()
    }

    pub(crate) fn clock(&self) -> &plugbay::domain::ManualClock {
        self.app.as_ref().unwrap().clock()
    }

    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    pub(crate) fn run_dir(&self) -> &Path {
        self.run_dir.path()
    }
}

/// No sandbox stays, also of a test that failed.
impl Drop for Served {
    fn drop(&mut self) {
        let left = sandboxes(&self.instance);
        clean_up(&self.instance);
        if !std::thread::panicking() {
            assert!(self.app.is_none(), "a test ends with `end`");
            assert_eq!(left, Vec::<String>::new(), "left behind");
        }
    }
}
