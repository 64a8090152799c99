//! What functions and classes look like from outside: parameters, type hints, docstrings, bases.

use std::collections::BTreeSet;

use ruff_python_ast::visitor::{Visitor, walk_expr, walk_stmt};
use ruff_python_ast::{
    Decorator, Expr, Parameter as AstParameter, ParameterWithDefault, Parameters, Stmt, StmtClassDef, StmtFunctionDef,
};
use ruff_text_size::Ranged;

use crate::fold::Scopes;
use crate::fold::fold_constant;
use crate::model::{Class, Function, Parameter, ParameterKind};
use crate::source::Lines;
use crate::value::Constant;

/// Bytes of a docstring that are kept.
const MAX_DOCSTRING: usize = 8 * 1024;

/// Bytes of a type hint that are kept.
const MAX_HINT: usize = 1000;

/// Bytes of a default that are kept.
const MAX_DEFAULT: usize = 4 * 1024;

/// What a reader of shapes needs.
pub(crate) struct Reader<'r, 'b> {
    pub(crate) text: &'r str,
    pub(crate) lines: &'r Lines<'r>,
    pub(crate) scopes: &'r mut Scopes<'b>,
}

impl Reader<'_, '_> {
    pub(crate) fn function(&mut self, def: &StmtFunctionDef) -> Function {
        Function {
            name: def.name.as_str().to_owned(),
            place: self.lines.place(def.name.start()),
            is_async: def.is_async,
            is_generator: yields(&def.body),
            parameters: self.parameters(&def.parameters),
            returns: def.returns.as_ref().and_then(|hint| self.hint(hint)),
            decorators: self.decorators(&def.decorator_list),
            docstring: docstring(&def.body),
        }
    }

    pub(crate) fn class(&mut self, def: &StmtClassDef) -> Class {
        let arguments = def.arguments.as_ref().map_or(&[][..], |arguments| &arguments.args);
        let keywords = def.arguments.as_ref().map_or(&[][..], |arguments| &arguments.keywords);
        let named = keywords.iter().filter_map(|keyword| Some((keyword.arg.as_ref()?, &keyword.value)));
        let keywords =
            named.filter_map(|(name, value)| Some((name.as_str().to_owned(), self.default(value)?))).collect();
        let mut class = Class {
            name: def.name.as_str().to_owned(),
            place: self.lines.place(def.name.start()),
            bases: arguments.iter().map(|base| self.named(base)).collect(),
            decorators: self.decorators(&def.decorator_list),
            docstring: docstring(&def.body),
            methods: Vec::new(),
            fields: Vec::new(),
            names: BTreeSet::new(),
            keywords,
        };
        self.members(&def.body, &mut class);
        class
    }

    /// What stands in the body of a class, also under `if` and `try`.
    fn members(&mut self, body: &[Stmt], class: &mut Class) {
        for statement in body {
            match statement {
                Stmt::FunctionDef(def) => class.methods.push(self.function(def)),
                Stmt::AnnAssign(assigned) => {
                    let Expr::Name(name) = &*assigned.target else { continue };
                    if assigned.value.is_some() {
                        class.names.insert(name.id.as_str().to_owned());
                    }
                    class.fields.push(Parameter {
                        name: name.id.as_str().to_owned(),
                        kind: ParameterKind::Any,
                        hint: self.hint(&assigned.annotation),
                        has_default: assigned.value.is_some(),
                        default: assigned.value.as_ref().and_then(|value| self.default(value)),
                    });
                }
                Stmt::Assign(assigned) => {
                    let names = assigned.targets.iter().filter_map(Expr::as_name_expr);
                    class.names.extend(names.map(|name| name.id.as_str().to_owned()));
                }
                Stmt::ClassDef(inner) => {
                    class.names.insert(inner.name.as_str().to_owned());
                }
                Stmt::If(found) => {
                    self.members(&found.body, class);
                    for clause in &found.elif_else_clauses {
                        self.members(&clause.body, class);
                    }
                }
                Stmt::Try(found) => {
                    self.members(&found.body, class);
                    self.members(&found.orelse, class);
                }
                _ => {}
            }
        }
    }

