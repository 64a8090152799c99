//! Versions that wait because they do not accept what is set.

use semver::Version;

use super::{Ground, PendingConfig};
use crate::domain::{Code, ConfigFindings, FieldError, PendingFor, Plugin, PluginName, Risk};
use crate::registry::{InstalledPlugin, Target};
use crate::service::{PluginProblem, Service, ServiceError};
use crate::store;
use crate::store::configs::ConfigRecord;
use crate::store::plugins::VersionRecord;

impl Service {
    /// Tells whether a version that would serve accepts what is set. What the serving version lacks as well does not
    /// count: the plugin is still being set up.
    pub(in crate::service) async fn accepts_config(
        &self,
        plugin: &Plugin,
        serving: &VersionRecord,
        version: &Ground,
    ) -> Result<bool, ServiceError> {
        let record = self.config_record(plugin).await?;
        let findings = self.findings(version, &record).await?;
        Ok(findings.invalid.is_empty()
            && (findings.missing.is_empty() || !self.missing_values(&self.ground(serving)?, &record).await?.is_empty()))
    }

    /// Refuses to go back to a version that does not accept what is set. A secret that was set for a version that did less
    /// with it counts as not set; a plugin that does not run may go back without it.
    pub(in crate::service) async fn check_going_back(
        &self,
        plugin: &Plugin,
        serving: &VersionRecord,
        (version, ground): (&Version, &Ground),
    ) -> Result<(), ServiceError> {
        let record = self.config_record(plugin).await?;
        let findings = self.findings(ground, &record).await?;
        let name = &plugin.name;
        if !findings.invalid.is_empty() {
            let detail = format!("`{name}` {version} does not accept the configuration that is set");
            let how = format!("plugbay config get {name} shows it; set what {version} accepts first");
            return Err(PluginProblem::new(Code::ConfigInvalid, detail).with_how(how).into());
        }
        let lacks_more =
            !findings.missing.is_empty() && self.missing_values(&self.ground(serving)?, &record).await?.is_empty();
        if lacks_more && plugin.is_enabled() {
            let missing: Vec<String> = findings.missing.iter().map(|field| format!("`{field}`")).collect();
            let detail = format!("`{name}` {version} needs {}, which is not set for what it does", missing.join(", "));
            let how =
                format!("plugbay disable {name}, go back, plugbay config set {name} FIELD, plugbay enable {name}");
            return Err(PluginProblem::new(Code::ConfigIncomplete, detail).with_how(how).into());
        }
        Ok(())
    }

    /// Refuses to start a version without values that it needs.
    pub(in crate::service) async fn check_complete(
        &self,
        name: &PluginName,
        version: &VersionRecord,
    ) -> Result<(), ServiceError> {
        let record = store::configs::find(&mut *self.store.reader().await?, version.plugin_id).await?;
        let missing = self.missing_values(&self.ground(version)?, &record).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let fields = ConfigFindings { invalid: Vec::new(), missing: missing.clone() }.missing_fields();
        Err(ServiceError::ConfigIncomplete { name: name.clone(), missing, fields })
    }

    /// The same for the version that waits.
    pub(in crate::service) async fn pending_accepts_config(
        &self,
        installed: &InstalledPlugin,
    ) -> Result<bool, ServiceError> {
        match installed.pending()? {
            Some((version, _)) => {
                self.accepts_config(&installed.plugin, installed.serving(), &self.ground(version)?).await
            }
            None => Ok(true),
        }
    }

    /// Why the waiting version does not accept what is set, if it does not.
    pub(super) async fn pending_config(
        &self,
        installed: &InstalledPlugin,
        record: &ConfigRecord,
    ) -> Result<Option<PendingConfig>, ServiceError> {
        let Some((version, _)) = installed.pending()? else { return Ok(None) };
        let ground = self.ground(version)?;
        let errors = self.findings(&ground, record).await?.fields();
        if errors.is_empty() && !awaits_config(installed) {
            return Ok(None);
        }
        let schema = ground.schema().map(|schema| schema.to_json_schema().clone());
        Ok(Some(PendingConfig { version: version.version.clone(), schema, errors }))
    }

    /// What the waiting version finds wrong with what is set.
    pub(in crate::service) async fn pending_config_errors(
        &self,
        installed: &InstalledPlugin,
    ) -> Result<Vec<FieldError>, ServiceError> {
        let record = self.config_record(&installed.plugin).await?;
        Ok(self.pending_config(installed, &record).await?.map(|pending| pending.errors).unwrap_or_default())
    }

    /// The version that waits for nothing but a configuration. What was decided about it may have ended meanwhile.
    pub(super) async fn ready_pending<'a>(
        &self,
        installed: &'a InstalledPlugin,
    ) -> Result<Option<&'a VersionRecord>, ServiceError> {
        if !awaits_config(installed) {
            return Ok(None);
        }
        let Some((version, carries)) = installed.pending()? else { return Ok(None) };
        let manifest = self.registry.manifest(version)?;
        let target = Target { version, manifest: &manifest, carries };
        let standing = target.standing(&installed.decisions, self.now());
        let mut risks = self.granted_risks(installed.plugin.id, &manifest, &standing.grants()).await?;
        risks.extend(installed.plugin.signer_changed().then_some(Risk::SignerChanged));
        let accepted = self.registry.accepted_risks(installed.plugin.id).await?;
        let is_decided = standing.is_complete() && risks.iter().all(|risk| target.has_accepted(&accepted, *risk));
        Ok(is_decided.then_some(version))
    }

    /// Looks at the waiting version once more before it serves.
    pub(super) async fn prepare_pending(&self, installed: &InstalledPlugin) -> Result<(), ServiceError> {
        let Some((version, carries)) = installed.pending()? else { return Ok(()) };
        let manifest = self.registry.manifest(version)?;
        if self.member(installed.plugin.id, &installed.plugin.name).is_supervised() {
            let standing = Target { version, manifest: &manifest, carries }.standing(&installed.decisions, self.now());
            // What runs would not start again.
            self.check_resources(&installed.plugin.name, &standing.grants())?;
        }
        self.prepare_start(version, &manifest).await
    }
}

fn awaits_config(installed: &InstalledPlugin) -> bool {
    installed.plugin.pending.as_ref().is_some_and(|pending| pending.waits_for == PendingFor::Config)
}
