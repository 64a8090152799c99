//! How much trust a plugin needs, as one number with its reasons: 6 is the least that a plugin can ask for, 1 the most.
//!
//! The number is for a glance. It follows from what is in force (grants, isolation, signature, scan), so it changes when
//! one of these does, and each step of it is told.

use crate::grant::{Grants, NetworkGrant, Reach};
use crate::manifest::Manifest;
use crate::{Egress, Isolation, Verdict};

/// The best rating.
const BEST: i8 = 6;

/// The worst.
const WORST: i8 = 1;

/// What is rated.
#[derive(Clone, Copy, Debug)]
pub struct Rated<'a> {
    /// The version's manifest.
    pub manifest: &'a Manifest,
    /// What it may do.
    pub grants: &'a Grants,
    /// Whether a trusted key signed it.
    pub is_signed: bool,
    /// What stands between it and the machine, where that is known.
    pub isolation: Option<Isolation>,
    /// How its code looks, if it was read.
    pub verdict: Option<Verdict>,
}

/// A rating with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rating {
    /// 1 to 6.
    pub score: u8,
    /// What it follows from, in the order in which it was counted.
    pub points: Vec<RatingPoint>,
}

/// One step of a rating.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RatingPoint {
    /// How much it takes away.
    pub change: i8,
    /// Why, in a sentence.
    pub reason: &'static str,
}

impl Rating {
    /// Rates a plugin.
    pub fn of(rated: &Rated<'_>) -> Self {
        let mut points = Vec::new();
        let mut take = |change, reason| points.push(RatingPoint { change, reason });
        if !rated.is_signed {
            take(-1, "No trusted key signed it.");
        }
        if rated.isolation == Some(Isolation::Process) {
            take(-1, "It runs under bubblewrap, which has fewer walls than a container.");
        }
        let reach = Reach::of(rated.manifest, rated.grants);
        match rated.grants.network() {
            None => {}
            Some(NetworkGrant::Hosts(_)) if reach.egress == Egress::Named => take(-1, "It connects to named hosts."),
            Some(_) => take(-2, "It connects to every public host."),
        }
        if reach.holds_data {
            take(-1, "It sees data that is not its own.");
        }
        if rated.grants.changes_data() {
            take(-1, "It changes data that is not its own.");
        }
        if reach.holds_data && reach.egress == Egress::Open {
            take(-1, "What it sees can leave for every public host.");
        }
        if reach.calls_all {
            take(-2, "It calls every plugin, with all that those may do.");
        } else if !reach.calls.is_empty() {
            take(-1, "It calls other plugins, with all that those may do.");
        }
        match rated.verdict {
            None => take(-1, "Its code was not read yet."),
            Some(Verdict::Clean | Verdict::Notes) => {}
            Some(Verdict::Suspicious) => take(-2, "Its code looks suspicious."),
            Some(Verdict::Malicious) => take(-5, "Its code looks malicious."),
        }
        let sum = points.iter().fold(BEST, |score, point| score.saturating_add(point.change));
        Self { score: sum.max(WORST).unsigned_abs(), points }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Permission, PermissionUnit};

    fn rated(permissions: &[(Permission, Option<&str>)], change: impl FnOnce(&mut Rated<'_>)) -> (u8, Vec<i8>) {
        let manifest = Manifest::parse(b"name: demo\nversion: 1.0.0\nmain: main.py\n").unwrap();
        let unit = |(permission, part): &(Permission, Option<&str>)| PermissionUnit {
            permission: *permission,
            part: part.map(str::to_owned),
        };
        let units: Vec<_> = permissions.iter().map(unit).collect();
        let grants = Grants::of(&units);
        let mut what = Rated {
            manifest: &manifest,
            grants: &grants,
            is_signed: true,
            isolation: Some(Isolation::Docker),
            verdict: Some(Verdict::Clean),
        };
        change(&mut what);
        let rating = Rating::of(&what);
        (rating.score, rating.points.iter().map(|point| point.change).collect())
    }

    #[test]
    fn each_point_has_its_reason() {
        use Permission::{AdminAccess, ChatAccess, DatabaseRead, DatabaseWrite, NetworkAccess, Plugins};
        let host = (NetworkAccess, Some("api.example.com:443"));
        assert_eq!(rated(&[], |_| ()), (6, vec![]));
        assert_eq!(rated(&[], |what| what.is_signed = false), (5, vec![-1]));
        assert_eq!(rated(&[], |what| what.isolation = Some(Isolation::Process)), (5, vec![-1]));
        assert_eq!(rated(&[], |what| what.isolation = None), (6, vec![]));
        assert_eq!(rated(&[], |what| what.verdict = None), (5, vec![-1]));
        assert_eq!(rated(&[], |what| what.verdict = Some(Verdict::Notes)), (6, vec![]));
        assert_eq!(rated(&[], |what| what.verdict = Some(Verdict::Suspicious)), (4, vec![-2]));
        assert_eq!(rated(&[], |what| what.verdict = Some(Verdict::Malicious)), (1, vec![-5]));
        assert_eq!(rated(&[host], |_| ()), (5, vec![-1]));
        assert_eq!(rated(&[(NetworkAccess, None)], |_| ()), (4, vec![-2]));
        assert_eq!(rated(&[(DatabaseRead, Some("chat"))], |_| ()), (5, vec![-1]));
        assert_eq!(rated(&[(DatabaseWrite, Some("chat"))], |_| ()), (4, vec![-1, -1]));
        assert_eq!(rated(&[(ChatAccess, None), (NetworkAccess, None)], |_| ()), (2, vec![-2, -1, -1]));
        assert_eq!(rated(&[(Plugins, Some("other"))], |_| ()), (5, vec![-1]));
        assert_eq!(rated(&[(AdminAccess, None)], |_| ()), (4, vec![-2]));
    }

    #[test]
    fn nothing_is_worse_than_the_worst() {
        use Permission::{AdminAccess, ChatAccess, DatabaseWrite, NetworkAccess};
        let all = [(NetworkAccess, None), (ChatAccess, None), (DatabaseWrite, None), (AdminAccess, None)];
        let (score, points) = rated(&all, |what| {
            (what.is_signed, what.isolation, what.verdict) =
                (false, Some(Isolation::Process), Some(Verdict::Malicious));
        });
        assert_eq!((score, points.len()), (1, 8));
    }
}