    fn parameters(&mut self, parameters: &Parameters) -> Vec<Parameter> {
        let mut found = Vec::new();
        let given = |parameters: &[ParameterWithDefault], kind, reader: &mut Self, found: &mut Vec<Parameter>| {
            for parameter in parameters {
                let default = parameter.default.as_deref();
                found.push(Parameter {
                    has_default: default.is_some(),
                    default: default.and_then(|default| reader.default(default)),
                    ..reader.parameter(&parameter.parameter, kind)
                });
            }
        };
        given(&parameters.posonlyargs, ParameterKind::Positional, self, &mut found);
        given(&parameters.args, ParameterKind::Any, self, &mut found);
        found.extend(parameters.vararg.as_ref().map(|rest| self.parameter(rest, ParameterKind::Rest)));
        given(&parameters.kwonlyargs, ParameterKind::Keyword, self, &mut found);
        found.extend(parameters.kwarg.as_ref().map(|rest| self.parameter(rest, ParameterKind::Keywords)));
        found
    }

    fn parameter(&self, parameter: &AstParameter, kind: ParameterKind) -> Parameter {
        Parameter {
            name: parameter.name.as_str().to_owned(),
            kind,
            hint: parameter.annotation.as_ref().and_then(|hint| self.hint(hint)),
            has_default: false,
            default: None,
        }
    }

    fn default(&mut self, expr: &Expr) -> Option<Constant> {
        let (constant, _) = fold_constant(expr, self.scopes)?;
        (constant.size() <= MAX_DEFAULT).then_some(constant)
    }

    /// A type hint as written, in one line. A hint in quotes is what is in them.
    fn hint(&self, expr: &Expr) -> Option<String> {
        let text = match expr {
            Expr::StringLiteral(quoted) => quoted.value.to_str(),
            _ => self.text.get(expr.range().to_std_range())?,
        };
        (text.len() <= MAX_HINT).then(|| text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    fn decorators(&mut self, decorators: &[Decorator]) -> Vec<String> {
        let of = |decorator: &Decorator| match &decorator.expression {
            Expr::Call(call) => (*call.func).clone(),
            other => other.clone(),
        };
        decorators.iter().map(|decorator| self.named(&of(decorator))).collect()
    }

    /// The dotted name of a base or decorator. `Generic[T]` is `Generic`.
    fn named(&mut self, expr: &Expr) -> String {
        let expr = match expr {
            Expr::Subscript(subscript) => &subscript.value,
            other => other,
        };
        self.scopes.name_of(expr).unwrap_or_else(|| "?".to_owned())
    }
}

/// The text that a body begins with.
pub(crate) fn docstring(body: &[Stmt]) -> Option<String> {
    let Stmt::Expr(first) = body.first()? else { return None };
    let Expr::StringLiteral(text) = &*first.value else { return None };
    let text = text.value.to_str();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let further = text.lines().skip(1).filter(|line| !line.trim().is_empty());
    let margin = further.map(indent).min().unwrap_or_default();
    let mut cleaned = String::new();
    for (number, line) in text.lines().enumerate() {
        let line = if number == 0 { line.trim() } else { line.get(margin..).unwrap_or_default().trim_end() };
        if cleaned.len() + line.len() > MAX_DOCSTRING {
            break;
        }
        cleaned.push_str(line);
        cleaned.push('\n');
    }
    Some(cleaned.trim().to_owned())
}

/// Whether the function itself yields, and not only one inside of it.
fn yields(body: &[Stmt]) -> bool {
    #[derive(Default)]
    struct Yields(bool);
    impl<'a> Visitor<'a> for Yields {
        fn visit_stmt(&mut self, statement: &'a Stmt) {
            if !self.0 && !matches!(statement, Stmt::FunctionDef(_) | Stmt::ClassDef(_)) {
                walk_stmt(self, statement);
            }
        }

        fn visit_expr(&mut self, expr: &'a Expr) {
            match expr {
                Expr::Yield(_) | Expr::YieldFrom(_) => self.0 = true,
                Expr::Lambda(_) => {}
                _ if self.0 => {}
                other => walk_expr(self, other),
            }
        }
    }
    let mut found = Yields::default();
    found.visit_body(body);
    found.0
}
