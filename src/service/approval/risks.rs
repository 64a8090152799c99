//! Which risks a plugin is, alone and together with the plugins it calls and that call it.

use std::collections::BTreeMap;

use super::risk_problem;
use crate::domain::{Code, Egress, Grants, Manifest, PluginId, PluginName, Reach, Risk, leaks};
use crate::registry::InstalledPlugin;
use crate::service::{Service, ServiceError};
use crate::store::grants::GrantRecord;

impl Service {
    /// The risks of what a plugin asks for, as they are shown before anybody decides.
    pub(in crate::service) async fn asked_risks(
        &self,
        id: PluginId,
        manifest: &Manifest,
    ) -> Result<Vec<Risk>, ServiceError> {
        let reach = manifest.asked_reach();
        let leaks = reach.reaches_out_with_data() || self.leaks_with(id, &manifest.name, reach).await?;
        Ok(leaks.then_some(Risk::DataEgress).into_iter().collect())
    }

    /// The risks that these grants are, each of which has to be accepted by name.
    pub(in crate::service) async fn granted_risks(
        &self,
        id: PluginId,
        manifest: &Manifest,
        grants: &Grants,
    ) -> Result<Vec<Risk>, ServiceError> {
        let reach = Reach::of(manifest, grants);
        let leaks = self.leaks_with(id, &manifest.name, reach).await?;
        Ok(leaks.then_some(Risk::DataEgress).into_iter().collect())
    }

    /// Refuses to run what became a risk by a change to another plugin, until somebody accepts it.
    pub(in crate::service) async fn check_open_risks(
        &self,
        installed: &InstalledPlugin,
        manifest: &Manifest,
        grants: &Grants,
    ) -> Result<(), ServiceError> {
        let target = installed.target(manifest);
        let mut risks = self.granted_risks(installed.plugin.id, manifest, grants).await?;
        let accepted = self.registry.accepted_risks(installed.plugin.id).await?;
        risks.retain(|risk| !target.has_accepted(&accepted, *risk));
        if risks.is_empty() {
            return Ok(());
        }
        Err(risk_problem(Code::PermissionsPending, &manifest.name, &risks).into())
    }

    /// Whether what is left of the grants is a risk still; else whoever gives them back has to accept it again.
    pub(super) async fn is_risk_left(
        &self,
        installed: &InstalledPlugin,
        rows: &[GrantRecord],
    ) -> Result<bool, ServiceError> {
        let manifest = installed.manifest()?;
        let left = installed.target(&manifest).standing(rows, self.now());
        Ok(!self.granted_risks(installed.plugin.id, &manifest, &left.grants()).await?.is_empty())
    }

    async fn leaks_with(&self, id: PluginId, name: &PluginName, reach: Reach) -> Result<bool, ServiceError> {
        let is_harmless = !reach.holds_data && reach.egress != Egress::Open;
        // What neither holds nor sends anything and calls nobody adds nothing to what others do.
        if is_harmless && reach.calls.is_empty() && !reach.calls_all {
            return Ok(false);
        }
        let mut plugins = self.reach_of_others(id).await?;
        plugins.insert(name.clone(), reach);
        Ok(leaks(name, &plugins))
    }

    /// What every other plugin can do under its grants.
    async fn reach_of_others(&self, own: PluginId) -> Result<BTreeMap<PluginName, Reach>, ServiceError> {
        let mut found = BTreeMap::new();
        for other in self.registry.snapshot().await?.plugins.iter().filter(|other| other.plugin.id != own) {
            let (manifest, grants) = (other.manifest()?, other.standing(self.now())?.grants());
            found.insert(other.plugin.name.clone(), Reach::of(&manifest, &grants));
        }
        Ok(found)
    }
}
