//! Walks the tree of a file and notes what it imports, defines, calls and uses.

mod call;
mod flow;
mod sink;
mod visit;

use ruff_python_ast::visitor::Visitor;
use ruff_python_ast::{
    Expr, ExprContext, ExprName, Identifier, Stmt, StmtClassDef, StmtFunctionDef, StmtImport, StmtImportFrom,
};
use ruff_text_size::{Ranged, TextSize};

use crate::budget::Budget;
use crate::capability::{of_import, of_name};
use crate::flow::Flows;
use crate::fold::{Scopes, fold};
use crate::model::{Class, Function, Import, Module, Place, Setting, Use};
use crate::shape::{Reader, docstring};
use crate::source::Lines;
use crate::value::{Constant, Folded, Known};
use flow::Held;

/// Bytes of a constant that is kept with a call or a name.
const MAX_KEPT: usize = 16 * 1024;

/// About how many bytes a flow takes.
const SIZE_OF_FLOW: usize = 512;

/// Built-in functions with which names are made, so that only running the file tells which there are.
const NAME_MAKERS: [&str; 6] = ["globals", "vars", "locals", "exec", "eval", "setattr"];

/// What a file holds.
pub(crate) fn module(path: &str, text: &str, lines: &Lines<'_>, body: &[Stmt], budget: &Budget) -> Module {
    let own = !path.starts_with("vendor/");
    let module = Module { path: path.to_owned(), docstring: docstring(body), ..Module::default() };
    let mut scopes = Scopes::new(budget);
    let place = Where { text, lines, nested: None };
    let mut collector = Collector {
        module,
        scopes: &mut scopes,
        place,
        own,
        deferred: Vec::new(),
        within: Vec::new(),
        depth: 0,
        loops: 0,
        setting: Setting::Load,
        layer: 0,
        held: vec![Held::new()],
        flows: Flows::default(),
        in_class: false,
        is_quiet: false,
    };
    collector.visit_body(body);
    collector.visit_deferred();
    let flows = collector.flows.resolve().into_iter();
    collector.module.flows = flows.take_while(|_| budget.keep(SIZE_OF_FLOW)).collect();
    collector.module
}

/// Where the text that is walked comes from.
#[derive(Clone, Copy)]
struct Where<'a> {
    text: &'a str,
    lines: &'a Lines<'a>,
    /// For code out of a constant: the place in the file at which it is run.
    nested: Option<Place>,
}

impl Where<'_> {
    fn at(&self, offset: TextSize) -> Place {
        self.nested.unwrap_or_else(|| self.lines.place(offset))
    }
}

struct Collector<'a, 'b, 's> {
    module: Module,
    scopes: &'s mut Scopes<'b>,
    place: Where<'a>,
    /// Whether the file is the author's own, and all of it is kept.
    own: bool,
    /// Functions of the top level and of classes: their bodies run when all names of the module are there.
    deferred: Vec<(&'a StmtFunctionDef, Vec<String>)>,
    within: Vec<String>,
    /// Functions around; a class does not count.
    depth: usize,
    loops: usize,
    setting: Setting,
    layer: u8,
    /// What names hold of sources, from the module to the innermost function.
    held: Vec<Held>,
    flows: Flows,
    /// Whether a function that is defined here is a method.
    in_class: bool,
    /// Whether the text around was noted as a whole.
    is_quiet: bool,
}

