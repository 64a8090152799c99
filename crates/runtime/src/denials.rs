//! What plugins did not get, bounded: ten of a plugin in a minute are told one by one, the rest as one number.
//!
//! Whoever refuses notes it here; `service` writes the reports to audit log and plugin log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use plugbay_domain::{PluginId, PluginName};

/// Reports of one plugin in one window.
const REPORTS: u64 = 10;

/// How long a window is.
const WINDOW: Duration = Duration::from_mins(1);

/// Reports that wait to be written. A report that finds no room is counted with the rest.
const WAITING: usize = 1_024;

/// Where a plugin was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// On its way to other hosts.
    Network,
    /// At a function of the service.
    HostFunction,
}

/// Something that a plugin did not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which plugin.
    pub plugin: PluginId,
    /// Its name.
    pub name: PluginName,
    /// Where.
    pub door: Door,
    /// What was refused.
    pub what: What,
}

/// One connection, request or question that was not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Which rule spoke, or what failed.
    pub rule: &'static str,
    /// What happened.
    pub text: String,
    /// What helps.
    pub how: String,
    /// A rule refused it; else the host or the network failed.
    pub is_by_rule: bool,
}

/// What was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// This.
    One(Denial),
    /// More of the same kind, in the minute before.
    More {
        /// How many.
        count: u64,
        /// How many of them were refused by a rule.
        by_rule: u64,
    },
}

#[derive(Debug)]
struct Window {
    name: PluginName,
    began: Instant,
    told: u64,
    untold: u64,
    untold_by_rule: u64,
}

/// Takes refusals and hands out reports.
#[derive(Debug)]
pub struct Denials {
    windows: Mutex<HashMap<(PluginId, Door), Window>>,
    reports: mpsc::Sender<Report>,
}

impl Denials {
    /// Nothing was refused yet. The reports come out of the receiver.
    pub fn new() -> (Arc<Self>, mpsc::Receiver<Report>) {
        let (reports, receiver) = mpsc::channel(WAITING);
        (Arc::new(Self { windows: Mutex::default(), reports }), receiver)
    }

    /// Takes note of a refusal.
    pub fn note(&self, plugin: PluginId, name: &PluginName, door: Door, denial: Denial, now: Instant) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry((plugin, door)).or_insert_with(|| Window {
            name: name.clone(),
            began: now,
            told: 0,
            untold: 0,
            untold_by_rule: 0,
        });
        self.roll((plugin, door), window, now);
        let is_by_rule = denial.is_by_rule;
        if window.told < REPORTS {
            let report = Report { plugin, name: name.clone(), door, what: What::One(denial) };
            if self.reports.try_send(report).is_ok() {
                window.told += 1;
                return;
            }
        }
        window.untold += 1;
        window.untold_by_rule += u64::from(is_by_rule);
    }

    /// Closes windows whose time is over. To be called every few seconds.
    pub fn sweep(&self, now: Instant) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        for (of, window) in windows.iter_mut() {
            self.roll(*of, window, now);
        }
        windows.retain(|_, window| window.told > 0 || window.untold > 0);
    }

    fn roll(&self, (plugin, door): (PluginId, Door), window: &mut Window, now: Instant) {
        if now.duration_since(window.began) < WINDOW {
            return;
        }
        if window.untold > 0 {
            let what = What::More { count: window.untold, by_rule: window.untold_by_rule };
            if self.reports.try_send(Report { plugin, name: window.name.clone(), door, what }).is_err() {
                // Nobody takes reports just now: the number waits.
                return;
            }
        }
        *window = Window { name: window.name.clone(), began: now, told: 0, untold: 0, untold_by_rule: 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_in_a_minute_are_told_and_the_rest_counted() {
        let (denials, mut reports) = Denials::new();
        let now = Instant::now();
        let (loud, calm) = (PluginId::generate(), PluginId::generate());
        let note = |plugin, name: &str, door, now| {
            let denial = Denial { rule: "rule", text: String::new(), how: String::new(), is_by_rule: true };
            denials.note(plugin, &name.parse().unwrap(), door, denial, now);
        };
        for _ in 0..1_000 {
            note(loud, "loud", Door::Network, now);
        }
        note(calm, "calm", Door::Network, now);
        note(loud, "loud", Door::HostFunction, now);
        let mut ones = 0;
        while let Ok(report) = reports.try_recv() {
            assert!(matches!(report.what, What::One(Denial { is_by_rule: true, .. })), "{report:?}");
            ones += 1;
        }
        assert_eq!(ones, 12);
        denials.sweep(now);
        assert!(reports.try_recv().is_err());
        let later = now + WINDOW;
        denials.sweep(later);
        let more = reports.try_recv().unwrap();
        assert_eq!((more.name.as_str(), more.what), ("loud", What::More { count: 990, by_rule: 990 }));
        assert!(reports.try_recv().is_err());
        denials.sweep(later + WINDOW);
        assert!(denials.windows.lock().unwrap().is_empty());
        note(loud, "loud", Door::Network, later + WINDOW);
        assert!(matches!(reports.try_recv().unwrap().what, What::One { .. }));
    }
}
