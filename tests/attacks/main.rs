//! Hostile inputs, each thrown at a running service of its own: refused with its code, and nothing left behind.
//! The numbers are those of the list of attacks that plugbay is built against.
#![expect(clippy::unwrap_used, reason = "a failed step should stop the test")]

#[path = "../support/mod.rs"]
mod support;
mod api;
#[path = "../support/forge/mod.rs"]
mod forge;
mod bombs;
mod manifest;
mod paths;
mod signing;
mod tar;
mod target;
mod zip;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use target::Target;

/// One family of attacks.
struct Attack {
    /// The numbers it covers.
    numbers: &'static [u16],
    run: fn(&mut Target),
}

/// Shorthand for the tables.
const fn attack(numbers: &'static [u16], run: fn(&mut Target)) -> Attack {
    Attack { numbers, run }
}

/// Numbers that need a test.
const WANTED: [RangeInclusive<u16>; 2] = [1..=146, 196..=211];

/// Numbers that do not apply, with the reason.
const NOT_APPLICABLE: &[(u16, &str)] = &[
    (124, "the signature format has no signed type string"),
    (135, "manifests carry no expiry; keys do, see 133"),
    (136, "versions replace release numbers; see 138"),
    (139, "one key signs, there is no threshold of several"),
    (141, "there is no signature envelope; base64 variants are part of 143"),
    (144, "there are no key sets with counters"),
    (210, "the first token is meant to be used again, and can be revoked like any other"),
];

fn tables() -> Vec<&'static [Attack]> {
    let archives = [paths::TABLE, tar::TABLE, zip::TABLE, bombs::TABLE, manifest::TABLE, signing::TABLE];
    [&archives[..], &api::TABLES].concat()
}

#[test]
fn every_number_has_exactly_one_test_or_a_reason() {
    let mut seen: BTreeMap<u16, usize> = BTreeMap::new();
    let numbers = tables().into_iter().flatten().flat_map(|attack| attack.numbers).copied();
    for number in numbers.chain(NOT_APPLICABLE.iter().map(|(number, _)| *number)) {
        *seen.entry(number).or_default() += 1;
    }
    let wanted: Vec<u16> = WANTED.into_iter().flatten().collect();
    let missing: Vec<_> = wanted.iter().filter(|number| !seen.contains_key(number)).collect();
    let repeated: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
    let strange: Vec<_> = seen.keys().filter(|number| !wanted.contains(number)).collect();
    assert!(
        missing.is_empty() && repeated.is_empty() && strange.is_empty(),
        "missing {missing:?}, repeated {repeated:?}, strange {strange:?}"
    );
    assert!(NOT_APPLICABLE.iter().all(|(_, reason)| !reason.is_empty()));
}

#[test]
fn names_and_kinds_of_entries() {
    run(paths::TABLE);
}

#[test]
fn the_tar_format() {
    run(tar::TABLE);
}

#[test]
fn the_zip_format() {
    run(zip::TABLE);
}

#[test]
fn bombs_and_costs() {
    run(bombs::TABLE);
}

#[test]
fn hostile_manifests() {
    run(manifest::TABLE);
}

#[test]
fn signatures_keys_and_versions() {
    run(signing::TABLE);
}

/// Runs one table, each attack against a fresh service.
fn run(table: &[Attack]) {
    for attack in table {
        #[expect(clippy::print_stdout, reason = "a failed test shows how far it came")]
        {
            println!("attack {:?}", attack.numbers);
        }
        let mut target = Target::start();
        (attack.run)(&mut target);
        target.finish();
    }
}
