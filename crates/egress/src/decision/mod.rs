//! Decides on names and addresses. Pure: the name before it is resolved, every address before one is dialled.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::policy::Refused;
use super::{EgressError, Target, TargetHost};
use plugbay_domain::{AllowedHost, NetworkGrant, NetworkScheme};

/// Ports on which every public host is reached by its name alone. Through the proxy any port can be named.
const PUBLIC_PORTS: [u16; 2] = [80, 443];

/// What may be spoken with a target.
#[expect(clippy::struct_excessive_bools, reason = "three protocols, each granted or not, and by whom")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    /// TLS for the host's name.
    pub tls: bool,
    /// Plain HTTP for the host's name.
    pub http: bool,
    /// Anything.
    pub raw: bool,
    /// Somebody granted this host by name. Only such hosts may be private ones.
    pub by_name: bool,
}

impl Spoken {
    /// Tells whether whatever the other one allows is allowed.
    pub(super) const fn covers(self, other: Self) -> bool {
        let lacks_one = (other.tls && !self.tls) || (other.http && !self.http) || (other.raw && !self.raw);
        !lacks_one && (self.by_name || !other.by_name)
    }

    /// Tells whether anything may be spoken.
    pub const fn any(self) -> bool {
        self.tls || self.http || self.raw
    }
}

/// What a plugin with this grant may speak with the target.
pub(super) fn decide(grant: Option<&NetworkGrant>, target: &Target) -> Result<Spoken, EgressError> {
    let refused = |but: String| Err(EgressError::NotGranted { wanted: target.to_string(), but });
    match grant {
        None => refused(", because nothing is".to_owned()),
        Some(NetworkGrant::EveryPublicHost) => match target.host() {
            TargetHost::Name(_) => Ok(Spoken { tls: true, http: true, raw: false, by_name: false }),
            // A certificate cannot vouch for an address.
            TargetHost::Address(_) => refused("; every public host is, but by its name".to_owned()),
        },
        Some(NetworkGrant::Hosts(rules)) => {
            let host = target.host().to_string();
            let speaks = |scheme| rules.iter().any(|rule| rule.is_for(scheme, &host, target.port()));
            let spoken = Spoken {
                tls: speaks(NetworkScheme::Tls),
                http: speaks(NetworkScheme::Http),
                raw: speaks(NetworkScheme::Tcp),
                by_name: true,
            };
            if spoken.any() {
                return Ok(spoken);
            }
            let ports = ports_of(grant, &host);
            if ports.is_empty() {
                return refused(String::new());
            }
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            refused(format!(", only port {} of it", ports.join(", ")))
        }
    }
}

/// The ports on which a name may be reached; none when it must not be known.
pub(super) fn ports_of(grant: Option<&NetworkGrant>, name: &str) -> BTreeSet<u16> {
    match grant {
        None => BTreeSet::new(),
        Some(NetworkGrant::EveryPublicHost) => PUBLIC_PORTS.into(),
        Some(NetworkGrant::Hosts(rules)) => rules
            .iter()
            .filter(|rule| rule.is_for(rule.scheme(), name, rule.port()))
            .map(plugbay_domain::NetworkRule::port)
            .collect(),
    }
}

/// Tells whether the operator listed the target, so that it may be dialled wherever it is.
pub(super) fn is_listed(target: &Target, spoken: Spoken, allow_private: &[AllowedHost]) -> bool {
    let host = target.host().to_string();
    spoken.by_name && allow_private.iter().any(|listed| listed.covers(&host, target.port()))
}

/// Where a target that is not listed may be dialled. One refused address among several refuses them all: an attacker's name server would
/// otherwise mix a public address with the one it is after.
pub(super) fn check_addresses(
    target: &Target,
    found: &[SocketAddr],
    check: impl Fn(SocketAddr) -> Result<(), Refused>,
) -> Result<(), EgressError> {
    for address in found {
        check(*address).map_err(|kind| EgressError::PrivateAddress {
            target: target.to_string(),
            address: address.ip(),
            kind,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
