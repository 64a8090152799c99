//! Limits on what a schema may cost whoever validates with it.
//!
//! `{"$ref": "#"}` never ends, and thirty definitions that each name the next one twice take 2^30 steps. So references
//! lead to `$defs` only, never in a circle, and the schema with all of them written out stays small.

use std::collections::HashMap;

use serde_json::Value;

/// Values in the schema with every reference written out.
const MAX_EXPANDED: u64 = 10_000;

/// Patterns: each may take a megabyte when compiled.
const MAX_PATTERNS: usize = 32;

/// Definitions that lead to each other in a row.
const MAX_CHAIN: usize = 32;

/// Keywords that change what a reference means, or fetch something.
const FORBIDDEN: [&str; 7] =
    ["$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary"];

/// What a schema costs.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::manifest) struct Weight {
    /// Values with every reference written out.
    pub(in crate::manifest) values: u64,
    /// Patterns.
    pub(in crate::manifest) patterns: usize,
}

/// What the schema costs, or why it may not be used.
pub(in crate::manifest) fn weigh(schema: &Value) -> Result<Weight, String> {
    let mut weights = Weights { root: schema, known: HashMap::new(), chain: 0, patterns: 0 };
    let values = weights.of(schema)?;
    if values > MAX_EXPANDED {
        return Err(format!("the schema has more than {MAX_EXPANDED} values once every `$ref` is written out"));
    }
    let patterns = weights.patterns;
    if patterns > MAX_PATTERNS {
        return Err(format!("the schema has {patterns} patterns; at most {MAX_PATTERNS} are accepted"));
    }
    Ok(Weight { values, patterns })
}

struct Weights<'a> {
    root: &'a Value,
    /// Weight of each definition; `None` while it is being weighed.
    known: HashMap<&'a str, Option<u64>>,
    /// Definitions being weighed inside each other.
    chain: usize,
    patterns: usize,
}

impl<'a> Weights<'a> {
    fn of(&mut self, value: &'a Value) -> Result<u64, String> {
        let mut weight = 1_u64;
        match value {
            Value::Array(items) => {
                for item in items {
                    weight = weight.saturating_add(self.of(item)?);
                }
            }
            Value::Object(members) => {
                for (key, member) in members {
                    weight = weight.saturating_add(self.member(key, member)?);
                }
            }
            _ => {}
        }
        Ok(weight)
    }

    fn member(&mut self, key: &'a str, member: &'a Value) -> Result<u64, String> {
        if FORBIDDEN.contains(&key) {
            return Err(format!("`{key}` is not accepted; use `$defs` and `$ref: \"#/$defs/NAME\"`"));
        }
        match (key, member) {
            ("$ref", Value::String(target)) => self.reference(target),
            ("pattern", Value::String(_)) => {
                self.patterns += 1;
                Ok(1)
            }
            ("patternProperties", Value::Object(members)) => {
                self.patterns += members.len();
                self.of(member)
            }
            _ => self.of(member),
        }
    }

    fn reference(&mut self, target: &'a str) -> Result<u64, String> {
        let shown = crate::escape(target);
        match self.known.get(target) {
            Some(Some(weight)) => return Ok(*weight),
            Some(None) => return Err(format!("`$ref: \"{shown}\"` leads back to itself")),
            None => {}
        }
        let root: &'a Value = self.root;
        let name = target.strip_prefix("#/$defs/").filter(|name| !name.contains(['/', '~', '%']));
        let definition = name
            .and_then(|name| root.get("$defs")?.get(name))
            .ok_or_else(|| format!("`$ref: \"{shown}\"` leads to no definition here; expected \"#/$defs/NAME\""))?;
        // Whoever validates follows the chain on its stack.
        if self.chain == MAX_CHAIN {
            return Err(format!("more than {MAX_CHAIN} definitions lead to each other in a row"));
        }
        self.chain += 1;
        self.known.insert(target, None);
        let weight = self.of(definition)?;
        self.known.insert(target, Some(weight));
        self.chain -= 1;
        Ok(weight)
    }
}
