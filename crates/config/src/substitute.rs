//! `${VAR}` and `${VAR:default}` in values of the file. Values are filled in after the text was read: what a variable
//! holds can never become a key, a list or a comment.

use super::Environment;
use plugbay_domain::yaml::{Mistakes, Node, Place, Scalar, Style, Value};

/// Fills in every value below `node`.
pub(super) fn fill(node: &mut Node, environment: &Environment, mistakes: &Mistakes) {
    fill_below(node, "", environment, mistakes);
}

fn fill_below(node: &mut Node, pointer: &str, environment: &Environment, mistakes: &Mistakes) {
    let mark = node.mark;
    match &mut node.value {
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                fill_below(item, &format!("{pointer}/{index}"), environment, mistakes);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                let inner = format!("{pointer}/{}", plugbay_domain::yaml::pointer_token(&entry.key));
                fill_below(&mut entry.node, &inner, environment, mistakes);
            }
        }
        Value::Scalar(Scalar { text, style }) if text.contains("${") => match filled(text, environment) {
            Ok(full) => {
                *text = full;
                // Unquoted, it is whatever its reader needs: `memory_mb: ${MEMORY:256}` is a number.
                if *style == Style::Plain {
                    *style = Style::Free;
                }
            }
            Err(why) => mistakes.add(Place::blame(mark, pointer, why)),
        },
        Value::Scalar(_) => {}
    }
}

/// Replaces each `${…}`; `$${` stands for `${` itself.
fn filled(text: &str, environment: &Environment) -> Result<String, String> {
    let mut full = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            full.push_str(before);
            full.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        full.push_str(&rest[..at]);
        let (inside, behind) =
            rest[at + 2..].split_once('}').ok_or("`${` has no closing `}`; write `$${` for the text")?;
        let (name, default) = match inside.split_once(':') {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let is_name = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !name.starts_with(|first: char| first.is_ascii_digit());
        if !is_name {
            return Err(format!("`${{{}}}` does not name a variable", plugbay_domain::escape(inside)));
        }
        let value = environment.get(name).filter(|value| !value.is_empty() || default.is_none());
        let missing =
            || format!("the environment variable `{name}` is not set; set it, or write `${{{name}:default}}`");
        full.push_str(value.or(default).ok_or_else(missing)?);
        rest = behind;
    }
    full.push_str(rest);
    Ok(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_once() {
        let environment = Environment::from([("A", "x"), ("B", "${A}"), ("EMPTY", "")]);
        let fill = |text: &str| filled(text, &environment);
        assert_eq!(fill("a${A}b${A}").unwrap(), "axbx");
        assert_eq!(fill("${B}").unwrap(), "${A}", "values are not looked at again");
        assert_eq!(fill("${NONE:d:e}").unwrap(), "d:e");
        assert_eq!(fill("${EMPTY:d}|${EMPTY}|${NONE:}").unwrap(), "d||");
        assert_eq!(fill("$${A} $A").unwrap(), "${A} $A");
        assert!(fill("${NONE}").unwrap_err().contains("`NONE` is not set"));
        assert!(fill("${A").is_err() && fill("${}").is_err() && fill("${1}").is_err() && fill("${a b}").is_err());
    }
}
