//! Calls whose result is known: decoding, `join`, `chr`, `getattr`, `__import__` and the like.

use ruff_python_ast::{Expr, ExprAttribute, ExprCall};

use super::decode;
use super::format;
use super::scope::{Scopes, inside};
use super::{MAX_VALUE, as_bytes, fold, fold_constant};
use crate::value::{Constant, Folded, Known};

/// What a call gives: a constant, or a name such as `socket.socket()` for what a known function returns.
pub(crate) fn call(call: &ExprCall, scopes: &mut Scopes<'_>) -> Option<Folded> {
    if let Expr::Attribute(attribute) = &*call.func {
        let receiver = fold(&attribute.value, scopes);
        return match receiver {
            Some(Folded { known: Known::Constant(value), layers }) => method(value, layers, attribute, call, scopes),
            Some(Folded { known: Known::Named(base), .. })
                if base.ends_with(".__dict__") && matches!(attribute.attr.as_str(), "get" | "__getitem__") =>
            {
                let (key, _) = fold_constant(call.arguments.args.first()?, scopes)?;
                inside(&base, key.as_text()?)
            }
            Some(Folded { known: Known::Named(base), .. }) => {
                let name = inside(&base, attribute.attr.as_str())?;
                match name.known {
                    Known::Named(name) => function(&name, call, scopes),
                    Known::Constant(_) => None,
                }
            }
            None => None,
        };
    }
    match fold(&call.func, scopes)?.known {
        Known::Named(name) => function(&name, call, scopes),
        Known::Constant(_) => None,
    }
}

/// Longest name of what a call returns.
const MAX_RESULT_NAME: usize = 200;

fn function(name: &str, call: &ExprCall, scopes: &mut Scopes<'_>) -> Option<Folded> {
    let arguments = &call.arguments.args;
    let argument = |at: usize, scopes: &mut Scopes<'_>| fold_constant(arguments.get(at)?, scopes);
    let known = match name {
        "builtins.getattr" => by_name(arguments, scopes),
        "builtins.__import__" | "importlib.import_module" | "importlib.__import__" => {
            let (module, _) = argument(0, scopes)?;
            module.as_text().map(|module| Folded::named(module.to_owned()))
        }
        "builtins.vars" if arguments.len() == 1 => {
            let Known::Named(of) = fold(&arguments[0], scopes)?.known else { return None };
            Some(Folded::named(format!("{of}.__dict__")))
        }
        // The home folder of the user: what follows tells which file is meant.
        "os.path.expanduser" | "os.path.expandvars" | "os.fspath" | "os.path.abspath" => argument(0, scopes)
            .filter(|(path, _)| matches!(path, Constant::Text(_)))
            .map(|(path, layers)| Folded::constant(path, layers)),
        "os.path.join" => joined_path(arguments, scopes),
        _ if name.ends_with(".__getattribute__") => {
            let (key, _) = argument(0, scopes)?;
            key.as_text().and_then(|key| inside(name.trim_end_matches(".__getattribute__"), key))
        }
        "builtins.map" => mapped(arguments, scopes),
        "codecs.decode" => {
            let (value, layers) = argument(0, scopes)?;
            let (codec, _) = argument(1, scopes)?;
            decode::by_codec(&value, codec.as_text()?).map(|value| Folded::constant(value, layers + 1))
        }
        _ => argument(0, scopes).and_then(|(value, layers)| {
            if let Some(decoded) = decode::by_function(name, &value) {
                return Some(Folded::constant(decoded, layers + 1));
            }
            converted(name, &value, scopes).map(|value| Folded::constant(value, layers))
        }),
    };
    // Its name alone is known: what `socket.socket()` returns is used by that name further on.
    known.or_else(|| (name.len() <= MAX_RESULT_NAME).then(|| Folded::named(format!("{name}()"))))
}

/// `getattr(object, name)`.
fn by_name(arguments: &[Expr], scopes: &mut Scopes<'_>) -> Option<Folded> {
    let (of, name) = (arguments.first()?, arguments.get(1)?);
    let (name, _) = fold_constant(name, scopes)?;
    match fold(of, scopes)?.known {
        Known::Named(of) => inside(&of, name.as_text()?),
        Known::Constant(_) => None,
    }
}

/// `os.path.join` of constants. A part that begins at the root takes the place of what is before it.
fn joined_path(arguments: &[Expr], scopes: &mut Scopes<'_>) -> Option<Folded> {
    let (mut path, mut deepest) = (String::new(), 0);
    for argument in arguments {
        let (part, layers) = fold_constant(argument, scopes)?;
        let part = part.as_text()?;
        if part.starts_with('/') {
            path.clear();
        } else if !path.is_empty() && !path.ends_with('/') {
            path.push('/');
        }
        path.push_str(part);
        deepest = deepest.max(layers);
        if path.len() > MAX_VALUE {
            return None;
        }
    }
    Some(Folded::constant(Constant::Text(path), deepest))
}

/// `map(chr, numbers)`.
fn mapped(arguments: &[Expr], scopes: &mut Scopes<'_>) -> Option<Folded> {
    let [function, over] = arguments else { return None };
    let Known::Named(function) = fold(function, scopes)?.known else { return None };
    let (over, layers) = fold_constant(over, scopes)?;
    let (mut made, mut size) = (Vec::new(), 0);
    for item in over.items()? {
        let item = converted(&function, &item, scopes)?;
        size += item.size();
        if size > MAX_VALUE {
            return None;
        }
        made.push(item);
    }
    Some(Folded::constant(Constant::List(made), layers))
}

