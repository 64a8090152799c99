//! Which statement and which expression is noted how.

use ruff_python_ast::visitor::{Visitor, walk_expr, walk_stmt};
use ruff_python_ast::{ExceptHandler, Expr, Stmt, StmtAugAssign, StmtIf, StmtTry};
use ruff_text_size::Ranged;

use super::Collector;
use crate::fold::{apply, bounded, fold};
use crate::model::Setting;
use crate::value::{Folded, Known};

/// Exceptions whose handlers run when an import fails.
const CATCHERS: [&str; 4] = ["ImportError", "ModuleNotFoundError", "Exception", "BaseException"];

impl<'a> Collector<'a, '_, '_> {
    fn tried(&mut self, tried: &'a StmtTry) {
        let is_caught = |handler: &ExceptHandler| {
            let ExceptHandler::ExceptHandler(handler) = handler;
            let names = |expr: &Expr| matches!(expr, Expr::Name(name) if CATCHERS.contains(&name.id.as_str()));
            match handler.type_.as_deref() {
                None => true,
                Some(Expr::Tuple(tuple)) => tuple.elts.iter().any(names),
                Some(expr) => names(expr),
            }
        };
        let setting = self.setting;
        if setting == Setting::Load && tried.handlers.iter().any(is_caught) {
            self.setting = Setting::Guarded;
        }
        self.visit_body(&tried.body);
        for handler in &tried.handlers {
            self.visit_except_handler(handler);
        }
        self.setting = setting;
        self.visit_body(&tried.orelse);
        self.visit_body(&tried.finalbody);
    }

    fn condition(&mut self, found: &'a StmtIf) {
        let setting = self.setting;
        let for_checkers = self.scopes.name_of(&found.test).is_some_and(|name| {
            matches!(name.as_str(), "TYPE_CHECKING" | "typing.TYPE_CHECKING" | "typing_extensions.TYPE_CHECKING")
        });
        self.visit_expr(&found.test);
        if setting == Setting::Load {
            self.setting = if for_checkers { Setting::TypeChecking } else { Setting::Guarded };
        }
        self.visit_body(&found.body);
        self.setting = if setting == Setting::Load { Setting::Guarded } else { setting };
        for clause in &found.elif_else_clauses {
            self.visit_elif_else_clause(clause);
        }
        self.setting = setting;
    }

    /// `name += value`: the way in which hidden text is put together line by line.
    fn add_to(&mut self, assigned: &'a StmtAugAssign) {
        self.visit_expr(&assigned.value);
        self.follower().hold_more(&assigned.target, &assigned.value);
        let Expr::Name(name) = &*assigned.target else { return self.visit_expr(&assigned.target) };
        let name = name.id.as_str();
        // In a loop it is done more than once.
        let old = self.scopes.get(name).filter(|_| self.loops == 0);
        let added = fold(&assigned.value, self.scopes);
        let made = old.zip(added).and_then(|(old, added)| {
            let layers = old.layers.max(added.layers);
            let made = apply(assigned.op, old.into_constant()?, added.into_constant()?)?;
            bounded(Folded::constant(made, layers), self.scopes)
        });
        self.bound(name);
        self.assign_name(name, made);
    }

    /// `with value as target`: what is entered is mostly the value itself.
    fn entered(&mut self, target: &'a Expr, value: &'a Expr) {
        let taint = self.follower().taint(value);
        self.visit_expr(target);
        if let Expr::Name(name) = target {
            let folded = fold(value, self.scopes);
            self.scopes.bind(name.id.as_str(), folded);
        }
        self.follower().hold(target, taint.as_ref());
    }

    fn expression(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Name(name) => self.name(name, expr),
            Expr::Attribute(_) => self.attribute(expr),
            Expr::Call(call) => {
                self.call(call, expr);
                walk_expr(self, expr);
            }
            Expr::Subscript(_) => {
                if let Some(Folded { known: Known::Named(name), .. }) = fold(expr, self.scopes)
                    && !name.contains('(')
                    && !name.contains('[')
                {
                    self.used(self.place.at(expr.start()), &name);
                }
                walk_expr(self, expr);
            }
            Expr::Named(found) => {
                walk_expr(self, expr);
                let taint = self.follower().taint(&found.value);
                self.follower().hold(&found.target, taint.as_ref());
                if let Expr::Name(name) = &*found.target {
                    let folded = fold(&found.value, self.scopes);
                    self.scopes.bind(name.id.as_str(), folded);
                }
            }
            other => walk_expr(self, other),
        }
    }
}

impl<'a> Visitor<'a> for Collector<'a, '_, '_> {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        if !self.scopes.budget.tick() {
            return;
        }
        match statement {
            Stmt::Import(import) => self.imports(import),
            Stmt::ImportFrom(import) => self.imports_from(import),
            Stmt::Assign(assigned) => self.assign(&assigned.targets, &assigned.value),
            Stmt::AnnAssign(assigned) => match &assigned.value {
                Some(value) => self.assign(std::slice::from_ref(&assigned.target), value),
                None => self.visit_expr(&assigned.target),
            },
            Stmt::AugAssign(assigned) => self.add_to(assigned),
            Stmt::FunctionDef(def) => self.define_function(def),
            Stmt::ClassDef(def) => self.define_class(def),
            Stmt::Try(tried) => self.tried(tried),
            Stmt::If(found) => self.condition(found),
            // A text that stands alone is a comment.
            Stmt::Expr(found) if matches!(&*found.value, Expr::StringLiteral(_)) => {}
            Stmt::With(with) => {
                for item in &with.items {
                    self.visit_expr(&item.context_expr);
                    if let Some(target) = &item.optional_vars {
                        self.entered(target, &item.context_expr);
                    }
                }
                self.visit_body(&with.body);
            }
            Stmt::Return(found) => {
                walk_stmt(self, statement);
                if let Some(value) = &found.value {
                    self.follower().returned(value);
                }
            }
            Stmt::For(_) | Stmt::While(_) => {
                if let Stmt::For(found) = statement {
                    let taint = self.follower().taint(&found.iter);
                    self.follower().hold(&found.target, taint.as_ref());
                }
                self.loops += 1;
                walk_stmt(self, statement);
                self.loops -= 1;
            }
            other => walk_stmt(self, other),
        }
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        if !self.scopes.budget.tick() {
            return;
        }
        let is_text =
            matches!(expr, Expr::StringLiteral(_) | Expr::BytesLiteral(_) | Expr::FString(_) | Expr::BinOp(_));
        if is_text && !self.is_quiet {
            self.mark_expr(expr);
        }
        let was_quiet = std::mem::replace(&mut self.is_quiet, is_text);
        self.expression(expr);
        self.is_quiet = was_quiet;
    }
}
