//! From a plugin's rows to the order for its session.

use std::sync::Arc;

use plugbay_domain::{ChatKind, ChatRole, Manifest, ResourceLimits, ResourceRequest, Runtime, SessionId};
use plugbay_protocol::{Initialize, PluginIdentity};
use plugbay_sandbox::{EntryPoint, Network, SandboxSpec};
use plugbay_session::host::{Asker, Host, HostParts, Web};
use plugbay_session::{LaunchOrder, SessionLimits};
use plugbay_store as store;
use serde_json::json;

use crate::{EngineState, Fleet, FleetError, Member, Subject, authority, settings, volumes};

/// The handler of commands, by the name a plugin offers it.
const COMMAND_HANDLER: &str = "on_command";

/// What is sent to start the plugin now.
pub async fn launch_order(fleet: &Fleet, member: &Member, subject: &Subject) -> Result<LaunchOrder, FleetError> {
    let Subject { version, manifest, reach, .. } = subject;
    let grants = reach.grants.load_full();
    let mut tx = fleet.store.begin().await?;
    let override_ = store::running::find_limits(&mut tx, member.id).await?;
    let number = store::running::user_of(&mut tx, member.id).await?;
    tx.commit().await?;
    let uid = uid_base(fleet).saturating_add(number);
    let data = volumes::data_mount(fleet, subject.data).await?;
    let spec = SandboxSpec {
        instance: fleet.instance.clone(),
        session: SessionId::generate(),
        plugin_id: member.id,
        name: member.name.clone(),
        version: version.version.clone(),
        image: fleet.config.sandbox.images.python.clone(),
        uid,
        limits: limits_of(fleet, manifest, override_),
        entry_point: entry_point(manifest),
        package: fleet.data.package(version.digest),
        runtime: fleet.runtime.clone(),
        // The session makes it.
        instance_dir: std::path::PathBuf::new(),
        data: None,
        folders: Vec::new(),
        network: Network::None,
    };
    let spec = if grants.network().is_some() { spec.with_network() } else { spec };
    let spec = authority::folders(fleet, &member.name, &grants)?
        .into_iter()
        .fold(spec.with_data(data), SandboxSpec::with_folder);
    let (config_revision, config) = settings::load_config(fleet, member, reach, version).await?;
    Ok(LaunchOrder {
        initialize: Initialize {
            plugin: PluginIdentity { id: member.id, name: member.name.clone(), version: version.version.clone() },
            config,
            grants: json!(grants.notices()),
            limits: spec.limits,
        },
        spec,
        methods: promised_methods(manifest),
        commands: promised_commands(manifest),
        limits: session_limits(fleet),
        tools: manifest.tools(),
        run_dir: fleet.config.server.run_dir.clone(),
        config_revision,
    })
}

/// The lowest number of a user in sandboxes, which no plugin has.
pub(crate) fn uid_base(fleet: &Fleet) -> u32 {
    match &*fleet.engine_state.borrow() {
        EngineState::Up(info) => info.uid_base,
        EngineState::Unknown | EngineState::Away { .. } => fleet.config.sandbox.uid_base,
    }
}

pub(crate) fn session_limits(fleet: &Fleet) -> SessionLimits {
    SessionLimits {
        message_bytes: fleet.config.calls.message_bytes,
        start: fleet.config.calls.start,
        health_interval: fleet.config.health.interval,
    }
}

/// What host functions work with.
pub(crate) fn host_parts(fleet: &Fleet) -> HostParts {
    HostParts {
        store: fleet.store.clone(),
        clock: Arc::clone(&fleet.clock),
        databases: fleet.databases.clone(),
        denials: Arc::clone(&fleet.denials),
        kv_bytes: fleet.config.storage.kv_bytes,
        uplink: fleet.uplink.clone(),
        web: Web::new(Arc::clone(&fleet.egress), &fleet.config),
        meters: Arc::clone(&fleet.host_meters),
        rush: fleet.rush.clone(),
        stand_in: fleet.stand_in.clone(),
    }
}

/// What the plugin may ask of the service.
pub(crate) fn host(fleet: &Fleet, member: &Member, subject: &Subject) -> Host {
    let asker = Asker {
        id: member.id,
        name: member.name.clone(),
        grants: Arc::clone(&subject.reach.grants),
        secrets: Arc::clone(&subject.reach.secrets),
        exit: Arc::clone(&subject.reach.exit),
        data: subject.data,
    };
    Host::new(asker, host_parts(fleet))
}

/// What a plugin gets: what the operator set for it, else what it asks for, else the defaults.
pub fn limits_of(fleet: &Fleet, manifest: &Manifest, set: ResourceRequest) -> ResourceLimits {
    set.or(&manifest.resources.or(&fleet.config.sandbox.defaults))
}

fn entry_point(manifest: &Manifest) -> EntryPoint {
    let program = manifest.main.clone();
    let hooks = manifest.hooks.iter().map(|hook| hook.name.as_str().to_owned());
    match manifest.runtime {
        Runtime::Python => {
            let mut arguments = vec!["--main".to_owned(), program];
            let flag = |flag: &str, value: &str| [flag.to_owned(), value.to_owned()];
            arguments.extend(manifest.class.iter().flat_map(|class| flag("--class", class)));
            arguments.extend(hooks.flat_map(|hook| flag("--hook", &hook)));
            arguments.extend(manifest.commands.iter().flat_map(|command| flag("--command", &command.name)));
            arguments.extend(manifest.chat.iter().flat_map(|chat| flag("--chat", chat.kind.as_str())));
            EntryPoint::Python { arguments }
        }
        Runtime::Stdio => EntryPoint::Stdio { program },
        Runtime::Exec => {
            let others = promised_methods(manifest).into_iter().filter(|method| method != "execute");
            let methods = std::iter::once("execute".to_owned()).chain(others);
            // Middleware promises neither of its methods: a program is asked for both.
            let is_middleware = manifest.chat.as_ref().is_some_and(|chat| chat.kind == ChatKind::Middleware);
            let both = ChatKind::Middleware.methods().iter().filter(|_| is_middleware);
            let methods = methods.chain(both.map(|method| (*method).to_owned())).collect();
            EntryPoint::Exec { program, methods }
        }
    }
}

/// Methods that the manifest declares and the plugin must offer.
fn promised_methods(manifest: &Manifest) -> Vec<String> {
    let mut methods: Vec<String> = manifest.hooks.iter().map(|hook| hook.name.as_str().to_owned()).collect();
    if !manifest.commands.is_empty() && !methods.iter().any(|method| method == COMMAND_HANDLER) {
        methods.push(COMMAND_HANDLER.to_owned());
    }
    methods.extend(manifest.tool_methods().map(ToOwned::to_owned));
    methods.extend(manifest.chat.iter().flat_map(ChatRole::promised).map(ToOwned::to_owned));
    methods
}

/// Commands that the plugin must name; a program that is started per call names none.
fn promised_commands(manifest: &Manifest) -> Vec<String> {
    match manifest.runtime {
        Runtime::Exec => Vec::new(),
        Runtime::Python | Runtime::Stdio => manifest.commands.iter().map(|command| command.name.clone()).collect(),
    }
}
