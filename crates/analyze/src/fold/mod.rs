//! Tells what an expression is without running it: strings that are put together, numbers, names under an alias.
//!
//! What hides code is folded: concatenation, `join`, `format`, f-strings, `chr`, slices, `getattr` and `__import__` with
//! constant names, and encodings up to [`MAX_LAYERS`] deep. All else is not known, which is never an error.

mod comprehension;
mod decode;
mod format;
mod methods;
mod partial;
mod scope;

use ruff_python_ast::{Expr, ExprBinOp, ExprSlice, ExprSubscript, Number, Operator, UnaryOp};

use crate::value::{Constant, Folded, Known};
pub(crate) use decode::guess;
pub(crate) use partial::partial;
pub(crate) use scope::Scopes;
use scope::inside;

/// Layers of encoding that are taken off one value.
pub(crate) const MAX_LAYERS: u8 = 3;

/// Bytes of a folded value.
pub(crate) const MAX_VALUE: usize = 1024 * 1024;

/// What the expression is, if that is known.
pub(crate) fn fold(expr: &Expr, scopes: &mut Scopes<'_>) -> Option<Folded> {
    if !scopes.budget.fold(0) {
        return None;
    }
    let plain = |constant| Some(Folded::constant(constant, 0));
    let folded = match expr {
        Expr::StringLiteral(text) if text.value.is_implicit_concatenated() || text.value.len() <= MAX_VALUE => {
            plain(Constant::Text(text.value.to_str().to_owned()))
        }
        Expr::BytesLiteral(bytes) => plain(Constant::Bytes(bytes.value.bytes().take(MAX_VALUE + 1).collect())),
        Expr::NumberLiteral(number) => number_of(&number.value).map(|constant| Folded::constant(constant, 0)),
        Expr::BooleanLiteral(boolean) => plain(Constant::Bool(boolean.value)),
        Expr::NoneLiteral(_) => plain(Constant::None),
        Expr::Name(name) => scopes.get(name.id.as_str()),
        Expr::Attribute(attribute) => match fold(&attribute.value, scopes)?.known {
            Known::Named(name) => inside(&name, attribute.attr.as_str()),
            Known::Constant(_) => None,
        },
        Expr::List(list) => all(&list.elts, scopes),
        Expr::Tuple(tuple) => all(&tuple.elts, scopes),
        Expr::Dict(dict) => map(dict, scopes),
        Expr::UnaryOp(unary) => negative(unary.op, fold(&unary.operand, scopes)?),
        Expr::BinOp(operation) => binary(operation, scopes),
        Expr::FString(text) => format::f_string(text, scopes),
        Expr::Subscript(subscript) => subscripted(subscript, scopes),
        Expr::Call(call) => methods::call(call, scopes),
        Expr::ListComp(list) => comprehension::fold(&list.elt, &list.generators, scopes),
        Expr::Generator(list) => comprehension::fold(&list.elt, &list.generators, scopes),
        Expr::Named(named) => fold(&named.value, scopes),
        _ => None,
    }?;
    bounded(folded, scopes)
}

/// The value, unless it is too large or was decoded too often.
pub(crate) fn bounded(folded: Folded, scopes: &Scopes<'_>) -> Option<Folded> {
    let size = folded.size();
    (size <= MAX_VALUE + 64 && folded.layers <= MAX_LAYERS && scopes.budget.fold(size)).then_some(folded)
}

fn number_of(number: &Number) -> Option<Constant> {
    match number {
        Number::Int(whole) => whole.as_i64().map(Constant::Whole),
        Number::Float(float) => Some(Constant::Float(*float)),
        Number::Complex { .. } => None,
    }
}

/// The constant of an expression and the layers that were taken off.
pub(crate) fn fold_constant(expr: &Expr, scopes: &mut Scopes<'_>) -> Option<(Constant, u8)> {
    let Folded { known, layers } = fold(expr, scopes)?;
    match known {
        Known::Constant(constant) => Some((constant, layers)),
        Known::Named(_) => None,
    }
}

fn all(items: &[Expr], scopes: &mut Scopes<'_>) -> Option<Folded> {
    let (mut folded, mut layers, mut size) = (Vec::new(), 0, 0);
    for item in items {
        let (constant, of_item) = fold_constant(item, scopes)?;
        size += constant.size();
        layers = layers.max(of_item);
        if size > MAX_VALUE {
            return None;
        }
        folded.push(constant);
    }
    Some(Folded::constant(Constant::List(folded), layers))
}

