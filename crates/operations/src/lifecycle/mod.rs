//! Enable and disable. The answer comes when the plugin is active or has failed.

pub(crate) mod along;

use std::sync::Arc;

use plugbay_domain::{Code, Manifest, Plugin, PluginName, PluginState, PluginStatus, Refusal as _};
use plugbay_fleet::authority::permissions_problem;
use plugbay_fleet::{FirstStart, FleetError, Member, Phase, PluginProblem, STOP_GRACE, authority, engine, supervisor};
use plugbay_registry::{Caller, PluginChange};
use plugbay_store as store;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::lifecycle::along::Asked;
use crate::ready::check_quarantine;
use crate::requires::dependents;
use crate::requires::dependents::Dependents;
use crate::{Service, ServiceError, ceiling, commands, configuration, find, requires, risks, tools, verification};

/// A plugin whose status was changed.
#[derive(Debug)]
pub struct StatusChange {
    /// The plugin.
    pub plugin: Plugin,
    /// What is true now.
    pub state: PluginState,
    /// The status it had.
    pub before: PluginStatus,
    /// Plugins that were changed before it for its sake, in that order.
    pub also: Vec<PluginName>,
}

/// A change of the status.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// It is to run, as this manifest says.
    Enabled(&'a Manifest),
    /// It is not to run; with what the audit log tells beside the version.
    Disabled(Value),
}

/// Starts a plugin and keeps it running from now on, after what it requires. If one of them does not start, everything
/// stays as it was; only while the engine is away the wishes are kept, and fulfilled later.
pub async fn enable(service: &Arc<Service>, caller: &Caller, wanted: &str) -> Result<StatusChange, ServiceError> {
    let plugin = find::find_plugin(service, caller, wanted).await?;
    let change = Box::pin(along::enable_with_required(service, caller, &plugin));
    service.registry.attempt(caller, "plugin.enable_refused", Some(&plugin.name), json!({}), change).await
}

/// What can be told before a plugin is started.
pub(crate) async fn check_ready(
    service: &Service,
    plugin: &Plugin,
    asked: Asked,
) -> Result<Arc<Manifest>, ServiceError> {
    if let Some(quarantine) = &plugin.quarantine {
        check_quarantine(&plugin.name, quarantine)?;
        if asked == Asked::Along {
            let name = &plugin.name;
            let detail = format!("`{name}` is quarantined: {}", quarantine.reason);
            let how = format!("plugbay logs {name} shows why; plugbay enable {name} tries it again");
            return Err(PluginProblem::new(Code::PluginQuarantined, detail).with_how(how).into());
        }
    }
    let installed = service.registry.installed(plugin.clone()).await?;
    let set = store::running::find_limits(&mut *service.store.reader().await?, plugin.id).await?;
    let manifest = installed.manifest()?;
    let standing = installed.standing(service.now())?;
    if let Some(problem) = permissions_problem(&plugin.name, &standing) {
        return Err(problem.into());
    }
    let grants = standing.grants();
    risks::check_open_risks(service, &installed, &manifest, &grants).await?;
    authority::check_resources(&service.fleet, &plugin.name, &grants)?;
    ceiling::check_ceiling(service, &manifest, set)?;
    configuration::check_config(service, &installed).await?;
    // Told before it is started, and again when it is recorded: another may be enabled meanwhile.
    commands::check_commands(service, plugin, &manifest).await?;
    tools::check_names(service, plugin, &manifest).await?;
    Ok(manifest)
}

/// Starts one plugin, whatever it requires.
pub(crate) async fn try_enable(
    service: &Arc<Service>,
    caller: &Caller,
    plugin: &Plugin,
    asked: Asked,
) -> Result<StatusChange, ServiceError> {
    verification::reverify(service, plugin).await?;
    let mut change = find::change(service, caller, plugin).await?;
    let before = change.plugin.status;
    let manifest = check_ready(service, &change.plugin, asked).await?;
    let member = service.fleet.member(plugin.id, &plugin.name);
    member.reset_breaker();
    let started = if member.is_supervised() && before == PluginStatus::Enabled {
        until_active(service, &member).await
    } else {
        let (waiting, started) = oneshot::channel();
        if !supervisor::supervise(&service.fleet, &member, FirstStart::Asked(waiting)) {
            let detail = format!("`{}` is just being started or stopped", plugin.name);
            return Err(PluginProblem::new(Code::PluginRestarting, detail).into());
        }
        let died = || Err(FleetError::TaskDied { name: "plugin.supervisor" });
        started.await.unwrap_or_else(|_dropped| died()).map_err(ServiceError::from)
    };
    let engine_away = matches!(&started, Err(error) if error.code() == Code::EngineUnavailable);
    if let Err(error) = started
        && !engine_away
    {
        return Err(error);
    } else if engine_away || before != PluginStatus::Enabled || change.plugin.quarantine.is_some() {
        change.plugin.enable(service.now());
        let recorded = record_status(service, caller, &mut change, Step::Enabled(&manifest)).await;
        if let Err(error) = recorded {
            member.stop(Instant::now() + STOP_GRACE).await;
            return Err(error);
        }
        if engine_away {
            let mut problem = engine::engine_problem(&service.fleet);
            let (name, why) = (&plugin.name, &problem.detail);
            problem.detail = format!("`{name}` is enabled and starts as soon as the engine answers: {why}");
            return Err(problem.into());
        }
    }
    Ok(StatusChange { plugin: change.plugin, state: member.state(), before, also: Vec::new() })
}

