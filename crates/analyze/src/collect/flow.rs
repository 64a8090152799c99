//! Follows values through a function: which expression holds what of a source, and which call takes it to a sink.

use std::collections::BTreeMap;

use ruff_python_ast::{Comprehension, Expr, Expr as E, ExprAttribute, ExprCall, StmtFunctionDef};
use ruff_text_size::Ranged;

use super::{Collector, Where};
use crate::flow::{Flows, Origin, Reached, Sink, Slot, Source, Taint, is_secret_path, reads_file, sink_of, source_of};
use crate::fold::{Scopes, fold, partial};
use crate::value::{Constant, Folded, Known};

/// What the names of a function hold.
pub(super) type Held = BTreeMap<String, Taint>;

/// Characters of a name that are kept.
const MAX_WHAT: usize = 120;

/// Functions that tell next to nothing of what they are given.
const DULL: [&str; 12] = [
    "builtins.len",
    "builtins.print",
    "builtins.hasattr",
    "builtins.setattr",
    "isinstance",
    "bool",
    "type",
    "id",
    "callable",
    "any",
    "all",
    "os.path.exists",
];

/// Methods that put what they are given into what they belong to.
const FILLING: [&str; 10] =
    ["append", "add", "update", "extend", "insert", "write", "put", "setdefault", "writestr", "appendleft"];

/// Programs that run what they are given.
const INTERPRETERS: [&str; 12] = [
    "sh",
    "bash",
    "dash",
    "zsh",
    "python",
    "python3",
    "perl",
    "node",
    "cmd",
    "cmd.exe",
    "powershell",
    "powershell.exe",
];

impl<'a, 'b> Collector<'a, 'b, '_> {
    /// What follows values where the walk is.
    pub(super) fn follower(&mut self) -> Follower<'_, 'a, 'b> {
        Follower {
            scopes: &mut *self.scopes,
            place: self.place,
            function: self.within.last().map_or("", String::as_str),
            layer: self.layer,
            held: &mut self.held,
            flows: &mut self.flows,
        }
    }
}

/// Follows values through the function that is walked.
pub(super) struct Follower<'f, 'a, 'b> {
    scopes: &'f mut Scopes<'b>,
    place: Where<'a>,
    /// The function around, as calls of the same file name it.
    function: &'f str,
    layer: u8,
    held: &'f mut Vec<Held>,
    flows: &'f mut Flows,
}