fn map(dict: &ruff_python_ast::ExprDict, scopes: &mut Scopes<'_>) -> Option<Folded> {
    let (mut folded, mut layers, mut size) = (Vec::new(), 0, 0);
    for item in &dict.items {
        let (key, of_key) = fold_constant(item.key.as_ref()?, scopes)?;
        let (value, of_value) = fold_constant(&item.value, scopes)?;
        size += key.size() + value.size();
        layers = layers.max(of_key).max(of_value);
        if size > MAX_VALUE {
            return None;
        }
        folded.push((key, value));
    }
    Some(Folded::constant(Constant::Map(folded), layers))
}

fn negative(op: UnaryOp, operand: Folded) -> Option<Folded> {
    let layers = operand.layers;
    let constant = match (op, operand.into_constant()?) {
        (UnaryOp::USub, Constant::Whole(whole)) => Constant::Whole(whole.checked_neg()?),
        (UnaryOp::USub, Constant::Float(float)) => Constant::Float(-float),
        (UnaryOp::UAdd, constant @ (Constant::Whole(_) | Constant::Float(_))) => constant,
        (UnaryOp::Invert, Constant::Whole(whole)) => Constant::Whole(!whole),
        (UnaryOp::Not, Constant::Bool(boolean)) => Constant::Bool(!boolean),
        _ => return None,
    };
    Some(Folded::constant(constant, layers))
}

fn binary(operation: &ExprBinOp, scopes: &mut Scopes<'_>) -> Option<Folded> {
    // A chain is as deep as it is long, and each level of it would fold all levels below once more.
    let (mut operands, mut left) = (Vec::new(), operation);
    while let Expr::BinOp(inner) = &*left.left {
        operands.push((left.op, &*left.right));
        left = inner;
    }
    operands.push((left.op, &*left.right));
    let (mut value, mut layers) = fold_constant(&left.left, scopes)?;
    for (op, right) in operands.into_iter().rev() {
        let (right, of_right) = fold_constant(right, scopes)?;
        layers = layers.max(of_right);
        if !scopes.budget.fold(value.size() + right.size()) {
            return None;
        }
        value = apply(op, value, right)?;
        if value.size() > MAX_VALUE + 32 {
            return None;
        }
    }
    Some(Folded::constant(value, layers))
}

/// `left op right` of constants.
pub(crate) fn apply(op: Operator, left: Constant, right: Constant) -> Option<Constant> {
    use Constant::{Bytes, List, Text, Whole};
    Some(match (op, left, right) {
        (Operator::Add, Text(left), Text(right)) => Text(left + &right),
        (Operator::Add, Bytes(left), Bytes(right)) => Bytes([left, right].concat()),
        (Operator::Add, List(left), List(right)) => List([left, right].concat()),
        (Operator::Mod, Text(template), values) => Text(format::percent(&template, values)?),
        (Operator::Mult, Text(text), Whole(times)) | (Operator::Mult, Whole(times), Text(text)) => {
            Text(text.repeat(repeats(text.len(), times)?))
        }
        (Operator::Mult, Bytes(bytes), Whole(times)) => Bytes(bytes.repeat(repeats(bytes.len(), times)?)),
        (op, Whole(left), Whole(right)) => Whole(arithmetic(op, left, right)?),
        _ => return None,
    })
}

fn repeats(size: usize, times: i64) -> Option<usize> {
    let times = usize::try_from(times.max(0)).ok()?;
    (size.checked_mul(times)? <= MAX_VALUE).then_some(times)
}