/// Waits for a plugin that runs already, or is just being started again.
async fn until_active(service: &Service, member: &Member) -> Result<(), ServiceError> {
    let mut phase = member.phase();
    let settled = phase.wait_for(|phase| !matches!(phase, Phase::Starting(_)));
    let settled = tokio::time::timeout(service.config.calls.start, settled).await;
    let phase = settled.ok().and_then(Result::ok).map(|phase| phase.clone());
    match phase {
        Some(Phase::Up(_)) => Ok(()),
        Some(Phase::EngineAway) => Err(engine::engine_problem(&service.fleet).into()),
        _ => {
            let name = &member.name;
            let detail = format!("`{name}` is enabled, ended, and is started again");
            let how = format!("plugbay logs {name} shows why; plugbay disable {name} and enable it to try at once");
            Err(PluginProblem::new(Code::PluginRestarting, detail).with_how(how).into())
        }
    }
}

/// Stops a plugin and keeps it stopped. Calls under way may end.
pub async fn disable(
    service: &Arc<Service>,
    caller: &Caller,
    wanted: &str,
    dependents: Dependents,
) -> Result<StatusChange, ServiceError> {
    let plugin = find::find_plugin(service, caller, wanted).await?;
    let mut also = Vec::new();
    if dependents == Dependents::Cascade {
        for dependent in dependents::list_dependents(service, caller, &plugin.name).await? {
            match try_disable(service, caller, &dependent).await {
                Ok(change) if change.before == PluginStatus::Enabled => also.push(dependent.name.clone()),
                // Somebody else was quicker.
                Ok(_) | Err(ServiceError::PluginUnknown { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    let change = try_disable(service, caller, &plugin).await?;
    Ok(StatusChange { also, ..change })
}

async fn try_disable(service: &Arc<Service>, caller: &Caller, plugin: &Plugin) -> Result<StatusChange, ServiceError> {
    let mut change = find::change(service, caller, plugin).await?;
    let before = change.plugin.status;
    if before != PluginStatus::Disabled {
        change.plugin.disable(service.now());
        record_status(service, caller, &mut change, Step::Disabled(json!({}))).await?;
    }
    let member = service.fleet.member(plugin.id, &plugin.name);
    member.stop(Instant::now() + STOP_GRACE).await;
    Ok(StatusChange { plugin: change.plugin, state: member.state(), before, also: Vec::new() })
}

/// Lets calls through to a plugin that failed too often.
pub async fn reset_breaker(service: &Service, caller: &Caller, wanted: &str) -> Result<StatusChange, ServiceError> {
    let plugin = find::find_plugin(service, caller, wanted).await?;
    let member = service.fleet.member(plugin.id, &plugin.name);
    let was_open = member.reset_breaker();
    let detail = json!({"was_open": was_open});
    service.registry.record(caller, "plugin.breaker_reset", Some(&plugin.name), detail).await?;
    let (before, also) = (plugin.status, Vec::new());
    Ok(StatusChange { plugin, state: member.state(), before, also })
}

/// Writes a new status down, if it fits to the plugins that require this one, and to those that it requires.
pub(crate) async fn record_status(
    service: &Service,
    caller: &Caller,
    change: &mut PluginChange<'_>,
    step: Step<'_>,
) -> Result<(), ServiceError> {
    let mut tx = change.begin().await?;
    let (action, mut detail) = match step {
        Step::Enabled(manifest) => {
            commands::claim_commands(service, &mut tx, &change.plugin, manifest).await?;
            tools::claim_names(service, &mut tx, &change.plugin, manifest).await?;
            requires::check_required_in(service, &mut tx, caller, manifest).await?;
            ("plugin.enabled", json!({}))
        }
        Step::Disabled(detail) => {
            dependents::check_unneeded_in(service, &mut tx, caller, &change.plugin.name).await?;
            ("plugin.disabled", detail)
        }
    };
    detail["version"] = json!(change.plugin.serving);
    Ok(change.commit(tx, action, detail).await?)
}
