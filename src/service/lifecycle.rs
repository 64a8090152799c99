//! Enable and disable. The answer comes when the plugin is active or has failed.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::approval::permissions_problem;
use super::fleet::{EngineState, FirstStart, Member, Phase, STOP_GRACE};
use super::requires::Asked;
use super::{Caller, Dependents, PluginProblem, Service, ServiceError};
use crate::domain::{
    Code, Manifest, Plugin, PluginName, PluginState, PluginStatus, Quarantine, QuarantineReason, Refusal as _,
};
use crate::registry::PluginChange;
use crate::store;

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
pub(super) enum Step<'a> {
    /// It is to run, as this manifest says.
    Enabled(&'a Manifest),
    /// It is not to run; with what the audit log tells beside the version.
    Disabled(Value),
}

impl Service {
    /// Starts a plugin and keeps it running from now on, after what it requires. If one of them does not start, everything
    /// stays as it was; only while the engine is away the wishes are kept, and fulfilled later.
    pub async fn enable(self: &Arc<Self>, caller: &Caller, wanted: &str) -> Result<StatusChange, ServiceError> {
        let plugin = self.find_plugin(caller, wanted).await?;
        let change = Box::pin(self.enable_with_required(caller, &plugin));
        self.registry.attempt(caller, "plugin.enable_refused", Some(&plugin.name), json!({}), change).await
    }

    /// What can be told before a plugin is started.
    pub(super) async fn check_ready(&self, plugin: &Plugin, asked: Asked) -> Result<Arc<Manifest>, ServiceError> {
        if let Some(quarantine) = &plugin.quarantine {
            check_quarantine(&plugin.name, quarantine)?;
            if asked == Asked::Along {
                let name = &plugin.name;
                let detail = format!("`{name}` is quarantined: {}", quarantine.reason);
                let how = format!("plugbay logs {name} shows why; plugbay enable {name} tries it again");
                return Err(PluginProblem::new(Code::PluginQuarantined, detail).with_how(how).into());
            }
        }
        let installed = self.registry.installed(plugin.clone()).await?;
        let set = store::running::find_limits(&mut *self.store.reader().await?, plugin.id).await?;
        let manifest = installed.manifest()?;
        let standing = installed.standing(self.now())?;
        if let Some(problem) = permissions_problem(&plugin.name, &standing) {
            return Err(problem.into());
        }
        let grants = standing.grants();
        self.check_open_risks(&installed, &manifest, &grants).await?;
        self.check_resources(&plugin.name, &grants)?;
        self.check_ceiling(&manifest, set)?;
        self.check_config(&installed).await?;
        // Told before it is started, and again when it is recorded: another may be enabled meanwhile.
        self.check_commands(plugin, &manifest).await?;
        Ok(manifest)
    }

    /// Starts one plugin, whatever it requires.
    pub(super) async fn try_enable(
        self: &Arc<Self>,
        caller: &Caller,
        plugin: &Plugin,
        asked: Asked,
    ) -> Result<StatusChange, ServiceError> {
        self.reverify(plugin).await?;
        let mut change = self.change(caller, plugin).await?;
        let before = change.plugin.status;
        let manifest = self.check_ready(&change.plugin, asked).await?;
        let member = self.member(plugin.id, &plugin.name);
        member.reset_breaker();
        let started = if member.is_supervised() && before == PluginStatus::Enabled {
            self.until_active(&member).await
        } else {
            let (waiting, started) = oneshot::channel();
            if !self.supervise(&member, FirstStart::Asked(waiting)) {
                let detail = format!("`{}` is just being started or stopped", plugin.name);
                return Err(PluginProblem::new(Code::PluginRestarting, detail).into());
            }
            started.await.unwrap_or(Err(ServiceError::TaskDied { name: "plugin.supervisor" }))
        };
        let engine_away = matches!(&started, Err(error) if error.code() == Code::EngineUnavailable);
        if let Err(error) = started
            && !engine_away
        {
            return Err(error);
        } else if engine_away || before != PluginStatus::Enabled || change.plugin.quarantine.is_some() {
            change.plugin.enable(self.now());
            let recorded = self.record_status(caller, &mut change, Step::Enabled(&manifest)).await;
            if let Err(error) = recorded {
                member.stop(Instant::now() + STOP_GRACE).await;
                return Err(error);
            }
            if engine_away {
                let mut problem = self.engine_problem();
                let (name, why) = (&plugin.name, &problem.detail);
                problem.detail = format!("`{name}` is enabled and starts as soon as the engine answers: {why}");
                return Err(problem.into());
            }
        }
        Ok(StatusChange { plugin: change.plugin, state: member.state(), before, also: Vec::new() })
    }

