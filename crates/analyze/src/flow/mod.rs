//! Where values come from and where they go, in one function and through one call. The names are data.
//!
//! A walk over the code notes what reaches a sink, with sources that may still be unknown: a parameter, the result of a
//! function of the same file, an attribute of `self`. [`Flows::resolve`] puts these together at the end.

mod names;

use std::collections::BTreeMap;

use plugbay_domain::words;
use serde::Serialize;

use crate::place::Place;
pub(crate) use names::{RULES, is_secret_path, origin_of_variable, reads_file, sink_of, source_of};

words! {
    /// What a value is, the least telling first.
    Origin {
        /// One variable of the environment.
        Variable = "variable",
        /// What was decoded while the code runs.
        Decoded = "decoded",
        /// The plugin's configuration, and so its secrets.
        Config = "config",
        /// The path of a file that holds credentials.
        Path = "path",
        /// A variable of the environment that holds the keys of a service.
        Secret = "secret",
        /// Who runs the program, and where.
        Identity = "identity",
        /// Chat messages.
        Chat = "chat",
        /// What came over the network.
        Download = "download",
        /// The whole environment.
        Environment = "environment",
        /// Clipboard, screen, keys, camera, or what a browser keeps.
        Input = "input",
        /// A file that holds credentials.
        Credentials = "credentials",
    }
}

words! {
    /// Where a value goes.
    Sink {
        /// Over a connection.
        Network = "network",
        /// Into a name that is looked up.
        Dns = "dns",
        /// Into what another program is or does.
        Process = "process",
        /// Into code that is run.
        Code = "code",
        /// Into objects that are made of bytes, which runs what the bytes say.
        Object = "object",
        /// Into a file.
        Write = "write",
    }
}

/// A value that goes from a source to a sink.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flow {
    /// What it is.
    pub origin: Origin,
    /// What gives it, such as `os.environ`.
    pub source: String,
    /// Where it comes from.
    pub from: Place,
    /// Where it goes.
    pub sink: Sink,
    /// What takes it, such as `requests.post`.
    pub target: String,
    /// Where that is called.
    pub to: Place,
    /// The function of the same file that it goes through.
    pub through: Option<String>,
    /// Layers of encoded code in which it was found.
    pub layer: u8,
}

/// Where a value comes from, as far as it is known where it is used.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    Known(Origin),
    /// A parameter of the function around it, by its number.
    Parameter(usize),
    /// What a function of the same file gives.
    Result(String),
    /// An attribute of `self`.
    Attribute(String),
}

/// A value with its source.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Taint {
    pub(crate) source: Source,
    pub(crate) what: String,
    pub(crate) place: Place,
}

impl Taint {
    /// The one that tells more.
    pub(crate) fn stronger(self, other: Option<Self>) -> Self {
        match other {
            Some(other) if other.rank() > self.rank() => other,
            _ => self,
        }
    }

    fn rank(&self) -> Option<Origin> {
        match self.source {
            Source::Known(origin) => Some(origin),
            _ => None,
        }
    }
}

/// Which parameter of a function.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Slot {
    Position(usize),
    Name(String),
}

/// A sink that is reached.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    pub(crate) sink: Sink,
    pub(crate) target: String,
    pub(crate) place: Place,
    pub(crate) layer: u8,
}

/// A call of a function of the same file with a value of a source.
#[derive(Clone, Debug)]
struct Handed {
    function: String,
    slot: Slot,
    taint: Taint,
}

/// Notes of each kind for one file. A file with more is none that a person has written.
const MAX_NOTES: usize = 20_000;

/// Flows of one file.
const MAX_FLOWS: usize = 200;

/// What is noted while a file is walked.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    /// The function in which a sink was reached, what reached it, and the sink.
    reached: Vec<(String, Taint, Reached)>,
    handed: Vec<Handed>,
    returned: BTreeMap<String, Vec<Taint>>,
    attributes: BTreeMap<String, Vec<Taint>>,
    parameters: BTreeMap<String, Vec<String>>,
    notes: usize,
}

impl Flows {
    fn has_room(&mut self) -> bool {
        self.notes += 1;
        self.notes <= MAX_NOTES
    }

    pub(crate) fn reach(&mut self, function: String, taint: Taint, reached: Reached) {
        if self.has_room() {
            self.reached.push((function, taint, reached));
        }
    }

    pub(crate) fn hand(&mut self, function: String, slot: Slot, taint: Taint) {
        if self.has_room() {
            self.handed.push(Handed { function, slot, taint });
        }
    }

    pub(crate) fn returns(&mut self, function: String, taint: Taint) {
        if self.has_room() {
            self.returned.entry(function).or_default().push(taint);
        }
    }

    pub(crate) fn attribute(&mut self, name: String, taint: Taint) {
        if self.has_room() {
            self.attributes.entry(name).or_default().push(taint);
        }
    }

    pub(crate) fn define(&mut self, function: String, parameters: Vec<String>) {
        if self.has_room() {
            self.parameters.insert(function, parameters);
        }
    }

    /// What a value is, looking through one call or attribute.
    fn origin(&self, taint: &Taint) -> Option<(Origin, Taint, Option<String>)> {
        let among = |taints: Option<&Vec<Taint>>, through: Option<&String>| {
            let known = taints?.iter().filter(|taint| matches!(taint.source, Source::Known(_)));
            let best = known.max_by_key(|taint| taint.rank())?;
            let Source::Known(origin) = best.source else { return None };
            Some((origin, best.clone(), through.cloned()))
        };
        match &taint.source {
            Source::Known(origin) => Some((*origin, taint.clone(), None)),
            Source::Result(function) => among(self.returned.get(function), Some(function)),
            Source::Attribute(name) => among(self.attributes.get(name), None),
            Source::Parameter(_) => None,
        }
    }

    /// What flows from a known source to a sink.
    pub(crate) fn resolve(self) -> Vec<Flow> {
        let mut flows = Vec::new();
        let mut add = |(origin, taint, through): (Origin, Taint, Option<String>), reached: &Reached| {
            let Reached { sink, target, place, layer } = reached.clone();
            let (source, from) = (taint.what, taint.place);
            let flow = Flow { origin, source, from, sink, target, to: place, through, layer };
            if flows.len() < MAX_FLOWS && !flows.contains(&flow) {
                flows.push(flow);
            }
        };
        let mut sinks: BTreeMap<&str, Vec<(usize, &Reached)>> = BTreeMap::new();
        for (function, taint, reached) in &self.reached {
            if let Source::Parameter(at) = taint.source {
                sinks.entry(function).or_default().push((at, reached));
            } else if let Some(found) = self.origin(taint) {
                add(found, reached);
            }
        }
        for Handed { function, slot, taint } in &self.handed {
            let Some(of_function) = sinks.get(function.as_str()) else { continue };
            let position = match slot {
                Slot::Position(at) => Some(*at),
                Slot::Name(name) => {
                    self.parameters.get(function).and_then(|all| all.iter().position(|one| one == name))
                }
            };
            for (at, reached) in of_function {
                if position == Some(*at)
                    && let Some((origin, taint, _)) = self.origin(taint)
                {
                    add((origin, taint, Some(function.clone())), reached);
                }
            }
        }
        flows.sort_by_key(|flow| (flow.to, flow.from));
        flows
    }
}
