//! The order and the answers, against words and against trying everything.

use proptest::prelude::*;
use semver::{Version, VersionReq};

use super::fit::can_meet;
use super::*;
use crate::{Code, Refusal};

fn name(text: &str) -> PluginName {
    text.parse().unwrap()
}

fn names(texts: &[&str]) -> Vec<PluginName> {
    texts.iter().map(|text| name(text)).collect()
}

fn range(text: &str) -> VersionReq {
    text.parse().unwrap()
}

/// Plugins as `name version: required range; required range`, one per line.
fn offers(text: &str) -> Offers {
    let plugin = |line: &str| {
        let (head, requires) = line.split_once(':').unwrap();
        let (plugin, version) = head.trim().split_once(' ').unwrap();
        let requires = requires.split(';').map(str::trim).filter(|edge| !edge.is_empty()).map(|edge| {
            let (required, wanted) = edge.split_once(' ').unwrap();
            (name(required), range(wanted))
        });
        (name(plugin), Offer { version: version.parse().unwrap(), requires: requires.collect() })
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(plugin).collect()
}

#[track_caller]
fn assert_refused(text: &str, root: &str, code: Code, detail: &str, how: &str) {
    let refused = offers(text).resolve(&names(&[root])).unwrap_err();
    assert_eq!(refused.to_string(), detail);
    assert_eq!((refused.code(), refused.how().as_deref()), (code, Some(how)));
}

#[test]
fn what_is_required_comes_first_and_once() {
    let offers = offers("a 1.0.0: b ^1; d ^1\nb 1.2.0: c ^1\nc 1.0.0: d >=1, <2\nd 1.9.9:\ne 1.0.0:");
    assert_eq!(offers.resolve(&names(&["a"])), Ok(names(&["d", "c", "b", "a"])));
    assert_eq!(offers.resolve(&names(&["e", "c"])), Ok(names(&["e", "d", "c"])));
    assert_eq!(offers.resolve(&[]), Ok(Vec::new()));
}

#[test]
fn what_is_missing_is_named_with_everybody_who_requires_it() {
    assert_refused(
        "a 1.0.0: b ^1.2",
        "a",
        Code::RequiresMissing,
        "`b` is required by `a` (^1.2) and is not installed",
        "install `b`: plugbay install FILE",
    );
    assert_refused(
        "a 1.0.0: b *; c ^1\nb 1.0.0: c ^1.2",
        "a",
        Code::RequiresMissing,
        "`c` is required by `a` (^1) and by `b` (^1.2) and is not installed (`a` requires `b`)",
        "install `c`: plugbay install FILE",
    );
    assert_refused("a 1.0.0:", "b", Code::RequiresMissing, "`b` is not installed", "install `b`: plugbay install FILE");
}

#[test]
fn a_conflict_names_both_sides_and_the_version_that_is_there() {
    assert_refused(
        "a 1.0.0: b *; c >=1\nb 3.0.0: c ^1.2\nc 2.1.0:",
        "a",
        Code::RequiresConflict,
        "`c` 2.1.0 is installed, which does not fit what `b` 3.0.0 requires (^1.2), while it fits what `a` 1.0.0 \
         requires (>=1) (`a` requires `b`)",
        "plugbay update c FILE with a version that fits ^1.2 and >=1",
    );
    assert_refused(
        "a 1.0.0: b *; c ^2\nb 3.0.0: c ^1.2\nc 2.1.0:",
        "a",
        Code::RequiresConflict,
        "`c` 2.1.0 is installed, which does not fit what `b` 3.0.0 requires (^1.2), while it fits what `a` 1.0.0 \
         requires (^2) (`a` requires `b`); no version of `c` fits both ranges",
        "update `b` or `a` to versions that accept one and the same version of `c`",
    );
    assert_refused(
        "a 1.0.0: b *\nb 3.0.0: c *\nc 1.0.0: d ^1\nd 2.0.0: gone *",
        "a",
        Code::RequiresConflict,
        "`d` 2.0.0 is installed, which does not fit what `c` 1.0.0 requires (^1) (`a` requires `b`, which requires `c`)",
        "plugbay update d FILE with a version that fits ^1",
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    assert_refused(
        "a 1.0.0: b ^1; c ^1\nc 2.0.0:",
        "a",
        Code::RequiresMissing,
        "`b` is required by `a` (^1) and is not installed; `c` 2.0.0 is installed, which does not fit what `a` 1.0.0 \
         requires (^1)",
        "install `b`: plugbay install FILE; plugbay update c FILE with a version that fits ^1",
    );
}

#[test]
fn a_circle_is_named_in_its_order() {
    assert_refused(
        "x 1.0.0: a *\na 1.0.0: b *; gone *\nb 1.0.0: c *\nc 1.0.0: a ^9",
        "x",
        Code::RequiresCycle,
        "plugins require each other in a circle: `a` -> `b` -> `c` -> `a`",
        "take one of the entries out of `requires`: the one in `a`, or the one in `b`, or the one in `c`",
    );
    let offers = offers("a 1.0.0: b *\nb 1.0.0: a *\nc 1.0.0:");
    assert_eq!(offers.find_cycle(&name("b")), Some(names(&["b", "a"])));
    assert_eq!(offers.find_cycle(&name("c")), None);
}

#[test]
fn early_versions_fit_as_semver_says() {
    let fits = |installed: &str, wanted: &str| {
        offers(&format!("a 1.0.0: b {wanted}\nb {installed}:")).resolve(&names(&["a"])).is_ok()
    };
    for (installed, wanted) in [("1.2.0-beta.1", "^1.2"), ("1.2.0-beta.1", "*"), ("1.3.0-rc.1", ">=1.2.0-beta.1")] {
        assert!(!fits(installed, wanted), "{installed} {wanted}");
    }
    assert!(fits("1.2.0-beta.2", "^1.2.0-beta.1"));
    assert!(fits("1.2.0", "^1.2.0-beta.1"));
    assert!(fits("1.2.0+build.7", "=1.2.0"));
}

#[test]
fn a_wish_keeps_its_order_as_far_as_what_is_required_allows() {
    let offers =
        offers("a 1.0.0: between *\nbetween 1.0.0: c ^9\nc 1.0.0:\nd 1.0.0: gone *\ne 1.0.0: f *\nf 1.0.0: e *");
    assert_eq!(offers.required_first(&names(&["d", "a", "c"])), names(&["d", "c", "a"]));
    assert_eq!(offers.required_first(&names(&["c", "d", "a"])), names(&["c", "d", "a"]));
    // Stored data may hold anything; nothing gets lost for it.
    assert_eq!(offers.required_first(&names(&["e", "f"])), names(&["f", "e"]));
}

#[test]
fn dependents_come_before_what_they_require() {
    let offers = offers("a 1.0.0: b *; c *\nb 1.0.0: c *\nc 1.0.0: d *\nd 1.0.0:\nx 1.0.0: d *");
    assert_eq!(offers.dependents_first(&name("c")), names(&["a", "b"]));
    assert_eq!(offers.dependents_first(&name("d")), names(&["x", "a", "b", "c"]));
    assert_eq!(offers.dependents_first(&name("a")), names(&[]));
    let direct: Vec<_> = offers.demands_on(&name("c")).iter().map(|demand| demand.by.clone()).collect();
    assert_eq!(direct, names(&["a", "b"]));
}

#[test]
fn a_long_chain_is_walked_without_recursion() {
    let link = |number: u32| {
        let requires = if number == 0 { Vec::new() } else { vec![(name(&format!("p{}", number - 1)), range("*"))] };
        (
            name(&format!("p{number}")),
            Offer { version: Version::new(1, 0, 0), requires: requires.into_iter().collect() },
        )
    };
    let offers: Offers = (0..5_000).map(link).collect();
    assert_eq!(offers.resolve(&names(&["p4999"])).unwrap().len(), 5_000);
    let mut closed = offers;
    let requires = [(name("p4999"), range("*"))].into_iter().collect();
    closed.put(name("p0"), Offer { version: Version::new(1, 0, 0), requires });
    assert_eq!(closed.find_cycle(&name("p17")).unwrap().len(), 5_000);
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const VERSIONS: [&str; 4] = ["1.0.0", "1.5.0", "2.0.0-rc.1", "2.0.0"];
const RANGES: [&str; 6] = ["*", "^1", "^1.2", ">=1.5", "^2.0.0-rc.1", "<1.5"];

prop_compose! {
    fn graphs()(plugins in proptest::collection::vec(
        (any::<bool>(), 0..VERSIONS.len(), proptest::collection::btree_map(0..NAMES.len(), 0..RANGES.len(), 0..3)),
        NAMES.len(),
    )) -> Offers {
        plugins.into_iter().enumerate().filter(|(_, (is_there, ..))| *is_there).map(|(at, (_, version, edges))| {
            let edges = edges.into_iter().filter(|(required, _)| *required != at);
            let requires = edges.map(|(required, wanted)| (name(NAMES[required]), range(RANGES[wanted]))).collect();
            (name(NAMES[at]), Offer { version: VERSIONS[version].parse().unwrap(), requires })
        }).collect()
    }
}

/// Every order of every set of names, of which there are 326.
fn every_order(left: &[PluginName]) -> Vec<Vec<PluginName>> {
    let mut orders = vec![Vec::new()];
    for first in left {
        let rest: Vec<_> = left.iter().filter(|other| *other != first).cloned().collect();
        orders.extend(every_order(&rest).into_iter().map(|order| [vec![first.clone()], order].concat()));
    }
    orders
}

/// Whether these can be started one after the other.
fn can_start(offers: &Offers, order: &[PluginName]) -> bool {
    order.iter().enumerate().all(|(at, name)| {
        let before = &order[..at];
        offers.find(name).is_some_and(|offer| {
            offer.requires.iter().all(|(required, range)| {
                before.contains(required) && range.matches(&offers.find(required).unwrap().version)
            })
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_answer_is_that_of_trying_every_order(offers in graphs(), roots in proptest::sample::subsequence(NAMES.to_vec(), 1..3)) {
        let roots = names(&roots);
        let orders = every_order(&names(&NAMES));
        let mut found: Vec<_> = orders
            .into_iter()
            .filter(|order| roots.iter().all(|root| order.contains(root)) && can_start(&offers, order))
            .collect();
        found.sort_by_key(Vec::len);
        match offers.resolve(&roots) {
            Ok(order) => {
                prop_assert!(can_start(&offers, &order), "{order:?}");
                prop_assert_eq!(Some(order.len()), found.first().map(Vec::len), "nothing is started in vain");
            }
            Err(refused) => {
                prop_assert!(found.is_empty(), "{} but {:?}", refused, found.first());
                prop_assert!(!refused.to_string().is_empty());
            }
        }
    }

    #[test]
    fn ranges_meet_if_any_version_fits_them(wanted in proptest::collection::vec("(\\^|~|=|>|>=|<|<=)[0-3](\\.[0-3](\\.[0-3](-a)?)?)?", 1..4)) {
        let ranges: Vec<VersionReq> = wanted.iter().map(|text| range(text)).collect();
        let ranges: Vec<&VersionReq> = ranges.iter().collect();
        let fits = |version: &Version| ranges.iter().all(|range| range.matches(version));
        let numbers = || 0..6;
        let any = numbers().any(|major| numbers().any(|minor| numbers().any(|patch| {
            ["", "-a", "-a.0", "-b"].iter().any(|pre| fits(&format!("{major}.{minor}.{patch}{pre}").parse().unwrap()))
        })));
        prop_assert_eq!(can_meet(&ranges), any);
    }
}