/// A built-in function of one constant.
fn converted(name: &str, value: &Constant, scopes: &Scopes<'_>) -> Option<Constant> {
    if !scopes.budget.fold(value.size()) {
        return None;
    }
    match (name, value) {
        ("builtins.chr", Constant::Whole(code)) => {
            Some(Constant::Text(char::from_u32(u32::try_from(*code).ok()?)?.to_string()))
        }
        ("builtins.ord", Constant::Text(text)) => {
            let mut characters = text.chars();
            let code = u32::from(characters.next()?);
            characters.next().is_none().then_some(Constant::Whole(i64::from(code)))
        }
        ("builtins.str", value) => format::shown(value).map(Constant::Text),
        ("builtins.int", Constant::Text(text)) => text.trim().parse().ok().map(Constant::Whole),
        ("builtins.int", Constant::Whole(whole)) => Some(Constant::Whole(*whole)),
        ("builtins.len", value) => i64::try_from(value.items()?.len()).ok().map(Constant::Whole),
        ("builtins.bytes" | "builtins.bytearray", Constant::List(items)) => as_bytes(items),
        ("builtins.bytes" | "builtins.bytearray", Constant::Bytes(bytes)) => Some(Constant::Bytes(bytes.clone())),
        ("builtins.list" | "builtins.tuple", value) => value.items().map(Constant::List),
        ("builtins.reversed", value) => {
            let mut items = value.items()?;
            items.reverse();
            Some(Constant::List(items))
        }
        _ => None,
    }
}

/// A method of a constant.
fn method(
    value: Constant,
    layers: u8,
    attribute: &ExprAttribute,
    call: &ExprCall,
    scopes: &mut Scopes<'_>,
) -> Option<Folded> {
    let name = attribute.attr.as_str();
    let (mut values, mut deepest) = (Vec::new(), layers);
    for argument in &call.arguments.args {
        let (value, of_argument) = fold_constant(argument, scopes)?;
        deepest = deepest.max(of_argument);
        values.push(value);
    }
    if let ("format", Constant::Text(template)) = (name, &value) {
        let mut named = Vec::new();
        for keyword in &call.arguments.keywords {
            let (value, of_keyword) = fold_constant(&keyword.value, scopes)?;
            deepest = deepest.max(of_keyword);
            named.push((keyword.arg.as_ref()?.as_str().to_owned(), value));
        }
        return format::braces(template, &values, &named).map(|text| Folded::constant(Constant::Text(text), deepest));
    }
    if let ("decode", Some(Constant::Text(codec))) = (name, values.first()) {
        let is_text =
            matches!(codec.to_ascii_lowercase().replace(['_', '-'], "").as_str(), "utf8" | "ascii" | "latin1");
        let decoded = decode::by_codec(&value, codec)?;
        return Some(Folded::constant(decoded, deepest + u8::from(!is_text)));
    }
    if !scopes.budget.fold(value.size()) {
        return None;
    }
    of_constant(name, value, &values).map(|value| Folded::constant(value, deepest))
}

fn of_constant(name: &str, value: Constant, arguments: &[Constant]) -> Option<Constant> {
    use Constant::{Bytes, List, Text};
    Some(match (name, value, arguments) {
        ("join", Text(separator), [over]) => {
            let items = over.items()?;
            let size: usize = items.iter().map(|item| item.size() + separator.len()).sum();
            if size > 2 * MAX_VALUE + 64 * items.len() {
                return None;
            }
            let parts: Vec<&str> = items.iter().map(Constant::as_text).collect::<Option<_>>()?;
            Text(parts.join(&separator))
        }
        ("join", Bytes(separator), [List(items)]) => {
            let parts: Vec<&[u8]> = items.iter().map(Constant::bytes).collect::<Option<_>>()?;
            Bytes(parts.join(&separator[..]))
        }
        ("encode", Text(text), _) => Bytes(text.into_bytes()),
        ("decode", Bytes(bytes), []) => Text(decode::text(&bytes)?),
        ("replace", Text(text), [Text(from), Text(to)]) if !from.is_empty() => {
            let grown = text.len().checked_div(from.len())?.checked_mul(to.len())?;
            if grown > MAX_VALUE {
                return None;
            }
            Text(text.replace(from.as_str(), to))
        }
        ("lower", Text(text), []) => Text(text.to_lowercase()),
        ("upper", Text(text), []) => Text(text.to_uppercase()),
        ("swapcase", Text(text), []) => Text(
            text.chars()
                .map(|letter| {
                    if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
                })
                .collect(),
        ),
        ("strip", Text(text), []) => Text(text.trim().to_owned()),
        ("strip", Text(text), [Text(set)]) => Text(text.trim_matches(|letter| set.contains(letter)).to_owned()),
        ("split", Text(text), []) => List(text.split_whitespace().map(|part| Text(part.to_owned())).collect()),
        ("split", Text(text), [Text(separator)]) if !separator.is_empty() => {
            List(text.split(separator.as_str()).map(|part| Text(part.to_owned())).collect())
        }
        ("hex", Bytes(bytes), []) => Text(data_encoding::HEXLOWER.encode(&bytes)),
        ("get", value @ Constant::Map(_), [Text(key), ..]) => value.get(key)?.clone(),
        _ => return None,
    })
}
