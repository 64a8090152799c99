//! Calls: what is called with which constants, and code that is given as a text.

use std::collections::BTreeMap;

use ruff_python_ast::visitor::Visitor as _;
use ruff_python_ast::{Expr, ExprCall};
use ruff_text_size::Ranged;

use super::{Collector, MAX_KEPT, Where};
use crate::capability::of_name;
use crate::fold::Scopes;
use crate::fold::{MAX_LAYERS, fold, fold_constant};
use crate::model::{Call, Place};
use crate::parse::parse;
use crate::source::Lines;
use crate::value::{Folded, Known};

impl<'a> Collector<'a, '_, '_> {
    pub(super) fn call(&mut self, call: &'a ExprCall, whole: &'a Expr) {
        let place = self.place.at(call.start());
        let callee = self.scopes.name_of(&call.func);
        // What is got by its name, such as `getattr(os, "system")`, is used here.
        if let Some(Folded { known: Known::Named(name), .. }) = fold(whole, self.scopes)
            && !name.contains('(')
        {
            self.used(place, &name);
        }
        if let Some(callee) = callee {
            if matches!(callee.as_str(), "builtins.exec" | "builtins.eval" | "builtins.compile") {
                self.run_text(call, place);
            }
            if self.own || of_name(&callee).is_some() {
                self.note_call(call, place, callee);
            }
        }
    }

    fn note_call(&mut self, call: &'a ExprCall, place: Place, callee: String) {
        let mut size = 160 + callee.len();
        let mut kept = |expr: &'a Expr, scopes: &mut Scopes<'_>| {
            let (constant, _) = fold_constant(expr, scopes)?;
            let bytes = constant.size();
            size += bytes.min(MAX_KEPT);
            (bytes <= MAX_KEPT).then_some(constant)
        };
        let arguments = call.arguments.args.iter().map(|argument| kept(argument, self.scopes)).collect();
        let mut keywords = BTreeMap::new();
        for keyword in &call.arguments.keywords {
            if let Some(name) = &keyword.arg {
                keywords.insert(name.as_str().to_owned(), kept(&keyword.value, self.scopes));
            }
        }
        let within = self.within.join(".");
        if self.scopes.budget.keep(size + within.len() + 64 * keywords.len()) {
            self.module.calls.push(Call { place, callee, arguments, keywords, within, layer: self.layer });
        }
    }

    /// Walks the code that `exec` and the like are given, where it is a constant.
    fn run_text(&mut self, call: &'a ExprCall, place: Place) {
        let Some((code, layers)) = call.arguments.args.first().and_then(|code| fold_constant(code, self.scopes)) else {
            return;
        };
        let Some(text) = code.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok()) else { return };
        if self.layer >= MAX_LAYERS {
            return;
        }
        let Ok(parsed) = parse(text, self.scopes.budget) else { return };
        if !parsed.errors().is_empty() {
            return;
        }
        let lines = Lines::new(text);
        let mut inner = Collector {
            module: std::mem::take(&mut self.module),
            scopes: &mut *self.scopes,
            place: Where { text, lines: &lines, nested: Some(place) },
            own: self.own,
            deferred: Vec::new(),
            within: self.within.clone(),
            depth: self.depth,
            loops: self.loops,
            setting: self.setting,
            layer: self.layer.max(layers).saturating_add(1),
        };
        inner.visit_body(&parsed.syntax().body);
        inner.visit_deferred();
        self.module = inner.module;
    }
}
