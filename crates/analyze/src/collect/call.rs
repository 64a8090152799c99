//! Calls: what is called with which constants, and code that is given as a text.

use std::collections::BTreeMap;

use ruff_python_ast::visitor::Visitor as _;
use ruff_python_ast::{Expr, ExprCall};
use ruff_text_size::Ranged;

use super::{Collector, MAX_KEPT, Where};
use crate::capability::of_name;
use crate::fold::Scopes;
use crate::fold::{MAX_LAYERS, MAX_VALUE, fold, fold_constant, guess, partial};
use crate::model::{Call, Mark, Place};
use crate::parse::parse;
use crate::rule::excerpts;
use crate::source::Lines;
use crate::value::{Folded, Known};

impl<'a> Collector<'a, '_, '_> {
    pub(super) fn call(&mut self, call: &'a ExprCall, whole: &'a Expr) {
        let place = self.place.at(call.start());
        let callee = self.scopes.name_of(&call.func);
        match fold(whole, self.scopes) {
            // What is got by its name, such as `getattr(os, "system")`, is used here.
            Some(Folded { known: Known::Named(name), .. }) if !name.contains('(') => self.used(place, &name),
            Some(Folded { known: Known::Constant(constant), layers }) => {
                if let Some(text) = constant.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok()) {
                    self.mark(text, place, self.layer.saturating_add(layers));
                }
            }
            _ if callee.as_deref().is_some_and(|name| name.ends_with("path.join") || name.starts_with("pathlib.P")) => {
                self.mark_expr(whole);
            }
            _ => {}
        }
        self.follower().follow(call, callee.as_deref());
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
        let texts = if self.own || of_name(&callee).is_some() { self.texts_of(call) } else { Vec::new() };
        let by_text = matches!(&*call.func, Expr::Call(_) | Expr::Subscript(_));
        size += texts.iter().map(|text| 24 + text.len()).sum::<usize>();
        if self.scopes.budget.keep(size + within.len() + 64 * keywords.len()) {
            let layer = self.layer;
            self.module.calls.push(Call { place, callee, arguments, keywords, texts, by_text, within, layer });
        }
    }

    /// Texts that a call is given, also where only parts of them are known.
    fn texts_of(&mut self, call: &ExprCall) -> Vec<String> {
        let given = call.arguments.args.iter().chain(call.arguments.keywords.iter().map(|keyword| &keyword.value));
        let mut texts: Vec<String> = given.filter_map(|expr| partial(expr, self.scopes)).collect();
        texts.iter_mut().filter(|text| text.len() > MAX_KEPT).for_each(|text| {
            let end = (0..=MAX_KEPT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
            text.truncate(end);
        });
        texts
    }

    /// Notes what rules look for in a text that stands in the code.
    pub(super) fn mark_expr(&mut self, expr: &Expr) {
        let place = self.place.at(expr.start());
        match expr {
            Expr::StringLiteral(text) if !text.value.is_implicit_concatenated() => {
                self.mark(text.value.to_str(), place, self.layer);
            }
            Expr::BytesLiteral(bytes) => {
                let bytes: Vec<u8> = bytes.value.bytes().take(MAX_VALUE).collect();
                if let Ok(text) = std::str::from_utf8(&bytes) {
                    self.mark(text, place, self.layer);
                }
            }
            _ => {
                if let Some(text) = partial(expr, self.scopes) {
                    self.mark(&text, place, self.layer);
                }
            }
        }
    }

    /// The same for a text, and for what it looks like when it is decoded.
    fn mark(&mut self, text: &str, place: Place, layer: u8) {
        if !self.scopes.budget.fold(text.len()) {
            return;
        }
        for excerpt in excerpts(text) {
            if self.scopes.budget.keep(64 + excerpt.len()) {
                self.module.marks.push(Mark { place, text: excerpt.to_owned(), layer });
            }
        }
        if layer < MAX_LAYERS
            && let Some(decoded) = guess(text)
        {
            self.mark(&decoded, place, layer + 1);
        }
    }

    /// Walks the code that `exec` and the like are given, where it is a constant.
    fn run_text(&mut self, call: &'a ExprCall, place: Place) {
        let Some((code, layers)) = call.arguments.args.first().and_then(|code| fold_constant(code, self.scopes)) else {
            return;
        };
        let Some(text) = code.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok()) else { return };
        if self.layer > MAX_LAYERS {
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
            held: std::mem::take(&mut self.held),
            flows: std::mem::take(&mut self.flows),
            in_class: false,
            is_quiet: false,
        };
        inner.visit_body(&parsed.syntax().body);
        inner.visit_deferred();
        self.module = inner.module;
        (self.held, self.flows) = (inner.held, inner.flows);
    }
}
