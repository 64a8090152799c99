//! What was refused, bounded: ten of a plugin in a minute are told one by one, the rest as one number.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{EgressError, Exit};
use crate::domain::{Chain, PluginId, PluginName};

/// Reports of one plugin in one window.
const REPORTS: u64 = 10;

/// How long a window is.
const WINDOW: Duration = Duration::from_mins(1);

/// Reports that wait to be written. A report that finds no room is counted with the rest.
const WAITING: usize = 1_024;

/// Something that a plugin did not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which plugin.
    pub plugin: PluginId,
    /// Its name.
    pub name: PluginName,
    /// What was refused.
    pub what: What,
}

/// What was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// One connection, request or question.
    One {
        /// Which rule spoke, or what failed.
        rule: &'static str,
        /// What happened.
        text: String,
        /// What helps.
        how: String,
        /// A rule refused it; else the host or the network failed.
        is_denial: bool,
    },
    /// More of the same kind, in the minute before.
    More {
        /// How many.
        count: u64,
        /// How many of them were refused by a rule.
        denials: u64,
    },
}

#[derive(Debug)]
struct Window {
    name: PluginName,
    began: Instant,
    told: u64,
    untold: u64,
    untold_denials: u64,
}

/// Takes refusals and hands out reports.
#[derive(Debug)]
pub(super) struct Denials {
    windows: Mutex<HashMap<PluginId, Window>>,
    reports: mpsc::Sender<Report>,
}

impl Denials {
    pub(super) fn new() -> (Self, mpsc::Receiver<Report>) {
        let (reports, receiver) = mpsc::channel(WAITING);
        (Self { windows: Mutex::default(), reports }, receiver)
    }

    /// Takes note of a refusal.
    pub(super) fn note(&self, exit: &Exit, error: &EgressError, now: Instant) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry(exit.plugin).or_insert_with(|| Window {
            name: exit.name.clone(),
            began: now,
            told: 0,
            untold: 0,
            untold_denials: 0,
        });
        self.roll(exit.plugin, window, now);
        if window.told < REPORTS {
            let what = What::One {
                rule: error.rule(),
                text: Chain(error).to_string(),
                how: error.how(exit.name.as_str()),
                is_denial: error.is_denial(),
            };
            let report = Report { plugin: exit.plugin, name: exit.name.clone(), what };
            if self.reports.try_send(report).is_ok() {
                window.told += 1;
                return;
            }
        }
        window.untold += 1;
        window.untold_denials += u64::from(error.is_denial());
    }

    /// Closes windows whose time is over.
    pub(super) fn sweep(&self, now: Instant) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        for (plugin, window) in windows.iter_mut() {
            self.roll(*plugin, window, now);
        }
        windows.retain(|_, window| window.told > 0 || window.untold > 0);
    }

    fn roll(&self, plugin: PluginId, window: &mut Window, now: Instant) {
        if now.duration_since(window.began) < WINDOW {
            return;
        }
        if window.untold > 0 {
            let what = What::More { count: window.untold, denials: window.untold_denials };
            if self.reports.try_send(Report { plugin, name: window.name.clone(), what }).is_err() {
                // Nobody takes reports just now: the number waits.
                return;
            }
        }
        *window = Window { name: window.name.clone(), began: now, told: 0, untold: 0, untold_denials: 0 };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn exit(name: &str) -> Exit {
        Exit::new(PluginId::generate(), name.parse().unwrap(), Arc::default(), 1)
    }

    fn denial() -> EgressError {
        EgressError::NotGranted { wanted: "a.example:443".to_owned(), but: String::new() }
    }

    #[test]
    fn ten_in_a_minute_are_told_and_the_rest_counted() {
        let (denials, mut reports) = Denials::new();
        let now = Instant::now();
        let (loud, calm) = (exit("loud"), exit("calm"));
        for _ in 0..1_000 {
            denials.note(&loud, &denial(), now);
        }
        denials.note(&calm, &denial(), now);
        let mut ones = 0;
        while let Ok(report) = reports.try_recv() {
            assert!(matches!(report.what, What::One { rule: "not-granted", is_denial: true, .. }), "{report:?}");
            ones += 1;
        }
        assert_eq!(ones, 11);
        denials.sweep(now);
        assert!(reports.try_recv().is_err());
        let later = now + WINDOW;
        denials.sweep(later);
        let more = reports.try_recv().unwrap();
        assert_eq!((more.name.as_str(), more.what), ("loud", What::More { count: 990, denials: 990 }));
        assert!(reports.try_recv().is_err());
        denials.sweep(later + WINDOW);
        assert!(denials.windows.lock().unwrap().is_empty());
        denials.note(&loud, &denial(), later + WINDOW);
        assert!(matches!(reports.try_recv().unwrap().what, What::One { .. }));
    }
}
