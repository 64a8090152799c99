//! Text that is put together by a template: f-strings, `format`, `%`.

use ruff_python_ast::{ConversionFlag, ExprFString, FStringPart, InterpolatedStringElement};

use super::scope::Scopes;
use super::{MAX_VALUE, fold_constant};
use crate::value::{Constant, Folded};

/// An f-string whose parts are constant.
pub(crate) fn f_string(text: &ExprFString, scopes: &mut Scopes<'_>) -> Option<Folded> {
    let (mut made, mut layers) = (String::new(), 0);
    for part in text.value.as_slice() {
        match part {
            FStringPart::Literal(literal) => made.push_str(literal.as_str()),
            FStringPart::FString(inner) => {
                for element in &inner.elements {
                    match element {
                        InterpolatedStringElement::Literal(literal) => made.push_str(&literal.value),
                        InterpolatedStringElement::Interpolation(found) => {
                            let plain = matches!(found.conversion, ConversionFlag::None | ConversionFlag::Str);
                            if !plain || found.format_spec.is_some() || found.debug_text.is_some() {
                                return None;
                            }
                            let (value, of_value) = fold_constant(&found.expression, scopes)?;
                            layers = layers.max(of_value);
                            made.push_str(&shown(&value)?);
                        }
                    }
                    if made.len() > MAX_VALUE {
                        return None;
                    }
                }
            }
        }
    }
    Some(Folded::constant(Constant::Text(made), layers))
}

/// `str(value)`.
pub(crate) fn shown(value: &Constant) -> Option<String> {
    match value {
        Constant::Text(text) => Some(text.clone()),
        Constant::Whole(whole) => Some(whole.to_string()),
        Constant::Bool(true) => Some("True".to_owned()),
        Constant::Bool(false) => Some("False".to_owned()),
        Constant::None => Some("None".to_owned()),
        Constant::Float(_) | Constant::Bytes(_) | Constant::List(_) | Constant::Map(_) => None,
    }
}

/// `template % values`, for `%s`, `%d`, `%c` and `%%` without width.
pub(crate) fn percent(template: &str, values: Constant) -> Option<String> {
    let values = match values {
        Constant::List(items) => items,
        Constant::Map(_) => return None,
        single => vec![single],
    };
    let (mut values, mut made, mut characters) = (values.into_iter(), String::new(), template.chars());
    while let Some(character) = characters.next() {
        if character != '%' {
            made.push(character);
            continue;
        }
        match characters.next()? {
            '%' => made.push('%'),
            's' | 'd' | 'i' => made.push_str(&shown(&values.next()?)?),
            'c' => match values.next()? {
                Constant::Whole(code) => made.push(char::from_u32(u32::try_from(code).ok()?)?),
                Constant::Text(text) => made.push_str(&text),
                _ => return None,
            },
            _ => return None,
        }
        if made.len() > MAX_VALUE {
            return None;
        }
    }
    values.next().is_none().then_some(made)
}

/// `template.format(…)`, for `{}`, `{0}` and `{name}` without a format.
pub(crate) fn braces(template: &str, values: &[Constant], named: &[(String, Constant)]) -> Option<String> {
    let (mut made, mut next, mut rest) = (String::new(), 0, template);
    while let Some(at) = rest.find(['{', '}']) {
        made.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            made.push_str(&rest[..1]);
            rest = &rest[2..];
            continue;
        }
        let (field, after) = rest.strip_prefix('{')?.split_once('}')?;
        rest = after;
        let value = if field.is_empty() {
            next += 1;
            values.get(next - 1)
        } else if let Ok(index) = field.parse::<usize>() {
            values.get(index)
        } else {
            named.iter().find(|(name, _)| name == field).map(|(_, value)| value)
        };
        made.push_str(&shown(value?)?);
        if made.len() > MAX_VALUE {
            return None;
        }
    }
    made.push_str(rest);
    Some(made)
}
