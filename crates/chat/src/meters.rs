//! What the chat has done, for programs that watch the service, and a line of the log for each step.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use plugbay_domain::PluginName;
use plugbay_runtime::metrics::{Counter, Counters, Histogram, Page};

use crate::member::Stage;
use crate::record::{Ending, Outcome, Step};

/// Places of plugins that are counted. There are as many as plugins have, so this only stops what was not foreseen.
const MAX_PLACES: usize = 10_000;

/// All figures.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    exchanges: Mutex<BTreeMap<&'static str, Counters<Ending>>>,
    places: Mutex<BTreeMap<(PluginName, Stage), Arc<Place>>>,
}

/// One plugin at one stage.
#[derive(Debug)]
struct Place {
    outcomes: Counters<Outcome>,
    took: Histogram,
    prompt: Counter,
    completion: Counter,
}

impl Meters {
    /// An exchange has ended: these are its steps, and the tokens that its backend has told of.
    pub(crate) fn count(&self, front: &'static str, ending: Ending, steps: &[Step], usage: Option<(u64, u64)>) {
        let mut exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        exchanges.entry(front).or_default().of(ending).add_one();
        drop(exchanges);
        for step in steps {
            let success = !matches!(step.outcome, Outcome::Skipped | Outcome::Refused);
            let duration_ms = step.took.as_secs_f64() * 1_000.0;
            tracing::debug!(plugin = %step.plugin, operation = %step.stage, duration_ms, success, "A step of an exchange");
            let Some(place) = self.place(&step.plugin, step.stage) else { continue };
            place.outcomes.of(step.outcome).add_one();
            place.took.observe(step.took);
            if let (Outcome::Answered, Some((prompt, completion))) = (step.outcome, usage) {
                place.prompt.add(prompt);
                place.completion.add(completion);
            }
        }
    }

    fn place(&self, plugin: &PluginName, stage: Stage) -> Option<Arc<Place>> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (plugin.clone(), stage);
        if let Some(place) = places.get(&key) {
            return Some(Arc::clone(place));
        }
        if places.len() >= MAX_PLACES {
            return None;
        }
        let place = Arc::new(Place {
            outcomes: Counters::default(),
            took: Histogram::for_calls(),
            prompt: Counter::default(),
            completion: Counter::default(),
        });
        places.insert(key, Arc::clone(&place));
        Some(place)
    }

    /// Writes them, those of plugins as far as they may be seen.
    pub(crate) fn write(&self, page: &mut Page, may_see: impl Fn(&PluginName) -> bool) {
        page.counter("plugbay_chat_exchanges_total", "Exchanges with models by form and by how they ended.");
        let exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        for (front, endings) in &*exchanges {
            for (ending, count) in endings.each().filter(|(_, count)| *count > 0) {
                page.sample(&[("front", front), ("outcome", ending.as_str())], count);
            }
        }
        drop(exchanges);
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let seen = || places.iter().filter(|((plugin, _), _)| may_see(plugin));
        page.counter("plugin_chat_steps_total", "Steps of exchanges by plugin, stage and what came of them.");
        for ((plugin, stage), place) in seen() {
            for (outcome, count) in place.outcomes.each().filter(|(_, count)| *count > 0) {
                let labels = [("plugin", plugin.as_str()), ("stage", stage.as_str()), ("outcome", outcome.as_str())];
                page.sample(&labels, count);
            }
        }
        page.histogram(
            "plugin_chat_step_duration_seconds",
            "How long steps of exchanges took; of a backend until its first word.",
        );
        for ((plugin, stage), place) in seen() {
            page.observed(&[("plugin", plugin.as_str()), ("stage", stage.as_str())], &place.took);
        }
        page.counter("plugin_chat_tokens_total", "Tokens that a backend has told of.");
        for ((plugin, _), place) in seen().filter(|((_, stage), _)| *stage == Stage::Backend) {
            for (kind, count) in [("prompt", place.prompt.get()), ("completion", place.completion.get())] {
                page.sample(&[("plugin", plugin.as_str()), ("kind", kind)], count);
            }
        }
    }
}
