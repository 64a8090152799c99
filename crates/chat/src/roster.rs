//! Who takes part in the chat now. It is read from the registry once and kept until that has changed, so that a message
//! costs no look into the database.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use plugbay_domain::{ChatKind, Effect, Manifest, OnFailure, PluginStatus};
use plugbay_operations::{Service, ServiceError};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::member::{Off, Participant, Plan};

/// How long it is believed without a look: a grant ends with its time, which changes nothing in the registry.
const BELIEVED: Duration = Duration::from_secs(1);

/// What was found at one time.
#[derive(Debug)]
pub(crate) struct Roster {
    /// The members of an exchange, in their order.
    pub(crate) plan: Plan,
    /// Plugins that answer, by name.
    pub(crate) backends: Vec<Participant>,
    revision: u64,
    made: Instant,
}

/// The roster that is kept.
#[derive(Debug, Default)]
pub(crate) struct Rosters {
    kept: ArcSwapOption<Roster>,
    /// Held by the one that reads a new one.
    reading: Mutex<()>,
}

impl Rosters {
    /// Who takes part now.
    pub(crate) async fn now(&self, service: &Service) -> Result<Arc<Roster>, ServiceError> {
        if let Some(roster) = self.fresh(service) {
            return Ok(roster);
        }
        let _reading = self.reading.lock().await;
        if let Some(roster) = self.fresh(service) {
            return Ok(roster);
        }
        let roster = Arc::new(read(service).await?);
        self.kept.store(Some(Arc::clone(&roster)));
        Ok(roster)
    }

    fn fresh(&self, service: &Service) -> Option<Arc<Roster>> {
        let revision = service.registry().revision();
        self.kept.load_full().filter(|roster| roster.revision == revision && roster.made.elapsed() < BELIEVED)
    }
}

async fn read(service: &Service) -> Result<Roster, ServiceError> {
    // Before the read: what changes meanwhile makes the roster old at once.
    let (revision, made) = (service.registry().revision(), Instant::now());
    let installed = service.registry().snapshot().await?;
    let mut participants = Vec::new();
    for installed in &installed.plugins {
        let plugin = &installed.plugin;
        // One that was never enabled is no member yet.
        if plugin.status == PluginStatus::Installed {
            continue;
        }
        let manifest = installed.manifest()?;
        if manifest.chat.is_none() && manifest.hooks.is_empty() {
            continue;
        }
        let off = if !plugin.is_enabled() {
            Some(Off::Disabled)
        } else if !installed.standing(service.now())?.grants().chat() {
            Some(Off::NotPermitted)
        } else {
            None
        };
        if off.is_none() || stays(&manifest) {
            participants.push(Participant { id: plugin.id, name: plugin.name.clone(), manifest, off });
        }
    }
    let plan = Plan::of(&participants);
    participants.retain(is_backend);
    Ok(Roster { plan, backends: participants, revision, made })
}

/// Whether a plugin stays a member when it does not run: one with a place in the chat, or with a hook that decides.
fn stays(manifest: &Manifest) -> bool {
    let guards = |effect, on_failure| effect == Effect::Decide || on_failure == OnFailure::Block;
    manifest.chat.is_some() || manifest.hooks.iter().any(|hook| guards(hook.effect, hook.on_failure))
}

fn is_backend(participant: &Participant) -> bool {
    participant.manifest.chat.as_ref().is_some_and(|chat| chat.kind == ChatKind::BackendProvider)
}
