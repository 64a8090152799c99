//! Why plugins cannot run together, in words.

use std::fmt;

use super::fit::can_meet;
use super::{Demand, Gap, Unresolved};
use crate::{Code, Refusal};

impl std::error::Error for Unresolved {}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cycle(names) => {
                f.write_str("plugins require each other in a circle: ")?;
                for name in names {
                    write!(f, "`{name}` -> ")?;
                }
                names.first().map_or(Ok(()), |first| write!(f, "`{first}`"))
            }
            Self::Gaps(gaps) => f.write_str(&gaps.iter().map(Gap::text).collect::<Vec<_>>().join("; ")),
        }
    }
}

impl Refusal for Unresolved {
    fn code(&self) -> Code {
        match self {
            Self::Cycle(_) => Code::RequiresCycle,
            Self::Gaps(gaps) if gaps.iter().any(|gap| matches!(gap, Gap::Missing { .. })) => Code::RequiresMissing,
            Self::Gaps(_) => Code::RequiresConflict,
        }
    }

    fn how(&self) -> Option<String> {
        match self {
            Self::Cycle(names) => Some(format!(
                "take one of the entries out of `requires`: {}",
                names.iter().map(|name| format!("the one in `{name}`")).collect::<Vec<_>>().join(", or ")
            )),
            Self::Gaps(gaps) => Some(gaps.iter().map(Gap::how).collect::<Vec<_>>().join("; ")),
        }
    }
}

impl Gap {
    fn text(&self) -> String {
        match self {
            Self::Missing { name, demands } if demands.is_empty() => format!("`{name}` is not installed"),
            Self::Missing { name, demands } => {
                let by = demands.iter().map(|demand| format!("`{}` ({})", demand.by, demand.range));
                let by = by.collect::<Vec<_>>().join(" and by ");
                format!("`{name}` is required by {by} and is not installed{}", ways(demands))
            }
            Self::Unfit { name, version, refusing, accepting } => {
                let refused = list(refusing);
                let accepted = if accepting.is_empty() {
                    String::new()
                } else {
                    format!(", while it fits what {}", list(accepting))
                };
                let never = if can_meet(&self.ranges()) {
                    String::new()
                } else {
                    let both = if self.ranges().len() == 2 { "both ranges" } else { "all of these ranges" };
                    format!("; no version of `{name}` fits {both}")
                };
                let ways = ways(&[refusing.as_slice(), accepting].concat());
                format!("`{name}` {version} is installed, which does not fit what {refused}{accepted}{ways}{never}")
            }
        }
    }

    fn how(&self) -> String {
        match self {
            Self::Missing { name, .. } => format!("install `{name}`: plugbay install FILE"),
            Self::Unfit { name, refusing, accepting, .. } if can_meet(&self.ranges()) => {
                let mut ranges: Vec<String> = Vec::new();
                for demand in refusing.iter().chain(accepting) {
                    let range = demand.range.to_string();
                    if !ranges.contains(&range) {
                        ranges.push(range);
                    }
                }
                format!("plugbay update {name} FILE with a version that fits {}", ranges.join(" and "))
            }
            Self::Unfit { name, refusing, accepting, .. } => {
                let mut names: Vec<_> =
                    refusing.iter().chain(accepting).map(|demand| format!("`{}`", demand.by)).collect();
                names.dedup();
                format!("update {} to versions that accept one and the same version of `{name}`", names.join(" or "))
            }
        }
    }

    fn ranges(&self) -> Vec<&semver::VersionReq> {
        let (first, second) = match self {
            Self::Missing { demands, .. } => (demands.as_slice(), [].as_slice()),
            Self::Unfit { refusing, accepting, .. } => (refusing.as_slice(), accepting.as_slice()),
        };
        first.iter().chain(second).map(|demand| &demand.range).collect()
    }
}

impl Demand {
    /// How the plugin came in, unless it was asked for itself.
    fn way_text(&self) -> Option<String> {
        let rest = self.way.iter().skip(1).chain([&self.by]).map(|name| format!("requires `{name}`"));
        let first = self.way.first()?;
        Some(format!("`{first}` {}", rest.collect::<Vec<_>>().join(", which ")))
    }
}

/// As in: what `a` 1.0.0 requires (^1.2).
impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {} requires ({})", self.by, self.version, self.range)
    }
}

/// What some plugins require.
fn list(demands: &[Demand]) -> String {
    demands.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and what ")
}

/// How the plugins came in that were not asked for themselves.
fn ways(demands: &[Demand]) -> String {
    let ways: Vec<_> = demands.iter().filter_map(Demand::way_text).collect();
    if ways.is_empty() { String::new() } else { format!(" ({})", ways.join(", and ")) }
}
