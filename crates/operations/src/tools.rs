//! Tools of enabled plugins: what a caller may use, and that models can tell them apart.

use std::sync::Arc;

use plugbay_domain::{Code, Manifest, NameTaken, Plugin, PluginName, Tool, ToolNames};
use plugbay_fleet::PluginProblem;
use plugbay_registry::{Caller, Installed};
use plugbay_store::WriteTransaction;

use crate::{Service, ServiceError};

/// A tool of an enabled plugin.
#[derive(Clone, Debug)]
pub struct ToolView {
    /// The plugin.
    pub plugin: PluginName,
    /// The tool.
    pub tool: Arc<Tool>,
}

/// Every tool that the caller may use, by plugin and then by its name. Nothing is started for it.
pub async fn list_tools(service: &Service, caller: &Caller) -> Result<Vec<ToolView>, ServiceError> {
    let installed = service.registry.snapshot().await?;
    let mut found = Vec::new();
    for installed in installed.enabled().filter(|installed| installed.plugin.should_run()) {
        let plugin = &installed.plugin;
        if !caller.may_call(&plugin.name) {
            continue;
        }
        let manifest = installed.manifest()?;
        let session = service.fleet.member(plugin.id, &plugin.name).session();
        let methods = session.as_ref().map(|session| session.ready().methods.as_slice());
        // One that only listens to the chat is no tool, and which one does is not known before it runs.
        let methods = methods.or_else(|| manifest.listens().then_some(&[] as &[String]));
        let tools = manifest.tools();
        let usable = tools.offered(methods).iter().filter(|tool| caller.may_use(&plugin.name, tool));
        found.extend(usable.map(|tool| ToolView { plugin: plugin.name.clone(), tool: Arc::clone(tool) }));
    }
    found.sort_by(|left, right| (&left.plugin, &left.tool.name).cmp(&(&right.plugin, &right.tool.name)));
    Ok(found)
}

/// Refuses to enable a plugin one of whose tools models could not tell from that of another enabled plugin.
pub(crate) async fn check_names(service: &Service, plugin: &Plugin, manifest: &Manifest) -> Result<(), ServiceError> {
    if manifest.tools().offered(None).is_empty() {
        return Ok(());
    }
    refuse_taken(&service.registry.snapshot().await?, plugin, manifest)
}

/// The same in the transaction that lets a version of an enabled plugin serve, so that of two plugins that are
/// enabled at once only one gets the name.
pub(crate) async fn claim_names(
    service: &Service,
    tx: &mut WriteTransaction,
    plugin: &Plugin,
    manifest: &Manifest,
) -> Result<(), ServiceError> {
    if manifest.tools().offered(None).is_empty() || !plugin.is_enabled() {
        return Ok(());
    }
    refuse_taken(&service.registry.snapshot_in(tx).await?, plugin, manifest)
}

fn refuse_taken(installed: &Installed, plugin: &Plugin, manifest: &Manifest) -> Result<(), ServiceError> {
    let mut own = ToolNames::default();
    own.add(manifest).map_err(|error| taken(&error))?;
    for other in installed.enabled().filter(|other| other.plugin.id != plugin.id) {
        let theirs = other.manifest()?;
        if let Some(conflict) = own.conflict(&theirs) {
            return Err(taken(&conflict));
        }
    }
    Ok(())
}

fn taken(taken: &NameTaken) -> ServiceError {
    let NameTaken { tool, other, .. } = taken;
    let how = format!("plugbay disable {other}, or rename the tool `{tool}` in plugin.yaml");
    PluginProblem::new(Code::ToolNameTaken, taken.to_string()).with_how(how).into()
}
