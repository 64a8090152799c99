//! From JSON to the values of SQL: null, numbers, texts and, as `{"base64": …}`, blobs. True is 1 and false is 0.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use rusqlite::Statement;
use rusqlite::types::Value;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::trouble::Failure;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Blob<'a> {
    base64: &'a str,
}

/// Binds a list by position, an object by name.
pub(super) fn bind(statement: &mut Statement<'_>, params: Option<&RawValue>) -> Result<(), Failure> {
    let text = params.map_or("[]", RawValue::get);
    let unread = |error: serde_json::Error| Failure::invalid(format!("`params` cannot be read: {error}"));
    match text.as_bytes().first() {
        Some(b'[') => by_position(statement, &serde_json::from_str::<Vec<&RawValue>>(text).map_err(unread)?),
        Some(b'{') => by_name(statement, &serde_json::from_str(text).map_err(unread)?),
        Some(b'n') => by_position(statement, &[]),
        _ => Err(Failure::invalid("`params` is a list, or an object with a value for each name")),
    }
}

fn by_position(statement: &mut Statement<'_>, values: &[&RawValue]) -> Result<(), Failure> {
    let wanted = statement.parameter_count();
    if values.len() != wanted {
        let found = values.len();
        return Err(Failure::invalid(format!("the statement has {wanted} parameters, `params` has {found} values")));
    }
    for (index, raw) in values.iter().enumerate() {
        let value = value(raw.get()).map_err(|rule| Failure::invalid(format!("parameter {}: {rule}", index + 1)))?;
        statement.raw_bind_parameter(index + 1, value)?;
    }
    Ok(())
}

fn by_name(statement: &mut Statement<'_>, values: &BTreeMap<String, &RawValue>) -> Result<(), Failure> {
    let mut used = 0;
    let mut last = String::new();
    for index in 1..=statement.parameter_count() {
        // A name begins with `:`, `@` or `$`; one that was left out by a number has none.
        let name = statement.parameter_name(index).and_then(|name| name.get(1..)).map(str::to_owned);
        let Some(name) = name else {
            return Err(Failure::invalid("the statement has parameters without a name, and `params` is an object"));
        };
        let Some(raw) = values.get(&name) else {
            return Err(Failure::invalid(format!("`params` has no value for `{name}`")));
        };
        let value = value(raw.get()).map_err(|rule| Failure::invalid(format!("parameter `{name}`: {rule}")))?;
        statement.raw_bind_parameter(index, value)?;
        used += 1;
        last = name;
    }
    if used != values.len() {
        let after = if last.is_empty() { String::new() } else { format!(" (it has `{last}`)") };
        let found = values.len();
        return Err(Failure::invalid(format!(
            "`params` has {found} values, the statement names {used} parameters{after}"
        )));
    }
    Ok(())
}

fn value(text: &str) -> Result<Value, String> {
    match text.as_bytes().first() {
        Some(b'n') => Ok(Value::Null),
        Some(b't') => Ok(Value::Integer(1)),
        Some(b'f') => Ok(Value::Integer(0)),
        Some(b'"') => serde_json::from_str(text).map(Value::Text).map_err(|error| error.to_string()),
        Some(b'{') => {
            let Blob { base64 } =
                serde_json::from_str(text).map_err(|_other| r#"an object is {"base64": …}, a blob"#.to_owned())?;
            BASE64.decode(base64.as_bytes()).map(Value::Blob).map_err(|error| format!("no base64: {error}"))
        }
        Some(b'[') => Err("a list is no value; pass it as a text of JSON".to_owned()),
        _ => number(text),
    }
}

/// A whole number is exact or refused.
fn number(text: &str) -> Result<Value, String> {
    if text.contains(['.', 'e', 'E']) {
        return serde_json::from_str(text).map(Value::Real).map_err(|error| error.to_string());
    }
    let beyond = || format!("`{text}` is beyond 64 bits; pass it as a text");
    text.parse().map(Value::Integer).map_err(|_beyond| beyond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_exact_or_refused() {
        for (text, expected) in [
            ("null", Value::Null),
            ("true", Value::Integer(1)),
            ("9007199254740993", Value::Integer(9_007_199_254_740_993)),
            ("-9223372036854775808", Value::Integer(i64::MIN)),
            ("1.5", Value::Real(1.5)),
            ("1e3", Value::Real(1000.0)),
            (r#""a\u0000\"é""#, Value::Text("a\0\"é".to_owned())),
            (r#"{"base64":"AAH/"}"#, Value::Blob(vec![0, 1, 255])),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
        for text in ["9223372036854775808", "1e999", "[1]", "{}", r#"{"base64":"?"}"#, r#"{"base64":"","x":1}"#] {
            assert!(value(text).is_err(), "{text}");
        }
    }
}
