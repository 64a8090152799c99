//! How much work it is to check a value with a schema, counted before it is done.
//!
//! Size says little about work: a list of a megabyte is checked in no time, and a schema of one kilobyte whose
//! definitions look for what the next one left unevaluated takes for ever. So the count walks schema and value as the
//! validator will, and gives up where the budget ends. That makes the count itself as cheap as the budget.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Checker;

/// Steps that one check may take. A step of the validator takes a microsecond at the most.
const MAX_STEPS: u64 = 400_000;

/// Sizes of a compiled pattern, and the steps that each byte of a text then costs: a pattern of a megabyte may be at
/// thousands of places at once.
const PATTERN_STEPS: [(usize, u64); 3] = [(1 << 14, 8), (1 << 16, 32), (1 << 18, 128)];
const MOST_PATTERN_STEPS: u64 = 512;

/// Bytes of text that are looked at in one step where there is no pattern.
const BYTES_PER_STEP: usize = 64;

/// Checking takes more steps than are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("checking it takes more than {MAX_STEPS} steps; use a simpler schema, or smaller values")]
pub(in crate::manifest) struct TooMuchWork;

/// What is left of the steps of one check.
#[derive(Debug)]
pub(in crate::manifest) struct Budget<'a> {
    root: &'a Value,
    left: u64,
    /// Steps for each byte, by pattern.
    patterns: &'a HashMap<String, u64>,
}

impl<'a> Budget<'a> {
    /// The steps that a check may take at the most.
    pub(in crate::manifest) const MAX_STEPS: u64 = MAX_STEPS;

    /// So many steps for values that are checked with this schema, which the checker was made of.
    pub(in crate::manifest) fn of(checker: &'a Checker, schema: &'a Value, steps: u64) -> Self {
        Self { root: schema, left: steps, patterns: &checker.patterns }
    }

    /// Takes what it costs to check the value with the schema, and tells how many steps that is.
    pub(super) fn spend(&mut self, value: &Value) -> Result<u64, TooMuchWork> {
        let before = self.left;
        self.check(self.root, value)?;
        Ok(before - self.left)
    }

    fn take(&mut self, steps: u64) -> Result<(), TooMuchWork> {
        self.left = self.left.checked_sub(steps).ok_or(TooMuchWork)?;
        Ok(())
    }

    fn check(&mut self, schema: &'a Value, value: &Value) -> Result<(), TooMuchWork> {
        self.take(1)?;
        let Value::Object(members) = schema else { return Ok(()) };
        let looks_again = members.contains_key("unevaluatedProperties") || members.contains_key("unevaluatedItems");
        // What a schema left unevaluated is found by checking all of it a second time.
        for _ in 0..=usize::from(looks_again) {
            for (keyword, member) in members {
                self.keyword(keyword, member, value)?;
            }
        }
        Ok(())
    }

    fn keyword(&mut self, keyword: &str, member: &'a Value, value: &Value) -> Result<(), TooMuchWork> {
        match (keyword, member) {
            ("properties", Value::Object(members)) => self.properties(members, value),
            ("patternProperties", Value::Object(members)) => self.pattern_properties(members, value),
            ("prefixItems", Value::Array(members)) => self.prefix_items(members, value),
            ("items" | "contains" | "additionalProperties" | "unevaluatedItems" | "unevaluatedProperties", _) => {
                self.children(member, value)
            }
            ("propertyNames", _) => self.names(member, value),
            ("pattern", Value::String(pattern)) => self.pattern(pattern, text_bytes(value)),
            ("$ref", Value::String(target)) => self.reference(target, value),
            ("allOf" | "anyOf" | "oneOf", Value::Array(members)) => {
                members.iter().try_for_each(|member| self.check(member, value))
            }
            ("dependentSchemas", Value::Object(members)) => {
                members.values().try_for_each(|member| self.check(member, value))
            }
            ("not" | "if" | "then" | "else", _) => self.check(member, value),
            // Definitions cost where a reference leads to them.
            ("$defs", _) => Ok(()),
            ("enum" | "const" | "uniqueItems", _) => {
                let size = size_of(value).saturating_mul(size_of(member));
                self.take(size)
            }
            _ => self.take(1_u64.saturating_add(size_of(member)).saturating_add(text_steps(value))),
        }
    }