fn arithmetic(op: Operator, left: i64, right: i64) -> Option<i64> {
    match op {
        Operator::Add => left.checked_add(right),
        Operator::Sub => left.checked_sub(right),
        Operator::Mult => left.checked_mul(right),
        Operator::FloorDiv => {
            let quotient = left.checked_div(right)?;
            let is_inexact = left.checked_rem(right)? != 0 && (left < 0) != (right < 0);
            quotient.checked_sub(i64::from(is_inexact))
        }
        // Python's remainder has the sign of the divisor.
        Operator::Mod => left.checked_rem(right)?.checked_add(right)?.checked_rem(right),
        Operator::BitXor => Some(left ^ right),
        Operator::BitAnd => Some(left & right),
        Operator::BitOr => Some(left | right),
        Operator::LShift => left.checked_mul(1_i64.checked_shl(u32::try_from(right).ok()?).filter(|_| right < 63)?),
        Operator::RShift => left.checked_shr(u32::try_from(right).ok()?),
        Operator::Pow => left.checked_pow(u32::try_from(right).ok()?),
        Operator::Div | Operator::MatMult => None,
    }
}

fn subscripted(subscript: &ExprSubscript, scopes: &mut Scopes<'_>) -> Option<Folded> {
    let Folded { known, layers } = fold(&subscript.value, scopes)?;
    let value = match known {
        Known::Named(name) => {
            let (key, _) = fold_constant(&subscript.slice, scopes)?;
            return match (name.as_str(), key.as_text()?) {
                ("sys.modules", module) => Some(Folded::named(module.to_owned())),
                ("builtins.globals()" | "builtins.locals()" | "builtins.vars()", name) => scopes.get(name),
                // `environ['HOME']` is a value of it and no name in it.
                ("os.environ", _) => Some(Folded::named("os.environ[]".to_owned())),
                (name, key) => inside(name.strip_suffix("()").unwrap_or(name), key),
            };
        }
        Known::Constant(constant) => constant,
    };
    if let Expr::Slice(slice) = &*subscript.slice {
        return Some(Folded::constant(sliced(&value, slice, scopes)?, layers));
    }
    let (index, _) = fold_constant(&subscript.slice, scopes)?;
    if let Constant::Map(entries) = value {
        let found = entries.into_iter().find(|(key, _)| *key == index)?;
        return Some(Folded::constant(found.1, layers));
    }
    let Constant::Whole(index) = index else { return None };
    let items = value.items()?;
    let length = i64::try_from(items.len()).ok()?;
    let at = usize::try_from(if index < 0 { index.checked_add(length)? } else { index }).ok()?;
    Some(Folded::constant(items.into_iter().nth(at)?, layers))
}

/// `value[lower:upper:step]`.
fn sliced(value: &Constant, slice: &ExprSlice, scopes: &mut Scopes<'_>) -> Option<Constant> {
    let mut bound = |expr: &Option<Box<Expr>>| match expr {
        None => Some(None),
        Some(expr) => match fold_constant(expr, scopes)?.0 {
            Constant::Whole(whole) => Some(Some(whole)),
            Constant::None => Some(None),
            _ => None,
        },
    };
    let (lower, upper, step) = (bound(&slice.lower)?, bound(&slice.upper)?, bound(&slice.step)?.unwrap_or(1));
    let items = value.items()?;
    let length = i64::try_from(items.len()).ok()?;
    let (least, most) = if step < 0 { (-1, length - 1) } else { (0, length) };
    let clamp = |index: Option<i64>, default: i64| {
        index.map_or(default, |index| if index < 0 { index.saturating_add(length) } else { index }.clamp(least, most))
    };
    let (start, end) =
        if step < 0 { (clamp(lower, most), clamp(upper, least)) } else { (clamp(lower, least), clamp(upper, most)) };
    let (mut at, mut taken) = (start, Vec::new());
    while step != 0 && ((step > 0 && at < end) || (step < 0 && at > end)) {
        taken.push(items.get(usize::try_from(at).ok()?)?.clone());
        at = at.checked_add(step)?;
    }
    match value {
        Constant::Text(_) => joined_text(&taken),
        Constant::Bytes(_) => as_bytes(&taken),
        _ => Some(Constant::List(taken)),
    }
}

fn joined_text(items: &[Constant]) -> Option<Constant> {
    items.iter().map(Constant::as_text).collect::<Option<String>>().map(Constant::Text)
}

/// Whole numbers as bytes.
pub(crate) fn as_bytes(items: &[Constant]) -> Option<Constant> {
    let byte = |item: &Constant| match item {
        Constant::Whole(whole) => u8::try_from(*whole).ok(),
        _ => None,
    };
    items.iter().map(byte).collect::<Option<Vec<u8>>>().map(Constant::Bytes)
}
