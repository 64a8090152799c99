//! Vectors of the list of attacks: A.173–175, 179, 180, 184, 186, 187, 191, 192.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::policy::{check_foreign, check_public};
use plugbay_domain::{Grants, PermissionUnit};

#[expect(clippy::unnecessary_wraps, reason = "as a plugin holds it")]
fn hosts(rules: &[&str]) -> Option<NetworkGrant> {
    Some(NetworkGrant::Hosts(rules.iter().map(|rule| rule.parse().unwrap()).collect()))
}

fn target(text: &str) -> Target {
    Target::parse(text, None).unwrap_or_else(|error| panic!("{error}"))
}

fn is_allowed(grant: Option<&NetworkGrant>, text: &str) -> bool {
    Target::parse(text, None).is_ok_and(|target| decide(grant, &target).is_ok())
}

fn checked(text: &str, by_name: bool, found: &[&str], listed: &[&str]) -> Result<usize, String> {
    let spoken = Spoken { tls: true, by_name, ..Spoken::default() };
    let target = target(text);
    let found: Vec<SocketAddr> = found.iter().map(|address| (address.parse::<IpAddr>().unwrap(), 443).into()).collect();
    let listed: Vec<AllowedHost> = listed.iter().map(|host| host.parse().unwrap()).collect();
    if !is_listed(&target, spoken, &listed) {
        check_addresses(&target, &found, |address| check_foreign(address, &[])).map_err(|error| error.to_string())?;
    }
    Ok(found.len())
}

#[test]
fn a_rule_is_for_its_host_and_port_and_nothing_near_it() {
    let grant = hosts(&["example.com", "*.wild.example:8443", "http://plain.example", "tcp://db.example:5432"]);
    for text in ["example.com:443", "EXAMPLE.com.:443", "a.wild.example:8443", "plain.example:80", "db.example:5432"] {
        assert!(is_allowed(grant.as_ref(), text), "{text}");
    }
    for text in [
        // 186, 187
        "evil-example.com:443",
        "example.com.evil:443",
        "xexample.com:443",
        "www.example.com:443",
        "com:443",
        "xn--example-.org:443",
        "xn--exampl-2of.com:443",
        "wild.example:8443",
        "a.b.wild.example:8443",
        // 191
        "example.com:25",
        "example.com:22",
        "example.com:80",
        "a.wild.example:443",
        "plain.example:443",
        "db.example:443",
        // 184
        "93.184.216.34:443",
        "[2606:2800:220:1::1]:443",
        // 179, 180, 185
        "example.com@evil.example:443",
        "evil.example#@example.com:443",
        "evil.example\\@example.com:443",
        "example.com\0.evil.example:443",
        "example.com%00:443",
        "example.com :443",
    ] {
        assert!(!is_allowed(grant.as_ref(), text), "{text}");
    }
}

#[test]
fn nothing_granted_is_nothing_allowed() {
    for grant in [None, hosts(&[])] {
        for text in ["example.com:443", "localhost:80", "1.1.1.1:443"] {
            assert!(!is_allowed(grant.as_ref(), text), "{text}");
            assert!(ports_of(grant.as_ref(), text).is_empty());
        }
    }
    assert_eq!(Grants::of(&[] as &[PermissionUnit]).network(), None);
}

#[test]
fn every_public_host_is_reached_by_name_with_tls_or_http() {
    let grant = Some(NetworkGrant::EveryPublicHost);
    let spoken = decide(grant.as_ref(), &target("any.example:8443")).unwrap();
    assert_eq!(spoken, Spoken { tls: true, http: true, raw: false, by_name: false });
    assert!(!is_allowed(grant.as_ref(), "1.1.1.1:443"));
    assert_eq!(ports_of(grant.as_ref(), "any.example"), BTreeSet::from([80, 443]));
}

#[test]
fn a_refusal_says_what_is_granted() {
    let said = |grant: Option<NetworkGrant>, text: &str| {
        let error = decide(grant.as_ref(), &target(text)).unwrap_err();
        (error.to_string(), error.how("weather"))
    };
    let (text, how) = said(hosts(&["a.example", "a.example:8443"]), "a.example:22");
    assert_eq!(text, "`a.example:22` is not granted, only port 443, 8443 of it");
    assert_eq!(how, "plugbay approve weather --grant network_access:a.example:22");
    assert_eq!(said(None, "a.example:22").0, "`a.example:22` is not granted, because nothing is");
}

#[test]
fn addresses_that_are_not_public_are_refused_in_every_form() {
    // 173, 174: what the forms of PayloadsAllTheThings and the vectors of smokescreen lead to.
    for address in [
        "127.0.0.1",
        "127.127.127.127",
        "127.0.0.0",
        "0.0.0.0",
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "192.0.0.192",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001::7f00:1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "fd00:ec2::254",
        "fe80::a9fe:a9fe",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "100::1",
    ] {
        let error = checked("a.example:443", true, &[address], &[]).unwrap_err();
        assert!(error.contains("refused"), "{address}: {error}");
        // 175: in any company.
        for mixed in [["1.1.1.1", address], [address, "1.1.1.1"]] {
            assert!(checked("a.example:443", true, &mixed, &[]).is_err(), "{mixed:?}");
        }
    }
    assert_eq!(checked("a.example:443", true, &["1.1.1.1", "2606:4700::1111"], &[]), Ok(2));
}

#[test]
fn private_hosts_are_those_that_were_listed_and_granted_by_name() {
    let private = ["10.1.2.3"];
    assert_eq!(checked("db.internal:443", true, &private, &["db.internal"]), Ok(1));
    assert_eq!(checked("db.internal:443", true, &private, &["db.internal:443"]), Ok(1));
    for (text, by_name, listed) in [
        ("db.internal:443", false, "db.internal"),
        ("db.internal:443", true, "db.internal:80"),
        ("db.internal:443", true, "10.1.2.3"),
        ("a.db.internal:443", true, "db.internal"),
        ("other.internal:443", true, "db.internal"),
    ] {
        assert!(checked(text, by_name, &private, &[listed]).is_err(), "{text} {by_name} {listed}");
    }
    assert_eq!(checked("10.1.2.3:443", true, &private, &["10.1.2.3:443"]), Ok(1));
}

proptest! {
    /// Whatever the resolver says: without a listed host only public addresses are dialled.
    #[test]
    fn only_public_addresses_are_dialled(addresses in proptest::collection::vec(any::<IpAddr>(), 0..6)) {
        let found: Vec<SocketAddr> = addresses.into_iter().map(|address| (address, 443).into()).collect();
        let checked = check_addresses(&target("a.example:443"), &found, |address| check_foreign(address, &[]));
        let all_public = found.iter().all(|address| check_public(address.ip()).is_ok());
        prop_assert_eq!(checked.is_ok(), all_public);
    }

    #[test]
    fn names_beside_a_rule_are_refused(name in "[a-z0-9-]{1,12}(\\.[a-z0-9-]{1,12}){0,3}") {
        let grant = hosts(&["api.example.com"]);
        let text = format!("{name}:443");
        prop_assert_eq!(is_allowed(grant.as_ref(), &text), name == "api.example.com");
    }
}
