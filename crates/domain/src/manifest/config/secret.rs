//! How a secret may be used, and what was decided about one that is set.

use serde::{Deserialize, Serialize};

use crate::{NetworkRule, SecretHeader};

/// Policies that one secret is held for. The oldest are forgotten first: that gives it to fewer versions.
const MOST_POLICIES: usize = 16;

/// How a secret value is treated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// The only places `http.fetch` may send it to; none where the plugin itself uses it.
    pub hosts: Vec<NetworkRule>,
    /// Whether the plugin gets to see it.
    pub deliver: bool,
    /// The header that carries it; `Authorization` where the manifest names none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub header: Option<SecretHeader>,
}

impl Secret {
    /// For the plugin alone.
    pub const fn delivered() -> Self {
        Self { hosts: Vec::new(), deliver: true, header: None }
    }

    /// The only header that carries it.
    pub fn header(&self) -> SecretHeader {
        self.header.clone().unwrap_or_default()
    }

    /// Tells whether a version that treats the secret as `wanted` says does nothing with it that this does not allow.
    pub fn covers(&self, wanted: &Self) -> bool {
        let sends = |rule: &NetworkRule| self.hosts.iter().any(|own| own.covers(rule));
        (self.deliver || !wanted.deliver)
            && wanted.hosts.iter().all(sends)
            && (wanted.hosts.is_empty() || self.header() == wanted.header())
    }
}

/// What was decided about a secret: how the versions treat it for which it was set, or approved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretPolicies(Vec<Secret>);

impl SecretPolicies {
    /// For versions that treat the secret like this.
    pub fn of(policy: &Secret) -> Self {
        Self::default().with(policy)
    }

    /// For those as well.
    #[must_use]
    pub fn with(&self, policy: &Secret) -> Self {
        // Written out: what holds where nothing is said may change with the service.
        let policy = Secret { header: Some(policy.header()), ..policy.clone() };
        let mut policies: Vec<Secret> = self.0.iter().filter(|known| **known != policy).cloned().collect();
        policies.push(policy);
        policies.drain(..policies.len().saturating_sub(MOST_POLICIES));
        Self(policies)
    }

    /// Tells whether a version that treats the secret as `wanted` says may have it.
    pub fn admit(&self, wanted: &Secret) -> bool {
        self.0.iter().any(|policy| policy.covers(wanted))
    }

    /// As it is stored.
    pub fn to_text(&self) -> String {
        serde_json::json!(self.0).to_string()
    }

    /// Reads what was stored.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(hosts: &[&str], deliver: bool, header: Option<&str>) -> Secret {
        let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
        Secret { hosts, deliver, header: header.map(|header| header.parse().unwrap()) }
    }

    #[test]
    fn a_policy_covers_what_does_less_with_a_secret() {
        let both = secret(&["api.example.com", "*.example.org"], true, None);
        for less in [
            secret(&["api.example.com"], false, None),
            secret(&["a.example.org"], true, Some("Authorization")),
            secret(&[], true, Some("x-key")),
        ] {
            assert!(both.covers(&less), "{less:?}");
        }
        let alone = secret(&["api.example.com"], false, None);
        for more in [
            secret(&["api.example.com"], true, None),
            secret(&["api.example.com", "evil.example"], false, None),
            secret(&["api.example.com:8443"], false, None),
            secret(&["http://api.example.com"], false, None),
            secret(&["*.example.com"], false, None),
            secret(&["api.example.com"], false, Some("x-key")),
            secret(&[], true, None),
        ] {
            assert!(!alone.covers(&more), "{more:?}");
        }
    }

    #[test]
    fn a_secret_is_for_every_policy_it_was_set_or_approved_for() {
        let (one, two) = (secret(&["a.example"], false, None), secret(&["b.example"], false, Some("x-key")));
        let both = SecretPolicies::of(&one).with(&two).with(&one);
        assert!(both.admit(&one) && both.admit(&two) && !both.admit(&Secret::delivered()));
        // Not what only both together allow.
        assert!(!both.admit(&secret(&["a.example", "b.example"], false, None)));
        assert_eq!(SecretPolicies::from_text(&both.to_text()).unwrap(), both);
        assert!(!SecretPolicies::default().admit(&one) && SecretPolicies::from_text("{}").is_err());
        let many = (0..40).fold(both, |all, number| all.with(&secret(&[&format!("{number}.a.example")], false, None)));
        assert!(many.0.len() == MOST_POLICIES && !many.admit(&one));
    }
}
