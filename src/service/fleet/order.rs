//! From a plugin's rows to the order for its session.

use std::sync::Arc;

use serde_json::json;

use super::{EngineState, Member, Subject};
use crate::domain::{Manifest, ResourceLimits, ResourceRequest, Runtime, SessionId};
use crate::host::{Asker, Host, HostParts, Web};
use crate::protocol::{Initialize, PluginIdentity};
use crate::sandbox::{EntryPoint, Network, SandboxSpec};
use crate::service::{Service, ServiceError};
use crate::session::{LaunchOrder, SessionLimits};
use crate::store;

/// The handler of commands, by the name a plugin offers it.
const COMMAND_HANDLER: &str = "on_command";

impl Service {
    /// What is sent to start the plugin now.
    pub(in crate::service) async fn launch_order(
        &self,
        member: &Member,
        subject: &Subject,
    ) -> Result<LaunchOrder, ServiceError> {
        let Subject { version, manifest, reach, .. } = subject;
        let grants = reach.grants.load_full();
        let mut tx = self.store.begin().await?;
        let override_ = store::running::find_limits(&mut tx, member.id).await?;
        let number = store::running::user_of(&mut tx, member.id).await?;
        tx.commit().await?;
        let uid_base = match &*self.fleet.engine_state.borrow() {
            EngineState::Up(info) => info.uid_base,
            EngineState::Unknown | EngineState::Away { .. } => self.config.sandbox.uid_base,
        };
        let uid = uid_base.saturating_add(number);
        let data = self.data_mount(subject.data).await?;
        let spec = SandboxSpec {
            instance: self.fleet.instance.clone(),
            session: SessionId::generate(),
            plugin_id: member.id,
            name: member.name.clone(),
            version: version.version.clone(),
            image: self.config.sandbox.images.python.clone(),
            uid,
            limits: self.limits_of(manifest, override_),
            entry_point: entry_point(manifest),
            package: self.data.package(version.digest),
            runtime: self.fleet.runtime.clone(),
            // The session makes it.
            instance_dir: std::path::PathBuf::new(),
            data: None,
            folders: Vec::new(),
            network: Network::None,
        };
        let spec = if grants.network().is_some() { spec.with_network() } else { spec };
        let spec =
            self.folders(&member.name, &grants)?.into_iter().fold(spec.with_data(data), SandboxSpec::with_folder);
        let (config_revision, config) = self.load_config(member, reach, version).await?;
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
            limits: SessionLimits {
                message_bytes: self.config.calls.message_bytes,
                start: self.config.calls.start,
                health_interval: self.config.health.interval,
            },
            run_dir: self.config.server.run_dir.clone(),
            config_revision,
        })
    }

    /// What the plugin may ask of the service.
    pub(in crate::service) fn host(&self, member: &Member, subject: &Subject) -> Host {
        let parts = HostParts {
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            databases: self.databases.clone(),
            denials: Arc::clone(&self.denials),
            kv_bytes: self.config.storage.kv_bytes,
            uplink: self.uplink.clone(),
            web: Web::new(Arc::clone(&self.egress), &self.config),
            meters: Arc::clone(&self.fleet.host_meters),
            rush: self.fleet.rush.clone(),
            stand_in: self.stand_in.clone(),
        };
        let asker = Asker {
            id: member.id,
            name: member.name.clone(),
            grants: Arc::clone(&subject.reach.grants),
            secrets: Arc::clone(&subject.reach.secrets),
            exit: Arc::clone(&subject.reach.exit),
            data: subject.data,
        };
        Host::new(asker, parts)
    }

    /// What a plugin gets: what the operator set for it, else what it asks for, else the defaults.
    pub(in crate::service) fn limits_of(&self, manifest: &Manifest, set: ResourceRequest) -> ResourceLimits {
        set.or(&manifest.resources.or(&self.config.sandbox.defaults))
    }
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
            EntryPoint::Python { arguments }
        }
        Runtime::Stdio => EntryPoint::Stdio { program },
        Runtime::Exec => {
            let methods = std::iter::once("execute".to_owned()).chain(promised_methods(manifest)).collect();
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
    methods
}

/// Commands that the plugin must name; a program that is started per call names none.
fn promised_commands(manifest: &Manifest) -> Vec<String> {
    match manifest.runtime {
        Runtime::Exec => Vec::new(),
        Runtime::Python | Runtime::Stdio => manifest.commands.iter().map(|command| command.name.clone()).collect(),
    }
}
