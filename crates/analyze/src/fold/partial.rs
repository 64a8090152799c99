//! Text of which only parts are known: `*` stands for the rest. It is for rules to look at, and never for folding.

use ruff_python_ast::{Expr, FStringPart, InterpolatedStringElement, Operator};

use super::{MAX_VALUE, Scopes, fold};
use crate::value::{Constant, Folded, Known};

/// Parts of one text, and levels of it.
const MAX_DEPTH: usize = 64;

/// Items of a list.
const MAX_ITEMS: usize = 64;

/// The text of an expression, with `*` for what is not known; nothing where no part is known.
pub(crate) fn partial(expr: &Expr, scopes: &mut Scopes<'_>) -> Option<String> {
    let mut text = String::new();
    put(expr, scopes, &mut text, 0);
    text.bytes().any(|byte| byte != b'*' && byte != b'/').then_some(text)
}

fn put(expr: &Expr, scopes: &mut Scopes<'_>, text: &mut String, depth: usize) {
    if depth > MAX_DEPTH || text.len() > MAX_VALUE || !scopes.budget.fold(0) {
        return;
    }
    match expr {
        Expr::FString(found) => {
            for part in found.value.as_slice() {
                match part {
                    FStringPart::Literal(literal) => text.push_str(literal.as_str()),
                    FStringPart::FString(inner) => {
                        for element in &inner.elements {
                            match element {
                                InterpolatedStringElement::Literal(literal) => text.push_str(&literal.value),
                                InterpolatedStringElement::Interpolation(found) => {
                                    put(&found.expression, scopes, text, depth + 1);
                                }
                            }
                        }
                    }
                }
            }
        }
        Expr::BinOp(operation) if matches!(operation.op, Operator::Add | Operator::Div) => {
            put(&operation.left, scopes, text, depth + 1);
            if operation.op == Operator::Div {
                text.push('/');
            }
            put(&operation.right, scopes, text, depth + 1);
        }
        Expr::BinOp(operation) if operation.op == Operator::Mod => match fold(expr, scopes) {
            Some(Folded { known: Known::Constant(constant), .. }) => put_constant(&constant, text),
            _ => put(&operation.left, scopes, text, depth + 1),
        },
        Expr::List(list) => put_items(&list.elts, scopes, text, depth),
        Expr::Tuple(tuple) => put_items(&tuple.elts, scopes, text, depth),
        Expr::Call(call) => {
            let folded = fold(expr, scopes);
            if let Some(Folded { known: Known::Constant(constant), .. }) = folded {
                return put_constant(&constant, text);
            }
            let name = scopes.name_of(&call.func).unwrap_or_default();
            let arguments = &call.arguments.args;
            if is_path(&name) || name.ends_with(".joinpath") || name.ends_with("path.join") {
                if let (Expr::Attribute(attribute), true) = (&*call.func, name.ends_with(".joinpath")) {
                    put(&attribute.value, scopes, text, depth + 1);
                    text.push('/');
                }
                for (count, argument) in arguments.iter().enumerate() {
                    if count > 0 {
                        text.push('/');
                    }
                    put(argument, scopes, text, depth + 1);
                }
            } else if let (Expr::Attribute(attribute), "format") = (&*call.func, last(&name, call)) {
                put(&attribute.value, scopes, text, depth + 1);
            } else {
                text.push('*');
            }
        }
        Expr::Attribute(attribute)
            if matches!(fold(&attribute.value, scopes), Some(Folded { known: Known::Constant(_), .. })) =>
        {
            text.push('*');
        }
        other => match fold(other, scopes) {
            Some(Folded { known: Known::Constant(constant), .. }) => put_constant(&constant, text),
            _ => text.push('*'),
        },
    }
}

/// Words of a command, or parts of something else.
fn put_items(items: &[Expr], scopes: &mut Scopes<'_>, text: &mut String, depth: usize) {
    for (count, item) in items.iter().enumerate().take(MAX_ITEMS) {
        if count > 0 {
            text.push(' ');
        }
        put(item, scopes, text, depth + 1);
    }
}

/// The last part of what is called.
fn last<'a>(name: &'a str, call: &'a ruff_python_ast::ExprCall) -> &'a str {
    match &*call.func {
        Expr::Attribute(attribute) => attribute.attr.as_str(),
        _ => name,
    }
}

/// Functions that give a path made of what they are given.
fn is_path(name: &str) -> bool {
    matches!(
        name,
        "os.path.join"
            | "os.path.expanduser"
            | "os.path.expandvars"
            | "os.path.abspath"
            | "os.path.realpath"
            | "os.path.normpath"
            | "os.fspath"
            | "builtins.str"
            | "pathlib.Path"
            | "pathlib.PurePath"
            | "pathlib.PosixPath"
            | "shlex.quote"
    )
}

fn put_constant(constant: &Constant, text: &mut String) {
    match constant {
        Constant::Text(found) => text.push_str(found),
        Constant::Bytes(bytes) => text.push_str(&String::from_utf8_lossy(bytes)),
        Constant::Whole(whole) => text.push_str(&whole.to_string()),
        Constant::List(items) => {
            for (count, item) in items.iter().enumerate().take(MAX_ITEMS) {
                if count > 0 {
                    text.push(' ');
                }
                put_constant(item, text);
            }
        }
        _ => text.push('*'),
    }
}
