//! Folds `[chr(x ^ 7) for x in data]` and the like: one `for` over something constant.

use ruff_python_ast::{Comprehension, Expr};

use super::scope::Scopes;
use super::{MAX_VALUE, fold_constant};
use crate::value::{Constant, Folded};

/// The list that a comprehension makes.
pub(crate) fn fold(element: &Expr, generators: &[Comprehension], scopes: &mut Scopes<'_>) -> Option<Folded> {
    let [generator] = generators else { return None };
    let Expr::Name(name) = &generator.target else { return None };
    if !generator.ifs.is_empty() || generator.is_async {
        return None;
    }
    let (over, layers) = fold_constant(&generator.iter, scopes)?;
    scopes.enter();
    let made = elements(element, name.id.as_str(), &over, layers, scopes);
    scopes.leave();
    made
}

fn elements(element: &Expr, name: &str, over: &Constant, mut layers: u8, scopes: &mut Scopes<'_>) -> Option<Folded> {
    let (mut made, mut size) = (Vec::new(), 0);
    for item in over.items()? {
        scopes.bind_constant(name, item, layers);
        let (constant, of_item) = fold_constant(element, scopes)?;
        layers = layers.max(of_item);
        size += constant.size();
        if size > MAX_VALUE {
            return None;
        }
        made.push(constant);
    }
    Some(Folded::constant(Constant::List(made), layers))
}
