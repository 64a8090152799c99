//! A plugin's configuration as it is held in memory: plain values, and secrets that show themselves to nobody who does
//! not ask for them by name.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use super::{NetworkRule, Secret, SecretHeader};

/// One secret with how it may be used.
#[derive(Clone, Debug)]
struct HeldSecret {
    value: SecretString,
    /// `None` where the version must not have it: it is only kept out of what comes back and what is said.
    policy: Option<Secret>,
}

/// The secrets of one plugin.
#[derive(Clone, Debug, Default)]
pub struct Secrets(BTreeMap<String, HeldSecret>);

/// A secret for a request that the service makes in the place of a plugin.
#[derive(Clone, Debug)]
pub struct FetchSecret {
    /// The value.
    pub value: SecretString,
    /// The only places it may be sent to; never empty.
    pub hosts: Vec<NetworkRule>,
    /// The only header that carries it.
    pub header: SecretHeader,
}

impl Secrets {
    /// Adds a secret with what its schema says about it.
    pub fn insert(&mut self, field: String, value: SecretString, policy: Secret) {
        self.0.insert(field, HeldSecret { value, policy: Some(policy) });
    }

    /// Adds a secret that this version must not have.
    pub fn withhold(&mut self, field: String, value: SecretString) {
        self.0.insert(field, HeldSecret { value, policy: None });
    }

    /// The secret that `http.fetch` may put into a request, with the hosts it is for. A secret without hosts is for the
    /// plugin alone and never sent by the service.
    pub fn for_fetch(&self, field: &str) -> Option<FetchSecret> {
        let held = self.0.get(field)?;
        let policy = held.policy.as_ref().filter(|policy| !policy.hosts.is_empty())?;
        Some(FetchSecret { value: held.value.clone(), hosts: policy.hosts.clone(), header: policy.header() })
    }

    /// Every secret that is to be kept out of what comes back: those that requests may carry, and those that requests of
    /// another version have carried.
    pub fn hidden(&self) -> impl Iterator<Item = &SecretString> {
        let is_hidden = |held: &&HeldSecret| held.policy.as_ref().is_none_or(|policy| !policy.hosts.is_empty());
        self.0.values().filter(is_hidden).map(|held| &held.value)
    }

    /// Every value, whatever the version may do with it.
    pub fn values(&self) -> impl Iterator<Item = &SecretString> {
        self.0.values().map(|held| &held.value)
    }

    /// Where secrets may be sent to, all of them.
    pub fn hosts(&self) -> impl Iterator<Item = &NetworkRule> {
        self.0.values().filter_map(|held| held.policy.as_ref()).flat_map(|policy| &policy.hosts)
    }

    fn delivered(&self) -> impl Iterator<Item = (&String, &SecretString)> {
        let is_delivered = |held: &HeldSecret| held.policy.as_ref().is_some_and(|policy| policy.deliver);
        self.0.iter().filter(move |(_, held)| is_delivered(held)).map(|(field, held)| (field, &held.value))
    }
}

/// Everything that is set for one plugin. Printed for debugging, it shows no secret.
#[derive(Clone, Debug, Default)]
pub struct PluginConfig {
    values: Map<String, Value>,
    secrets: Secrets,
}

impl PluginConfig {
    /// Puts values and secrets together.
    pub fn new(values: Map<String, Value>, secrets: Secrets) -> Self {
        Self { values, secrets }
    }

    /// Its secrets.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Tells whether the plugin itself gets the same as with the other one.
    pub fn is_shown_like(&self, other: &Self) -> bool {
        let mut known = other.secrets.delivered().map(|(field, value)| (field, value.expose_secret()));
        let is_known = |(field, value): (&String, &SecretString)| known.next() == Some((field, value.expose_secret()));
        self.values == other.values && self.secrets.delivered().all(is_known) && known.next().is_none()
    }

    /// What the plugin itself gets, secrets that are delivered included. For the message to the plugin and nothing else.
    pub fn reveal(&self) -> Value {
        let mut config = self.values.clone();
        config.extend(self.secrets.delivered().map(|(field, value)| (field.clone(), value.expose_secret().into())));
        Value::Object(config)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(secrets: &[(&str, &str, Secret)]) -> PluginConfig {
        let mut held = Secrets::default();
        for (field, value, policy) in secrets {
            held.insert((*field).to_owned(), SecretString::from(*value), policy.clone());
        }
        let Value::Object(values) = json!({"port": 80}) else { panic!("an object") };
        PluginConfig::new(values, held)
    }

    fn policy(hosts: &[&str], deliver: bool) -> Secret {
        Secret { hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(), deliver, header: None }
    }

    #[test]
    fn a_plugin_gets_what_is_delivered_and_requests_what_has_hosts() {
        let found = config(&[
            ("own", "own-secret", policy(&[], true)),
            ("sent", "sent-secret", policy(&["api.example.com"], false)),
            ("both", "both-secret", policy(&["api.example.com"], true)),
        ]);
        assert_eq!(found.reveal(), json!({"port": 80, "own": "own-secret", "both": "both-secret"}));
        assert!(found.secrets().for_fetch("own").is_none() && found.secrets().for_fetch("none").is_none());
        let sent = found.secrets().for_fetch("sent").unwrap();
        assert_eq!(
            (sent.value.expose_secret(), sent.hosts[0].to_string().as_str()),
            ("sent-secret", "api.example.com:443")
        );
        assert!(found.secrets().for_fetch("both").is_some());
        let mut withheld = Secrets::default();
        withheld.withhold("sent".to_owned(), SecretString::from("sent-secret"));
        assert!(withheld.for_fetch("sent").is_none() && withheld.hosts().next().is_none());
        assert_eq!(withheld.hidden().count(), 1, "a host may have kept it");
        assert_eq!(PluginConfig::new(Map::new(), withheld).reveal(), json!({}));
        let (delivered, hidden) = (("a", "one", policy(&[], true)), ("b", "two", policy(&["a.example"], false)));
        let one = config(std::slice::from_ref(&delivered));
        assert!(one.is_shown_like(&config(&[delivered.clone(), hidden.clone()])), "what it does not see");
        for other in [
            config(&[]),
            config(&[("a", "other", policy(&[], true))]),
            config(&[delivered, ("b", "two", policy(&[], true))]),
        ] {
            assert!(!one.is_shown_like(&other) && !other.is_shown_like(&one));
        }
        let shown = format!("{found:?}{sent:?}");
        assert!(!shown.contains("-secret"), "{shown}");
    }
}
