//! Programs of the operator's that look at packages. Each runs in a sandbox like a plugin's, with nothing granted, nothing
//! kept and no network, answers once, and is ended.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use plugbay_config::ExternalScanner;
use plugbay_domain::{
    CallId, Chain, DataId, Origin, PluginConfig, PluginId, PluginName, ResourceLimits, SessionId, Tools,
};
use plugbay_egress::MostOut;
use plugbay_protocol::{Initialize, Payload, PluginIdentity};
use plugbay_sandbox::{EntryPoint, Network, SandboxSpec};
use plugbay_session::host::{Asker, Host};
use plugbay_session::{
    CallError, CallOutcome, Delivery, LaunchError, LaunchOrder, NewCall, PluginLog, Session, Surroundings, Time, launch,
};
use semver::Version;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::{Fleet, Reach, order};

/// What every guest is called in logs of the engine.
const NAME: &str = "scanner";

/// The method that it is called for.
const METHOD: &str = "scan";

/// How long it may take, start and end aside.
const SECONDS: u64 = 60;

/// How long it may take to end.
const END: Duration = Duration::from_secs(5);

/// What it gets: programs of this kind read all of a package and compare much.
const LIMITS: ResourceLimits = ResourceLimits {
    memory_mb: 1_024,
    cpus: 1.0,
    cpu_shares: 512,
    pids: 64,
    tmp_mb: 64,
    data_mb: 0,
    timeout_seconds: SECONDS,
    max_concurrency: 1,
    max_streams: 1,
};

/// Has a program look at a package, and gives back what it prints. The error says why there is nothing.
pub async fn ask(fleet: &Fleet, program: &ExternalScanner, package: &Path) -> Result<Box<RawValue>, String> {
    let order = launch_order(fleet, program, package);
    let log = Arc::new(PluginLog::new(fleet.data.log(order.spec.plugin_id), Arc::clone(&fleet.clock)));
    let id = order.spec.session;
    fleet.announce(id);
    let asked = match launch(order, surroundings(fleet, &log), &|_| ()).await {
        Ok(session) => {
            let asked = tokio::select! {
                asked = call(&session) => asked,
                () = fleet.shutdown.stopped() => Err("the service is being stopped".to_owned()),
            };
            session.stop(Instant::now() + END).await;
            asked
        }
        Err(LaunchError::Plugin(failure)) => {
            let last = failure.log_tail.last().map(|line| format!(": {line}")).unwrap_or_default();
            Err(format!("{}{last}", failure.text))
        }
        Err(error) => Err(Chain(&error).to_string()),
    };
    fleet.withdraw(id);
    if let Err(error) = log.remove() {
        tracing::warn!(%error, "What a scanner printed could not be removed");
    }
    asked
}

async fn call(session: &Session) -> Result<Box<RawValue>, String> {
    let nothing = Payload::new(RawValue::NULL).map_err(|error| error.to_string())?;
    let asked = session.begin(NewCall {
        id: CallId::generate(),
        method: METHOD,
        params: ("", &nothing),
        time: Time::Until(Instant::now() + Duration::from_secs(SECONDS)),
        origin: Origin::default(),
        trace: None,
        delivery: Delivery::Whole,
        place: None,
    });
    let answered = match asked {
        Ok(mut running) => running.answer().await,
        Err(error) => Err(error),
    };
    match answered {
        Ok(CallOutcome::Result(answer)) => Ok(answer),
        Ok(CallOutcome::Raised(error)) => Err(error.message),
        Err(CallError::Timeout) => Err(format!("it took more than {SECONDS} seconds")),
        Err(CallError::Ended(end)) => Err(end.text.clone()),
        Err(CallError::NotReading) => Err("it does not read".to_owned()),
        Err(CallError::TooMuch { max_bytes } | CallError::CallerTooSlow { max_bytes }) => {
            Err(format!("it printed more than {max_bytes} bytes"))
        }
    }
}

fn launch_order(fleet: &Fleet, program: &ExternalScanner, package: &Path) -> LaunchOrder {
    let (plugin_id, name, version) = (PluginId::generate(), name(), Version::new(0, 0, 0));
    let spec = SandboxSpec {
        instance: fleet.instance.clone(),
        session: SessionId::generate(),
        plugin_id,
        name: name.clone(),
        version: version.clone(),
        image: program.image.clone().unwrap_or_else(|| fleet.config.sandbox.images.python.clone()),
        // Plugins have the numbers from 1 on.
        uid: order::uid_base(fleet),
        limits: LIMITS,
        entry_point: EntryPoint::Guest { command: program.command.clone(), method: METHOD.to_owned() },
        package: package.to_owned(),
        runtime: fleet.runtime.clone(),
        // The session makes it.
        instance_dir: PathBuf::new(),
        data: None,
        folders: Vec::new(),
        network: Network::None,
    };
    LaunchOrder {
        initialize: Initialize {
            plugin: PluginIdentity { id: plugin_id, name, version },
            config: PluginConfig::default(),
            grants: json!([]),
            limits: LIMITS,
        },
        spec,
        methods: vec![METHOD.to_owned()],
        commands: Vec::new(),
        tools: Tools::default(),
        limits: order::session_limits(fleet),
        run_dir: fleet.config.server.run_dir.clone(),
        config_revision: 0,
    }
}

fn surroundings(fleet: &Fleet, log: &Arc<PluginLog>) -> Surroundings {
    let (id, name) = (PluginId::generate(), name());
    let reach = Reach::new(id, name.clone(), MostOut::NONE);
    let asker = Asker {
        id,
        name,
        grants: Arc::clone(&reach.grants),
        secrets: Arc::clone(&reach.secrets),
        exit: Arc::clone(&reach.exit),
        data: DataId { plugin: id, generation: 0 },
    };
    Surroundings {
        engine: Arc::clone(&fleet.engine),
        log: Arc::clone(log),
        host: Host::new(asker, order::host_parts(fleet)),
        clock: Arc::clone(&fleet.clock),
        shutdown: fleet.shutdown.clone(),
        data: None,
    }
}

fn name() -> PluginName {
    NAME.parse().expect("it is a name")
}