    /// Waits for a plugin that runs already, or is just being started again.
    async fn until_active(&self, member: &Member) -> Result<(), ServiceError> {
        let mut phase = member.phase();
        let settled = phase.wait_for(|phase| !matches!(phase, Phase::Starting(_)));
        let settled = tokio::time::timeout(self.config.calls.start, settled).await;
        let phase = settled.ok().and_then(Result::ok).map(|phase| phase.clone());
        match phase {
            Some(Phase::Up(_)) => Ok(()),
            Some(Phase::EngineAway) => Err(self.engine_problem().into()),
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
        self: &Arc<Self>,
        caller: &Caller,
        wanted: &str,
        dependents: Dependents,
    ) -> Result<StatusChange, ServiceError> {
        let plugin = self.find_plugin(caller, wanted).await?;
        let mut also = Vec::new();
        if dependents == Dependents::Cascade {
            for dependent in self.list_dependents(caller, &plugin.name).await? {
                match self.try_disable(caller, &dependent).await {
                    Ok(change) if change.before == PluginStatus::Enabled => also.push(dependent.name.clone()),
                    // Somebody else was quicker.
                    Ok(_) | Err(ServiceError::PluginUnknown { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let change = self.try_disable(caller, &plugin).await?;
        Ok(StatusChange { also, ..change })
    }

    async fn try_disable(self: &Arc<Self>, caller: &Caller, plugin: &Plugin) -> Result<StatusChange, ServiceError> {
        let mut change = self.change(caller, plugin).await?;
        let before = change.plugin.status;
        if before != PluginStatus::Disabled {
            change.plugin.disable(self.now());
            self.record_status(caller, &mut change, Step::Disabled(json!({}))).await?;
        }
        let member = self.member(plugin.id, &plugin.name);
        member.stop(Instant::now() + STOP_GRACE).await;
        Ok(StatusChange { plugin: change.plugin, state: member.state(), before, also: Vec::new() })
    }

    /// Lets calls through to a plugin that failed too often.
    pub async fn reset_breaker(&self, caller: &Caller, wanted: &str) -> Result<StatusChange, ServiceError> {
        let plugin = self.find_plugin(caller, wanted).await?;
        let member = self.member(plugin.id, &plugin.name);
        let was_open = member.reset_breaker();
        let detail = json!({"was_open": was_open});
        self.registry.record(caller, "plugin.breaker_reset", Some(&plugin.name), detail).await?;
        let (before, also) = (plugin.status, Vec::new());
        Ok(StatusChange { plugin, state: member.state(), before, also })
    }

    /// Writes a new status down, if it fits to the plugins that require this one, and to those that it requires.
    pub(super) async fn record_status(
        &self,
        caller: &Caller,
        change: &mut PluginChange<'_>,
        step: Step<'_>,
    ) -> Result<(), ServiceError> {
        let mut tx = change.begin().await?;
        let (action, mut detail) = match step {
            Step::Enabled(manifest) => {
                self.claim_commands(&mut tx, &change.plugin, manifest).await?;
                self.check_required_in(&mut tx, caller, manifest).await?;
                ("plugin.enabled", json!({}))
            }
            Step::Disabled(detail) => {
                self.check_unneeded_in(&mut tx, caller, &change.plugin.name).await?;
                ("plugin.disabled", detail)
            }
        };
        detail["version"] = json!(change.plugin.serving);
        Ok(change.commit(tx, action, detail).await?)
    }

    /// The engine does not answer.
    pub(super) fn engine_problem(&self) -> PluginProblem {
        match self.engine_state() {
            EngineState::Away { code, text, how } => PluginProblem::new(code, text).with_how(how),
            EngineState::Unknown | EngineState::Up(_) => {
                PluginProblem::new(Code::EngineUnavailable, "the engine does not answer at the moment")
            }
        }
    }
}

/// A crash loop is lifted by enabling; every other cause has to go away first.
pub(super) fn check_quarantine(name: &PluginName, quarantine: &Quarantine) -> Result<(), ServiceError> {
    let (code, detail, how) = match quarantine.reason {
        QuarantineReason::CrashLoop => return Ok(()),
        QuarantineReason::PackageTampered => (
            Code::PackageTampered,
            format!("files of `{name}` are not the ones that were installed"),
            format!("plugbay uninstall {name}, then install it again from its archive"),
        ),
        QuarantineReason::KeyRevoked => (
            Code::KeyRevoked,
            format!("the key that signed `{name}` is revoked"),
            format!("plugbay update {name} FILE with an archive that another key has signed"),
        ),
        QuarantineReason::SignatureUnverified => (
            Code::SignatureUntrusted,
            format!("the signature of `{name}` does not verify under the present keys"),
            "register the key: plugbay key add FILE --label LABEL --names GLOB".to_owned(),
        ),
    };
    Err(PluginProblem::new(code, detail).with_how(how).into())
}
