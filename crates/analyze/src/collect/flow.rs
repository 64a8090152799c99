//! Follows values through a function: which expression holds what of a source, and which call takes it to a sink.

use std::collections::BTreeMap;

use ruff_python_ast::{Comprehension, Expr, Expr as E, ExprAttribute, ExprCall, StmtFunctionDef};
use ruff_text_size::Ranged;

use super::{Collector, Where};
use crate::flow::{Flows, Origin, Source, Taint, is_secret_path, origin_of_variable, reads_file, source_of};
use crate::fold::{Scopes, fold, partial};
use crate::value::{Constant, Folded, Known};

/// What the names of a function hold.
pub(super) type Held = BTreeMap<String, Taint>;

/// Characters of a name that are kept.
pub(super) const MAX_WHAT: usize = 120;

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
    pub(super) scopes: &'f mut Scopes<'b>,
    pub(super) place: Where<'a>,
    /// The function around, as calls of the same file name it.
    pub(super) function: &'f str,
    pub(super) layer: u8,
    pub(super) held: &'f mut Vec<Held>,
    pub(super) flows: &'f mut Flows,
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
            E::Subscript(found) => {
                let taint = self.named_source(expr).or_else(|| self.taint(&found.value));
                self.variable(taint, &found.slice)
            }
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

    pub(super) fn any(&mut self, items: &[Expr]) -> Option<Taint> {
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

    pub(super) fn known(&self, origin: Origin, what: &str, expr: &Expr) -> Taint {
        let what = what.strip_prefix("builtins.").unwrap_or(what).chars().take(MAX_WHAT).collect();
        Taint { source: Source::Known(origin), what, place: self.place.at(expr.start()) }
    }

    /// A variable of the environment, by its name where that is known.
    fn variable(&mut self, taint: Option<Taint>, name: &Expr) -> Option<Taint> {
        let mut taint = taint?;
        let is_environment = matches!(taint.source, Source::Known(Origin::Variable | Origin::Environment));
        if is_environment
            && let Some(Folded { known: Known::Constant(Constant::Text(name)), .. }) = fold(name, self.scopes)
        {
            taint.source = Source::Known(origin_of_variable(&name));
            taint.what = format!("{}({name})", taint.what.trim_end_matches(['[', ']']));
        }
        Some(taint)
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
        let own =
            source_of(name).map(|origin| self.known(origin, name, expr)).or_else(|| self.odd_decoding(call, expr));
        let own = match call.arguments.args.first() {
            Some(first) if matches!(&own, Some(taint) if taint.source == Source::Known(Origin::Variable)) => {
                self.variable(own, first)
            }
            _ => own,
        };
        let local = local_name(name).map(|function| Taint {
            source: Source::Result(function.to_owned()),
            what: format!("{name}()"),
            place: self.place.at(expr.start()),
        });
        strongest([own, given, receiver]).or(local)
    }

    /// `text.decode("cp1026")`: an encoding that no source is written in hides what is in it.
    fn odd_decoding(&mut self, call: &ExprCall, expr: &Expr) -> Option<Taint> {
        let Expr::Attribute(attribute) = &*call.func else { return None };
        let codec = call.arguments.args.first().filter(|_| attribute.attr.as_str() == "decode")?;
        let Known::Constant(Constant::Text(codec)) = fold(codec, self.scopes)?.known else { return None };
        let plain = codec.to_ascii_lowercase().replace(['_', '-'], "");
        let is_odd = plain.starts_with("cp1026")
            || plain.starts_with("cp037")
            || plain.starts_with("cp500")
            || plain.starts_with("utf7")
            || plain.starts_with("rot")
            || matches!(plain.as_str(), "base64" | "hex" | "zlib" | "zip" | "bz2" | "uu");
        is_odd.then(|| self.known(Origin::Decoded, &format!("decode({codec})"), expr))
    }

    /// What a call is given.
    pub(super) fn given(&mut self, call: &ExprCall) -> Option<Taint> {
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
    pub(super) fn fill(&mut self, container: &Expr, taint: Option<&Taint>) {
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
}

/// The function of the same file that a call names: `f`, or `m` of `self.m`.
pub(super) fn local_name(callee: &str) -> Option<&str> {
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
