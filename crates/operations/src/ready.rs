//! What is looked at before a plugin or a version is started.

use plugbay_domain::{Code, Manifest, PluginName, Quarantine, QuarantineReason};
use plugbay_fleet::{PluginProblem, authority};
use plugbay_registry::{InstalledPlugin, Target};
use plugbay_store as store;
use plugbay_store::plugins::VersionRecord;

use crate::{Service, ServiceError, ceiling, verification};

/// Looks at a waiting version once more before it serves: its files, its signature and its limits.
pub(crate) async fn prepare_start(
    service: &Service,
    version: &VersionRecord,
    manifest: &Manifest,
) -> Result<(), ServiceError> {
    let (keys, set) = {
        let mut reader = service.store.reader().await?;
        let set = store::running::find_limits(&mut reader, version.plugin_id).await?;
        (store::keys::list(&mut reader).await?, set)
    };
    if let Some(reason) = verification::judge(service, version.clone(), keys).await? {
        check_quarantine(&manifest.name, &Quarantine { reason, since: service.now() })?;
    }
    ceiling::check_ceiling(service, manifest, set)
}

/// Looks at the waiting version once more before it serves.
pub(crate) async fn prepare_pending(service: &Service, installed: &InstalledPlugin) -> Result<(), ServiceError> {
    let Some((version, carries)) = installed.pending()? else { return Ok(()) };
    let manifest = service.registry.manifest(version)?;
    if service.fleet.member(installed.plugin.id, &installed.plugin.name).is_supervised() {
        let standing = Target { version, manifest: &manifest, carries }.standing(&installed.decisions, service.now());
        // What runs would not start again.
        authority::check_resources(&service.fleet, &installed.plugin.name, &standing.grants())?;
    }
    prepare_start(service, version, &manifest).await
}

/// A crash loop is lifted by enabling; every other cause has to go away first.
pub(crate) fn check_quarantine(name: &PluginName, quarantine: &Quarantine) -> Result<(), ServiceError> {
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
