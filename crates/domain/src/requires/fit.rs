//! Whether ranges leave any version over.

use semver::{Comparator, Op, Prerelease, Version, VersionReq};

/// Tells whether some version fits all of the ranges. The lowest one that does stands at the lower end of one of them, so
/// these ends are all that has to be tried.
pub(super) fn can_meet(ranges: &[&VersionReq]) -> bool {
    let ends = ranges.iter().flat_map(|range| &range.comparators).flat_map(lower_ends);
    std::iter::once(Version::new(0, 0, 0)).chain(ends).any(|end| ranges.iter().all(|range| range.matches(&end)))
}

/// Where the versions of a comparator may begin. After a pre-release comes the release: other ranges may accept no other.
fn lower_ends(comparator: &Comparator) -> Vec<Version> {
    let Comparator { op, major, minor, patch, pre } = comparator;
    let release = Version::new(*major, minor.unwrap_or(0), patch.unwrap_or(0));
    let early = |pre: Prerelease| Version { pre, ..release.clone() };
    match (op, minor, patch) {
        (Op::Greater, None, _) => vec![Version::new(major.saturating_add(1), 0, 0)],
        (Op::Greater, Some(minor), None) => vec![Version::new(*major, minor.saturating_add(1), 0)],
        (Op::Greater, Some(minor), Some(patch)) if pre.is_empty() => {
            vec![Version::new(*major, *minor, patch.saturating_add(1))]
        }
        // What follows `1.0.0-a` is `1.0.0-a.0`.
        (Op::Greater, ..) => {
            Prerelease::new(&format!("{pre}.0")).map(early).into_iter().chain([release.clone()]).collect()
        }
        _ => vec![early(pre.clone()), release],
    }
}
