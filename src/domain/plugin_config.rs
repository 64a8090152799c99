//! A plugin's configuration as it is held in memory: plain values, and secrets that show themselves to nobody who does
//! not ask for them by name.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use super::{NetworkRule, Secret, SecretHeader};

/// Shorter values are not looked for: they stand in any text by chance.
const SHORTEST_MASKED: usize = 8;

/// Values that are looked for in what one plugin says, those of before included. The oldest are forgotten first.
const MOST_MASKED: usize = 256;

/// What stands in the place of a secret.
const MASK: &str = "[redacted]";

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

    /// What the plugin itself gets, secrets that are delivered included. For the message to the plugin and nothing else.
    pub fn reveal(&self) -> Value {
        let mut config = self.values.clone();
        config.extend(self.secrets.delivered().map(|(field, value)| (field.clone(), value.expose_secret().into())));
        Value::Object(config)
    }
}

/// Finds secrets in texts and puts a mask in their place.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Oldest first.
    known: Vec<SecretString>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} values)", self.known.len())
    }
}

impl Redactor {
    /// Looks for the secrets of this configuration, too. Those of before are still looked for: a plugin may remember them.
    #[must_use]
    pub fn with(&self, config: &PluginConfig) -> Self {
        let mut known = self.known.clone();
        for held in config.secrets.0.values() {
            let value = held.value.expose_secret();
            // As a JSON or Python string would show it, and each line of what has several.
            let quoted = Value::from(value).to_string();
            let quoted = quoted.trim_matches('"');
            for form in [value, quoted].into_iter().chain(value.lines()) {
                let is_known = known.iter().any(|known| known.expose_secret() == form);
                if form.len() >= SHORTEST_MASKED && !is_known {
                    known.push(SecretString::from(form));
                }
            }
        }
        known.drain(..known.len().saturating_sub(MOST_MASKED));
        Self { known }
    }

    /// The text without the secrets.
    pub fn mask(&self, text: &str) -> String {
        let mut found: Vec<&str> =
            self.known.iter().map(SecretString::expose_secret).filter(|known| text.contains(known)).collect();
        // One may be a part of another.
        found.sort_unstable_by_key(|known| std::cmp::Reverse(known.len()));
        found.into_iter().fold(text.to_owned(), |text, known| text.replace(known, MASK))
    }

    /// The same for no more than the first bytes of a long text. What may be the beginning of a secret at the cut is left
    /// out, too.
    pub fn mask_beginning(&self, text: &str, bytes: usize) -> String {
        let end = text.floor_char_boundary(bytes);
        let mut masked = self.mask(&text[..end]);
        if end < text.len() {
            let longest = self.known.iter().map(|known| known.expose_secret().len()).max().unwrap_or_default();
            masked.truncate(masked.floor_char_boundary(masked.len().saturating_sub(longest)));
        }
        masked
    }

    /// The same for every text of a value, names of fields included.
    pub fn mask_value(&self, value: Value) -> Value {
        match value {
            _ if self.known.is_empty() => value,
            Value::String(text) => Value::String(self.mask(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.mask_value(item)).collect(),
            Value::Object(fields) => Value::Object(self.mask_fields(fields)),
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }

    /// The same for every field of an object.
    pub fn mask_fields(&self, fields: Map<String, Value>) -> Map<String, Value> {
        fields.into_iter().map(|(name, value)| (self.mask(&name), self.mask_value(value))).collect()
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
        let shown = format!("{found:?}{sent:?}");
        assert!(!shown.contains("-secret"), "{shown}");
    }

    #[test]
    fn secrets_are_masked_in_texts_and_values_in_every_form() {
        let found = Redactor::default().with(&config(&[
            ("short", "seven77", policy(&[], true)),
            ("part", "hunter2hunter2", policy(&[], true)),
            ("whole", "my-hunter2hunter2-key", policy(&[], true)),
            ("lines", "first line \"one\"\nsecond line", policy(&[], false)),
        ]));
        assert_eq!(found.mask("a my-hunter2hunter2-key b hunter2hunter2"), "a [redacted] b [redacted]");
        assert_eq!(found.mask("seven77"), "seven77", "too short to be told from chance");
        assert_eq!(found.mask(r#"{"k": "first line \"one\"\nsecond line"}"#), r#"{"k": "[redacted]"}"#);
        assert_eq!(found.mask("second line"), "[redacted]");
        assert_eq!(found.mask_beginning("hunter2hunter2", 100), "[redacted]");
        let cut = found.mask_beginning(&"my-hunter2hunter2-key".repeat(10), 50);
        assert!(!cut.contains("hunter2"), "{cut}");
        let masked = found.mask_value(json!({"hunter2hunter2": ["x hunter2hunter2", 1, null]}));
        assert_eq!(masked, json!({"[redacted]": ["x [redacted]", 1, null]}));
        let later = found.with(&config(&[("part", "changed-since", policy(&[], true))]));
        assert_eq!(later.mask("hunter2hunter2 changed-since"), "[redacted] [redacted]");
        assert!(!format!("{later:?}").contains("changed"));
    }

    #[test]
    fn the_oldest_values_are_forgotten_first() {
        let mut redactor = Redactor::default();
        for number in 0..=MOST_MASKED {
            redactor = redactor.with(&config(&[("a", &format!("secret-{number:04}"), policy(&[], true))]));
        }
        assert_eq!(redactor.known.len(), MOST_MASKED);
        assert_eq!(redactor.mask("secret-0000 secret-0001"), "secret-0000 [redacted]");
    }
}