    fn properties(&mut self, members: &'a Map<String, Value>, value: &Value) -> Result<(), TooMuchWork> {
        self.take(count(members.len()))?;
        let Value::Object(values) = value else { return Ok(()) };
        for (name, value) in values {
            self.take(1)?;
            if let Some(schema) = members.get(name) {
                self.check(schema, value)?;
            }
        }
        Ok(())
    }

    fn pattern_properties(&mut self, members: &'a Map<String, Value>, value: &Value) -> Result<(), TooMuchWork> {
        let Value::Object(values) = value else { return Ok(()) };
        for (pattern, schema) in members {
            for (name, value) in values {
                self.pattern(pattern, name.len())?;
                self.check(schema, value)?;
            }
        }
        Ok(())
    }

    fn prefix_items(&mut self, members: &'a [Value], value: &Value) -> Result<(), TooMuchWork> {
        let Value::Array(values) = value else { return Ok(()) };
        members.iter().zip(values).try_for_each(|(schema, value)| self.check(schema, value))
    }

    fn children(&mut self, schema: &'a Value, value: &Value) -> Result<(), TooMuchWork> {
        match value {
            Value::Array(values) => values.iter().try_for_each(|value| self.check(schema, value)),
            Value::Object(values) => values.values().try_for_each(|value| self.check(schema, value)),
            _ => Ok(()),
        }
    }

    fn names(&mut self, schema: &'a Value, value: &Value) -> Result<(), TooMuchWork> {
        let Value::Object(values) = value else { return Ok(()) };
        values.keys().try_for_each(|name| self.check(schema, &Value::String(name.clone())))
    }

    fn reference(&mut self, target: &str, value: &Value) -> Result<(), TooMuchWork> {
        let root: &'a Value = self.root;
        let definition = target.strip_prefix("#/$defs/").and_then(|name| root.get("$defs")?.get(name));
        // `bounds` has refused references that lead nowhere or in a circle.
        definition.map_or(Ok(()), |definition| self.check(definition, value))
    }

    fn pattern(&mut self, pattern: &str, bytes: usize) -> Result<(), TooMuchWork> {
        let steps = self.patterns.get(pattern).copied().unwrap_or(MOST_PATTERN_STEPS);
        self.take(1_u64.saturating_add(count(bytes).saturating_mul(steps)))
    }
}

/// Every pattern of a schema, with the steps for each byte that it looks at.
pub(super) fn find_patterns(schema: &Value) -> HashMap<String, u64> {
    let mut found = HashMap::new();
    let mut open = vec![schema];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(members) => {
                if let Some(Value::String(pattern)) = members.get("pattern") {
                    found.entry(pattern.clone()).or_insert_with(|| pattern_steps(pattern));
                }
                if let Some(Value::Object(patterns)) = members.get("patternProperties") {
                    for pattern in patterns.keys() {
                        found.entry(pattern.clone()).or_insert_with(|| pattern_steps(pattern));
                    }
                }
                open.extend(members.values());
            }
            _ => {}
        }
    }
    found
}

/// Steps for each byte that a pattern looks at.
fn pattern_steps(pattern: &str) -> u64 {
    // JSON Schema means ASCII by them; in Rust's reading they are classes of hundreds of ranges.
    let pattern = pattern.replace(r"\w", "[0-9A-Za-z_]").replace(r"\d", "[0-9]");
    let fits = |limit: usize| regex::RegexBuilder::new(&pattern).size_limit(limit).build().is_ok();
    PATTERN_STEPS.into_iter().find(|(limit, _)| fits(*limit)).map_or(MOST_PATTERN_STEPS, |(_, steps)| steps)
}

/// Values in a value, and what its texts add.
fn size_of(value: &Value) -> u64 {
    match value {
        Value::Array(values) => values.iter().fold(1, |sum, value| sum.saturating_add(size_of(value))),
        Value::Object(values) => values.values().fold(1, |sum, value| sum.saturating_add(size_of(value))),
        _ => 1_u64.saturating_add(text_steps(value)),
    }
}

fn text_bytes(value: &Value) -> usize {
    value.as_str().map_or(0, str::len)
}

fn text_steps(value: &Value) -> u64 {
    count(text_bytes(value) / BYTES_PER_STEP)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
