//! Which backend has which model.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use plugbay_domain::{MAX_MODEL_BYTES, PluginId, PluginName, SessionId, escape};
use plugbay_fleet::{CallRequest, calls};
use plugbay_operations::Service;
use plugbay_registry::Caller;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::member::Participant;
use crate::roster::Roster;

/// How long a list of models is believed.
const BELIEVED: Duration = Duration::from_mins(1);

/// How long a backend may take for its list.
const PATIENCE: Duration = Duration::from_secs(5);

/// Models of one backend.
const MAX_MODELS: usize = 2_000;

/// The end of a backend's name that may be left out.
const SUFFIX: &str = "-backend";

/// Where an answer is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) backend: Participant,
    /// The model, as the backend calls it.
    pub(crate) model: String,
}

/// A model that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelView {
    /// What it is asked for by.
    pub id: String,
    /// The backend that has it.
    pub backend: PluginName,
}

#[derive(Clone, Debug)]
struct Listed {
    session: SessionId,
    at: Instant,
    models: Arc<[String]>,
}

/// What backends have said that they have.
#[derive(Debug, Default)]
pub(crate) struct Catalog(Mutex<HashMap<PluginId, Listed>>);

impl Catalog {
    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<PluginId, Listed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The models of a backend. One that does not say so now keeps those that it named before.
    async fn of(&self, service: &Service, backend: &Participant) -> Arc<[String]> {
        let current = service.fleet().member(backend.id, &backend.name).session().map(|session| session.id());
        let known = self.kept().get(&backend.id).cloned();
        if let Some(known) = &known {
            let is_fresh = known.at.elapsed() < BELIEVED && current.is_none_or(|current| current == known.session);
            if is_fresh || current.is_none() {
                return Arc::clone(&known.models);
            }
        }
        let Some(current) = current else { return Arc::default() };
        match list(service, backend).await {
            Some(models) => {
                let listed = Listed { session: current, at: Instant::now(), models: models.into() };
                let models = Arc::clone(&listed.models);
                self.kept().insert(backend.id, listed);
                models
            }
            None => known.map(|known| known.models).unwrap_or_default(),
        }
    }

    /// Every model that can be asked for, each backend asked at the same time.
    pub(crate) async fn list(&self, service: &Service, roster: &Roster, caller: &Caller) -> Vec<ModelView> {
        let running = running(roster, caller);
        let found = futures_util::future::join_all(running.map(|backend| async {
            let models = self.of(service, backend).await;
            let patterns = backend.manifest.chat.iter().flat_map(|chat| &chat.models).filter_map(|model| model.name());
            let mut all: Vec<String> = models.iter().cloned().chain(patterns.map(ToOwned::to_owned)).collect();
            all.sort_unstable();
            all.dedup();
            all.into_iter().map(|id| ModelView { id, backend: backend.name.clone() }).collect::<Vec<_>>()
        }));
        let mut all: Vec<ModelView> = found.await.into_iter().flatten().collect();
        // A name that two backends have is asked for with its backend.
        let mut count: HashMap<String, usize> = HashMap::new();
        for model in &all {
            *count.entry(model.id.clone()).or_default() += 1;
        }
        for model in &mut all {
            if count.get(&model.id).is_some_and(|count| *count > 1) {
                model.id = format!("{}/{}", short(&model.backend), model.id);
            }
        }
        all.sort();
        all
    }

    /// Where to ask for a model, or why nowhere.
    pub(crate) async fn resolve(
        &self,
        service: &Service,
        roster: &Roster,
        (caller, wanted): (&Caller, &str),
    ) -> Result<Vec<Candidate>, String> {
        if wanted.len() > MAX_MODEL_BYTES {
            return Err(format!("a model's name has at most {MAX_MODEL_BYTES} bytes"));
        }
        let running = || running(roster, caller);
        if let Some((name, model)) = wanted.split_once('/')
            && let Some(backend) = running().find(|backend| is_called(&backend.name, name))
        {
            return Ok(vec![Candidate { backend: backend.clone(), model: model.to_owned() }]);
        }
        let mut found: Vec<&Participant> = running().filter(|backend| answers_for(backend, wanted)).collect();
        if found.is_empty() {
            let listed = futures_util::future::join_all(running().map(|backend| async move {
                let models = self.of(service, backend).await;
                models.iter().any(|model| model == wanted).then_some(backend)
            }));
            found = listed.await.into_iter().flatten().collect();
        }
        match found.as_slice() {
            [] if running().next().is_none() => Err("no backend is enabled".to_owned()),
            [] => Err(format!("no backend has the model `{}`", escape(wanted))),
            [one] => Ok(vec![Candidate { backend: (*one).clone(), model: wanted.to_owned() }]),
            several => {
                let names: Vec<String> = several.iter().map(|one| format!("{}/{wanted}", short(&one.name))).collect();
                Err(format!("several backends have `{}`; ask for one of {}", escape(wanted), names.join(", ")))
            }
        }
    }
}

/// Backends that run, as far as the caller may use them.
fn running<'a>(roster: &'a Roster, caller: &'a Caller) -> impl Iterator<Item = &'a Participant> {
    roster.backends.iter().filter(|backend| backend.off.is_none() && caller.may_see(&backend.name))
}

fn answers_for(backend: &Participant, model: &str) -> bool {
    backend.manifest.chat.iter().flat_map(|chat| &chat.models).any(|pattern| pattern.matches(model))
}

/// Whether a backend is addressed by this name.
fn is_called(backend: &PluginName, name: &str) -> bool {
    backend.as_str() == name || backend.as_str().strip_suffix(SUFFIX) == Some(name)
}

/// The shortest name of a backend.
fn short(backend: &PluginName) -> &str {
    backend.as_str().strip_suffix(SUFFIX).unwrap_or(backend.as_str())
}

/// Asks a backend for its models: texts, or objects with an `id`.
async fn list(service: &Service, backend: &Participant) -> Option<Vec<String>> {
    let params = json!({});
    let request = CallRequest::of_service(&backend.name, "list_models", &params, Some(PATIENCE)).without_blame();
    let answered = async { calls::call(service.fleet(), request).await?.answer().await };
    let answer = match answered.await {
        Ok(execution) if execution.answer.success => execution.answer.result?,
        Ok(_) => return None,
        Err(error) => {
            tracing::debug!(plugin.name = %backend.name, %error, "A backend did not list its models");
            return None;
        }
    };
    let Value::Array(models) = serde_json::from_str(answer.get()).ok()? else { return None };
    let name = |model: &Value| {
        let name = model.as_str().or_else(|| model.get("id")?.as_str())?;
        let is_name = !name.is_empty() && name.len() <= MAX_MODEL_BYTES && !name.contains(char::is_control);
        is_name.then(|| name.to_owned())
    };
    Some(models.iter().take(MAX_MODELS).filter_map(name).collect())
}
