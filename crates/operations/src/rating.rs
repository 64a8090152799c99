//! How much trust a plugin needs, by what is in force.

use plugbay_domain::{Grants, Manifest, Rated, Rating, SignatureStatus};
use plugbay_store::plugins::VersionRecord;

use crate::Service;

/// The rating of a version under these grants.
pub(crate) fn rating_of(service: &Service, version: &VersionRecord, manifest: &Manifest, grants: &Grants) -> Rating {
    Rating::of(&Rated {
        manifest,
        grants,
        is_signed: version.signature_status == SignatureStatus::Valid,
        isolation: service.fleet.isolation(),
        verdict: version.verdict,
    })
}

/// Its rating if everything were granted that it asks for.
pub(crate) fn asked_rating(service: &Service, version: &VersionRecord, manifest: &Manifest) -> Rating {
    let units: Vec<_> = manifest.asked().into_iter().map(|asked| asked.unit).collect();
    rating_of(service, version, manifest, &Grants::of(&units))
}

/// How a decision changes a rating.
#[derive(Clone, Debug)]
pub struct RatingChange {
    /// As it is.
    pub before: Rating,
    /// As it comes to be.
    pub after: Rating,
}