impl<'a, 'b> Collector<'a, 'b, '_> {
    fn visit_deferred(&mut self) {
        // A function may hold classes whose methods are put off in turn.
        while let Some((def, within)) = self.deferred.pop() {
            self.in_class = !within.is_empty();
            self.within = within;
            self.function_body(def);
        }
    }

    fn function_body(&mut self, def: &'a StmtFunctionDef) {
        let (setting, loops) = (self.setting, std::mem::take(&mut self.loops));
        let is_method = std::mem::take(&mut self.in_class);
        self.setting = Setting::Call;
        self.depth += 1;
        self.within.push(def.name.as_str().to_owned());
        self.scopes.enter();
        for parameter in &*def.parameters {
            self.scopes.bind(parameter.name().as_str(), None);
        }
        let this = def.parameters.iter_non_variadic_params().next().filter(|_| is_method);
        if let Some(this) = this {
            self.scopes.bind(this.name().as_str(), Some(Folded::named("self".to_owned())));
        }
        self.follower().hold_parameters(def, is_method);
        self.visit_body(&def.body);
        self.held.pop();
        self.scopes.leave();
        self.within.pop();
        self.depth -= 1;
        (self.setting, self.loops, self.in_class) = (setting, loops, is_method);
    }

    fn is_top(&self) -> bool {
        self.depth == 0 && self.within.is_empty() && self.layer == 0
    }

    fn bound(&mut self, name: &str) {
        if self.own && !self.module.bound.contains(name) && self.scopes.budget.keep(48 + name.len()) {
            self.module.bound.insert(name.to_owned());
        }
    }

    fn reader(&mut self) -> Reader<'_, 'b> {
        Reader { text: self.place.text, lines: self.place.lines, scopes: &mut *self.scopes }
    }

    fn imports(&mut self, import: &'a StmtImport) {
        for alias in &import.names {
            let module = alias.name.as_str();
            self.import(alias.start(), module, None, alias.asname.as_ref(), 0);
            let bound = alias.asname.as_ref().map_or(module, |name| name.as_str());
            self.bound(bound.split('.').next().unwrap_or(bound));
        }
        self.scopes.import(import);
    }

    fn imports_from(&mut self, import: &'a StmtImportFrom) {
        let module = import.module.as_ref().map_or("", |module| module.as_str());
        for alias in &import.names {
            let name = alias.name.as_str();
            let at = import.module.as_ref().map_or(alias.start(), Ranged::start);
            self.import(at, module, Some(name), alias.asname.as_ref(), import.level);
            self.module.makes_names |= name == "*";
            self.bound(alias.asname.as_ref().unwrap_or(&alias.name).as_str());
        }
        self.scopes.import_from(import);
    }

    fn import(&mut self, at: TextSize, module: &str, name: Option<&str>, alias: Option<&Identifier>, level: u32) {
        let place = self.place.at(at);
        if level == 0 {
            let whole = name.map(|name| format!("{module}.{name}"));
            let used = whole.filter(|whole| of_name(whole).is_some() || of_import(whole).is_some());
            let used = used.or_else(|| of_import(module).map(|_| module.to_owned()));
            if let Some(used) = used {
                self.used(place, &used);
            }
        }
        if self.scopes.budget.keep(96 + module.len() + name.map_or(0, str::len)) {
            let (module, name) = (module.to_owned(), name.map(str::to_owned));
            let alias = alias.map(|alias| alias.as_str().to_owned());
            self.module.imports.push(Import { place, module, name, alias, level, setting: self.setting });
        }
    }

    /// Notes a name that is used, if it is one of a capability.
    fn used(&mut self, place: Place, name: &str) {
        let Some(capability) = of_name(name).or_else(|| of_import(name)) else { return };
        let what = name.strip_prefix("builtins.").unwrap_or(name).to_owned();
        let within = self.within.join(".");
        if self.scopes.budget.keep(96 + what.len() + within.len()) {
            self.module.uses.push(Use { capability, place, what, within, layer: self.layer });
        }
    }

    fn assign(&mut self, targets: &'a [Expr], value: &'a Expr) {
        self.visit_expr(value);
        for target in targets {
            self.visit_expr(target);
        }
        let folded = fold(value, self.scopes);
        let taint = self.follower().taint(value);
        for target in targets {
            self.follower().hold(target, taint.as_ref());
            match (target, &folded) {
                (Expr::Name(name), _) => self.assign_name(name.id.as_str(), folded.clone()),
                (Expr::Tuple(tuple), Some(Folded { known: Known::Constant(Constant::List(items)), layers })) => {
                    for (target, item) in tuple.elts.iter().zip(items) {
                        if let Expr::Name(name) = target {
                            self.assign_name(name.id.as_str(), Some(Folded::constant(item.clone(), *layers)));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn assign_name(&mut self, name: &str, folded: Option<Folded>) {
        if let (true, true, Some(Folded { known: Known::Constant(constant), .. })) = (self.own, self.is_top(), &folded)
        {
            let size = constant.size();
            if size <= MAX_KEPT && self.scopes.budget.keep(64 + name.len() + size) {
                self.module.constants.insert(name.to_owned(), constant.clone());
            }
        }
        self.scopes.bind(name, folded);
    }

    fn name(&mut self, name: &ExprName, expr: &Expr) {
        let written = name.id.as_str();
        if name.ctx != ExprContext::Load {
            self.bound(written);
            if self.own && self.is_top() && self.scopes.budget.keep(48 + written.len()) {
                self.module.assigned.insert(written.to_owned());
            }
            return self.scopes.bind(written, None);
        }
        if let Some(Folded { known: Known::Named(found), .. }) = fold(expr, self.scopes) {
            if found.strip_prefix("builtins.").is_some_and(|found| NAME_MAKERS.contains(&found)) {
                self.module.makes_names = true;
            }
            if !found.contains('(') {
                self.used(self.place.at(name.start()), &found);
            }
        }
    }

    fn attribute(&mut self, expr: &'a Expr) {
        if let Some(Folded { known: Known::Named(name), .. }) = fold(expr, self.scopes) {
            self.module.changes_path |=
                name == "sys.path" || name.starts_with("sys.path.") || name == "site.addsitedir";
            if !name.contains('(') {
                self.used(self.place.at(expr.start()), &name);
            }
        }
        // The names in the chain were told together.
        let mut root = expr;
        while let Expr::Attribute(attribute) = root {
            root = &attribute.value;
        }
        if !matches!(root, Expr::Name(_)) {
            self.visit_expr(root);
        }
    }

    fn define_function(&mut self, def: &'a StmtFunctionDef) {
        self.bound(def.name.as_str());
        if self.own && self.is_top() {
            let function = self.reader().function(def);
            self.module.makes_names |= function.name == "__getattr__";
            if self.scopes.budget.keep(size_of_function(&function)) {
                self.module.functions.push(function);
            }
        }
        def.decorator_list.iter().for_each(|decorator| self.visit_decorator(decorator));
        def.parameters.iter_non_variadic_params().filter_map(|parameter| parameter.default.as_deref()).for_each(
            |default| {
                self.visit_expr(default);
            },
        );
        self.scopes.bind(def.name.as_str(), None);
        if self.depth == 0 {
            self.deferred.push((def, self.within.clone()));
        } else {
            self.function_body(def);
        }
    }

    fn define_class(&mut self, def: &'a StmtClassDef) {
        self.bound(def.name.as_str());
        if self.own && self.is_top() {
            let class = self.reader().class(def);
            if self.scopes.budget.keep(size_of_class(&class)) {
                self.module.classes.push(class);
            }
        }
        def.decorator_list.iter().for_each(|decorator| self.visit_decorator(decorator));
        def.arguments.iter().for_each(|arguments| self.visit_arguments(arguments));
        self.scopes.bind(def.name.as_str(), None);
        self.within.push(def.name.as_str().to_owned());
        self.scopes.enter_class();
        let in_class = std::mem::replace(&mut self.in_class, true);
        self.visit_body(&def.body);
        self.in_class = in_class;
        self.scopes.leave();
        self.within.pop();
    }
}

/// About how many bytes a function takes.
fn size_of_function(function: &Function) -> usize {
    let texts = [&function.docstring, &function.returns].into_iter().flatten().map(String::len).sum::<usize>();
    let parameters = function.parameters.iter().map(|parameter| {
        let default = parameter.default.as_ref().map_or(0, Constant::size);
        96 + parameter.name.len() + parameter.hint.as_ref().map_or(0, String::len) + default
    });
    160 + function.name.len() + texts + parameters.sum::<usize>() + 64 * function.decorators.len()
}

/// About how many bytes a class takes.
fn size_of_class(class: &Class) -> usize {
    let methods: usize = class.methods.iter().map(size_of_function).sum();
    let docstring = class.docstring.as_ref().map_or(0, String::len);
    256 + class.name.len() + docstring + methods + 96 * (class.fields.len() + class.names.len() + class.bases.len())
}