impl Follower<'_, '_, '_> {
    /// What an expression holds of a source.
    pub(super) fn taint(&mut self, expr: &Expr) -> Option<Taint> {
        if !self.scopes.budget.fold(0) {
            return None;
        }
        match expr {
            E::Name(name) => self.held(name.id.as_str()).or_else(|| self.named_source(expr)),
            E::Attribute(attribute) => self.attribute_taint(attribute, expr),
            E::Call(call) => self.call_taint(call, expr),
            E::Subscript(found) => self.named_source(expr).or_else(|| self.taint(&found.value)),
            E::BinOp(found) => {
                let whole = self.path_taint(expr);
                let (left, right) = (self.taint(&found.left), self.taint(&found.right));
                strongest([whole, left, right])
            }
            E::BoolOp(found) => self.any(&found.values),
            E::If(found) => strongest([self.taint(&found.body), self.taint(&found.orelse)]),
            E::List(found) => self.any(&found.elts),
            E::Tuple(found) => self.any(&found.elts),
            E::Set(found) => self.any(&found.elts),
            E::Dict(found) => {
                let mut all = None;
                for item in &found.items {
                    let key = item.key.as_ref().and_then(|key| self.taint(key));
                    let value = self.taint(&item.value);
                    all = strongest([all, key, value]);
                }
                all
            }
            E::FString(found) => {
                let mut all = self.path_taint(expr);
                for element in found.value.elements() {
                    if let Some(inner) = element.as_interpolation() {
                        let taint = self.taint(&inner.expression);
                        all = strongest([all, taint]);
                    }
                }
                all
            }
            E::Starred(found) => self.taint(&found.value),
            E::Await(found) => self.taint(&found.value),
            E::Named(found) => self.taint(&found.value),
            E::Lambda(found) => self.taint(&found.body),
            E::StringLiteral(_) => self.path_taint(expr),
            E::ListComp(found) => self.comprehension(&[&found.elt], &found.generators),
            E::SetComp(found) => self.comprehension(&[&found.elt], &found.generators),
            E::Generator(found) => self.comprehension(&[&found.elt], &found.generators),
            E::DictComp(found) => {
                let made: Vec<&Expr> = found.key.as_deref().into_iter().chain([&*found.value]).collect();
                self.comprehension(&made, &found.generators)
            }
            _ => None,
        }
    }

    fn any(&mut self, items: &[Expr]) -> Option<Taint> {
        let mut all = None;
        for item in items {
            let taint = self.taint(item);
            all = strongest([all, taint]);
        }
        all
    }

    fn comprehension(&mut self, made: &[&Expr], generators: &[Comprehension]) -> Option<Taint> {
        self.held.push(Held::new());
        for generator in generators {
            let taint = self.taint(&generator.iter);
            self.hold(&generator.target, taint.as_ref());
        }
        let mut all = None;
        for expr in made {
            let taint = self.taint(expr);
            all = strongest([all, taint]);
        }
        self.held.pop();
        all
    }

    fn held(&self, name: &str) -> Option<Taint> {
        self.held.iter().rev().find_map(|held| held.get(name)).cloned()
    }

    fn known(&self, origin: Origin, what: &str, expr: &Expr) -> Taint {
        let what = what.strip_prefix("builtins.").unwrap_or(what).chars().take(MAX_WHAT).collect();
        Taint { source: Source::Known(origin), what, place: self.place.at(expr.start()) }
    }

    /// A source by its name alone, or a path that tells.
    fn named_source(&mut self, expr: &Expr) -> Option<Taint> {
        match fold(expr, self.scopes)?.known {
            Known::Named(name) => source_of(&name).map(|origin| self.known(origin, &name, expr)),
            Known::Constant(constant) => {
                let path = secret_path(&constant)?;
                Some(self.known(Origin::Path, path, expr))
            }
        }
    }

    fn path_taint(&mut self, expr: &Expr) -> Option<Taint> {
        let path = partial(expr, self.scopes).filter(|path| is_secret_path(path))?;
        Some(self.known(Origin::Path, &path, expr))
    }

    fn attribute_taint(&mut self, attribute: &ExprAttribute, expr: &Expr) -> Option<Taint> {
        if let Some(taint) = self.named_source(expr) {
            return Some(taint);
        }
        if matches!(&*attribute.value, Expr::Name(name) if name.id.as_str() == "self") {
            let name = attribute.attr.as_str().to_owned();
            let place = self.place.at(expr.start());
            return Some(Taint { source: Source::Attribute(name.clone()), what: format!("self.{name}"), place });
        }
        self.taint(&attribute.value)
    }

    fn call_taint(&mut self, call: &ExprCall, expr: &Expr) -> Option<Taint> {
        let callee = self.scopes.name_of(&call.func);
        let name = callee.as_deref().unwrap_or_default();
        if DULL.contains(&name) {
            return None;
        }
        let given = self.given(call);
        let is_path = |taint: &Taint| taint.source == Source::Known(Origin::Path);
        if reads_file(name) {
            let path = self.path_of(call).or_else(|| given.clone().filter(is_path).map(|taint| taint.what));
            if let Some(path) = path {
                return Some(self.known(Origin::Credentials, &format!("{name}({path})"), expr));
            }
        }
        let receiver = match &*call.func {
            Expr::Attribute(attribute) if source_of(name).is_none() => self.taint(&attribute.value),
            Expr::Name(name) => self.held(name.id.as_str()),
            Expr::Lambda(lambda) => self.taint(&lambda.body),
            _ => None,
        };
        // `path.read_text()` and the like.
        let reads = |name: &str| matches!(name, "read_text" | "read_bytes" | "open" | "iterdir" | "glob" | "rglob");
        if let (Expr::Attribute(attribute), Some(taint)) = (&*call.func, &receiver)
            && is_path(taint)
            && reads(attribute.attr.as_str())
        {
            return Some(self.known(Origin::Credentials, &taint.what.clone(), expr));
        }
        let own = source_of(name).map(|origin| self.known(origin, name, expr));
        let local = local_name(name).map(|function| Taint {
            source: Source::Result(function.to_owned()),
            what: format!("{name}()"),
            place: self.place.at(expr.start()),
        });
        strongest([own, given, receiver]).or(local)
    }

    /// What a call is given.
    fn given(&mut self, call: &ExprCall) -> Option<Taint> {
        let mut all = self.any(&call.arguments.args);
        for keyword in &call.arguments.keywords {
            let taint = self.taint(&keyword.value);
            all = strongest([all, taint]);
        }
        all
    }

    /// The path of credentials that a call is given.
    fn path_of(&mut self, call: &ExprCall) -> Option<String> {
        call.arguments.args.iter().find_map(|argument| {
            let path = partial(argument, self.scopes)?;
            is_secret_path(&path).then_some(path)
        })
    }

    /// Binds the names of a target to what they get.
    pub(super) fn hold(&mut self, target: &Expr, taint: Option<&Taint>) {
        match target {
            E::Name(name) => {
                let Some(held) = self.held.last_mut() else { return };
                match taint {
                    Some(taint) => drop(held.insert(name.id.as_str().to_owned(), taint.clone())),
                    None => drop(held.remove(name.id.as_str())),
                }
            }
            E::Tuple(found) => found.elts.iter().for_each(|target| self.hold(target, taint)),
            E::List(found) => found.elts.iter().for_each(|target| self.hold(target, taint)),
            E::Starred(found) => self.hold(&found.value, taint),
            E::Attribute(found) => {
                let is_self = matches!(&*found.value, Expr::Name(name) if name.id.as_str() == "self");
                if let (true, Some(taint)) = (is_self, taint) {
                    self.flows.attribute(found.attr.as_str().to_owned(), taint.clone());
                }
            }
            // One value of many: what was held before is still in it.
            E::Subscript(found) if taint.is_some() => self.fill(&found.value, taint),
            _ => {}
        }
    }

    /// Adds to what a name holds.
    fn fill(&mut self, container: &Expr, taint: Option<&Taint>) {
        let (E::Name(name), Some(taint)) = (container, taint) else { return };
        let name = name.id.as_str();
        let taint = taint.clone().stronger(self.held(name));
        if let Some(held) = self.held.last_mut() {
            held.insert(name.to_owned(), taint);
        }
    }

    /// `name += value`.
    pub(super) fn hold_more(&mut self, target: &Expr, value: &Expr) {
        let taint = self.taint(value);
        self.fill(target, taint.as_ref());
    }

    /// The parameters of a function, as its body sees them.
    pub(super) fn hold_parameters(&mut self, def: &StmtFunctionDef, is_method: bool) {
        let mut names: Vec<String> = def.parameters.iter().map(|one| one.name().as_str().to_owned()).collect();
        if is_method && !names.is_empty() {
            names.remove(0);
        }
        let is_handler = def.name.as_str().starts_with("on_");
        let mut held = Held::new();
        for (at, name) in names.iter().enumerate() {
            let source = match (is_handler, name.as_str(), def.name.as_str()) {
                (true, ..) => Source::Known(Origin::Chat),
                (_, "config", "__init__" | "configure") if is_method => Source::Known(Origin::Config),
                _ => Source::Parameter(at),
            };
            held.insert(name.clone(), Taint { source, what: name.clone(), place: self.place.at(def.start()) });
        }
        self.held.push(held);
        let function = self.function.to_owned();
        self.flows.define(function, names);
    }

    pub(super) fn returned(&mut self, value: &Expr) {
        if let Some(taint) = self.taint(value) {
            let function = self.function.to_owned();
            self.flows.returns(function, taint);
        }
    }

    /// Notes where a call takes what it is given.
    pub(super) fn follow(&mut self, call: &ExprCall, callee: Option<&str>) {
        if let (Expr::Attribute(attribute), true) = (&*call.func, !call.arguments.is_empty())
            && FILLING.contains(&attribute.attr.as_str())
            && let Some(taint) = self.given(call)
        {
            self.fill(&attribute.value, Some(&taint));
        }
        let Some(callee) = callee else { return };
        if let Some(sink) = sink_of(callee) {
            let taint = match sink {
                Sink::Process => self.program(call),
                Sink::Code => call.arguments.args.first().and_then(|code| self.taint(code)),
                Sink::Network | Sink::Dns | Sink::Object | Sink::Write => self.given(call),
            };
            if let Some(taint) = taint {
                let target = callee.strip_prefix("builtins.").unwrap_or(callee).chars().take(MAX_WHAT).collect();
                let reached = Reached { sink, target, place: self.place.at(call.start()), layer: self.layer };
                let function = self.function.to_owned();
                self.flows.reach(function, taint, reached);
            }
        } else if let Some(function) = local_name(callee) {
            for (at, argument) in call.arguments.args.iter().enumerate() {
                if let Some(taint) = self.taint(argument) {
                    self.flows.hand(function.to_owned(), Slot::Position(at), taint);
                }
            }
            for keyword in &call.arguments.keywords {
                if let (Some(name), Some(taint)) = (&keyword.arg, self.taint(&keyword.value)) {
                    self.flows.hand(function.to_owned(), Slot::Name(name.as_str().to_owned()), taint);
                }
            }
        }
    }

    /// What decides which program is run: the first word, and all words of an interpreter.
    fn program(&mut self, call: &ExprCall) -> Option<Taint> {
        let first =
            call.arguments.args.first().or_else(|| call.arguments.find_keyword("args").map(|found| &found.value))?;
        let words = match first {
            E::List(found) => &found.elts,
            E::Tuple(found) => &found.elts,
            whole => return self.taint(whole),
        };
        let program = words.first()?;
        let name = partial(program, self.scopes).unwrap_or_default();
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
        let is_known = INTERPRETERS.contains(&name.as_str());
        let runs_code = is_known
            || matches!(fold(program, self.scopes), Some(Folded { known: Known::Named(name), .. }) if name == "sys.executable");
        if runs_code { self.any(words) } else { self.taint(program) }
    }
}

/// The function of the same file that a call names: `f`, or `m` of `self.m`.
fn local_name(callee: &str) -> Option<&str> {
    let name = callee.strip_prefix("self.").unwrap_or(callee);
    (!name.is_empty() && !name.contains(['.', '(', '['])).then_some(name)
}

fn strongest<const N: usize>(taints: [Option<Taint>; N]) -> Option<Taint> {
    taints.into_iter().flatten().reduce(|one, other| one.stronger(Some(other)))
}

/// A path of credentials in a constant.
fn secret_path(constant: &Constant) -> Option<&str> {
    match constant {
        Constant::Text(text) => is_secret_path(text).then_some(text),
        Constant::List(items) => items.iter().take(256).find_map(secret_path),
        Constant::Map(entries) => entries.iter().take(256).find_map(|(_, value)| secret_path(value)),
        _ => None,
    }
}
