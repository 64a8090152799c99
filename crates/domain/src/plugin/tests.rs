//! Random lives of a plugin: after each event its record says something that can be true.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    Enable,
    Disable,
    Quarantine,
    Release,
    Wait {
        version: u64,
        waits_for: PendingFor,
        signer_changed: bool,
    },
    WaitForConfig,
    DropPending,
    Serve {
        version: u64,
    },
    Keep,
    Undo,
    Fail {
        version: u64,
    },
    /// Time goes by.
    Pass {
        seconds: u64,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let waits_for = prop_oneof![Just(PendingFor::Approval), Just(PendingFor::Config)];
    prop_oneof![
        Just(Event::Enable),
        Just(Event::Disable),
        Just(Event::Quarantine),
        Just(Event::Release),
        (1_u64..9, waits_for, any::<bool>()).prop_map(|(version, waits_for, signer_changed)| Event::Wait {
            version,
            waits_for,
            signer_changed
        }),
        Just(Event::WaitForConfig),
        Just(Event::DropPending),
        (1_u64..9).prop_map(|version| Event::Serve { version }),
        Just(Event::Keep),
        Just(Event::Undo),
        (1_u64..9).prop_map(|version| Event::Fail { version }),
        (1_u64..900).prop_map(|seconds| Event::Pass { seconds }),
    ]
}

fn number(minor: u64) -> Version {
    Version::new(1, minor, 0)
}

fn why() -> UpdateFailure {
    UpdateFailure { reason: "died".to_owned(), text: "it ended".to_owned() }
}

/// A plugin, with what the tables beside it would hold.
struct Life {
    plugin: Plugin,
    snapshot: Option<Snapshot>,
    generations: u32,
    now: Timestamp,
}

impl Life {
    fn begin() -> Self {
        let now = Timestamp::from_millis(1_000).unwrap();
        let plugin = Plugin::new("demo".parse().unwrap(), number(0), now);
        Self { plugin, snapshot: None, generations: 0, now }
    }

    fn live(&mut self, event: &Event) {
        let (before, now) = (self.plugin.clone(), self.now);
        match *event {
            Event::Enable => self.plugin.enable(now),
            Event::Disable => self.plugin.disable(now),
            Event::Quarantine => self.plugin.quarantine(QuarantineReason::CrashLoop, now),
            Event::Release => self.plugin.release(now),
            Event::Wait { version, waits_for, signer_changed } => {
                self.plugin.wait_for(Pending { version: number(version), waits_for, signer_changed }, now);
            }
            Event::WaitForConfig => self.plugin.wait_for_config(now),
            Event::DropPending => self.plugin.drop_pending(),
            Event::Serve { version } => self.serve(&before, version),
            Event::Keep => {
                let is_kept = self.plugin.keep();
                assert_eq!(is_kept, is_watched(&before));
                assert_eq!(self.plugin.serving, before.serving);
            }
            Event::Undo => self.undo(&before),
            Event::Fail { version } => {
                let is_noted = self.plugin.note_failure(number(version), why(), now);
                let is_under_watch =
                    before.last_update.as_ref().is_some_and(|last| last.state_at(now) == UpdateState::Watched);
                assert_eq!(is_noted, !is_under_watch);
                assert_eq!((&self.plugin.serving, self.plugin.data()), (&before.serving, before.data()));
            }
            Event::Pass { seconds } => self.now = now.plus(Duration::from_secs(seconds)),
        }
        self.check(&before);
    }

    fn serve(&mut self, before: &Plugin, version: u64) {
        self.generations += 1;
        let data = DataId { plugin: self.plugin.id, generation: self.generations };
        let until = self.now.plus(Duration::from_mins(10));
        let floor = Some(before.serving.clone());
        let snapshot = self.plugin.serve(number(version), data, until, floor, self.now);
        assert_eq!((&snapshot.version, snapshot.generation), (&before.serving, before.generation));
        assert_eq!((&self.plugin.serving, self.plugin.data()), (&number(version), data));
        assert!(is_watched(&self.plugin));
        assert_eq!((&self.plugin.pending, &self.plugin.quarantine), (&None, &None));
        self.snapshot = Some(snapshot);
    }

    fn undo(&mut self, before: &Plugin) {
        let Some(snapshot) = &self.snapshot else { return };
        let undone = self.plugin.undo(snapshot, why(), self.now);
        assert_eq!(undone.is_some(), is_watched(before));
        let Some(undone) = undone else {
            assert_eq!(self.plugin, *before);
            return;
        };
        assert_eq!((undone.version, undone.floor.as_ref()), (before.serving.clone(), Some(&snapshot.version)));
        assert_eq!((&self.plugin.serving, self.plugin.generation), (&snapshot.version, snapshot.generation));
        assert!(self.plugin.pending.as_ref().is_none_or(|pending| pending.waits_for == PendingFor::Approval));
        let (_, at, data_of) = self.plugin.last_update.as_ref().unwrap().failure().unwrap();
        assert_eq!((at, data_of), (self.now, Some(snapshot.taken_at)));
        // The rows of the snapshot go with it.
        self.snapshot = None;
    }

    /// What is true after every event.
    fn check(&self, before: &Plugin) {
        let plugin = &self.plugin;
        assert_eq!((plugin.id, &plugin.name, plugin.installed_at), (before.id, &before.name, before.installed_at));
        assert!(plugin.updated_at >= before.updated_at);
        assert_eq!(plugin.should_run(), plugin.is_enabled() && plugin.quarantine.is_none());
        assert!(plugin.pending.is_some() || !plugin.signer_changed());
        if is_watched(plugin) {
            let last = plugin.last_update.as_ref().unwrap();
            // What can be undone is what serves, and there is something to go back to.
            let snapshot = self.snapshot.as_ref().unwrap();
            assert_eq!((&last.version, &last.previous), (&plugin.serving, &snapshot.version));
            assert_ne!(plugin.generation, snapshot.generation);
        }
    }
}

fn is_watched(plugin: &Plugin) -> bool {
    matches!(&plugin.last_update, Some(LastUpdate { update: Update::Watched { .. }, .. }))
}

proptest! {
    #[test]
    fn every_life_of_a_plugin_makes_sense(events in proptest::collection::vec(event(), 0..60)) {
        let mut life = Life::begin();
        for event in events {
            life.live(&event);
        }
    }
}

#[test]
fn a_watch_ends_by_itself_and_can_be_undone_until_that_is_noted() {
    let mut life = Life::begin();
    life.live(&Event::Serve { version: 1 });
    life.live(&Event::Pass { seconds: 600 });
    let last = life.plugin.last_update.clone().unwrap();
    assert_eq!((last.state_at(life.now), is_watched(&life.plugin)), (UpdateState::Kept, true));
    life.live(&Event::Undo);
    assert_eq!(life.plugin.serving, number(0));
}

#[test]
fn a_failure_replaces_what_is_over_and_not_what_is_watched() {
    let mut life = Life::begin();
    life.live(&Event::Serve { version: 1 });
    assert!(!life.plugin.note_failure(number(2), why(), life.now));
    life.live(&Event::Keep);
    assert!(life.plugin.note_failure(number(2), why(), life.now));
    let last = life.plugin.last_update.clone().unwrap();
    assert_eq!((last.version, last.previous), (number(2), number(1)));
}
