//! JSON Schemas from type hints. What a hint does not tell, the schema leaves open.

use std::collections::BTreeMap;

use ruff_python_ast::{Expr, ExprSubscript, Operator, Stmt};
use serde_json::{Map, Value, json};

use crate::budget::{Budget, Limits};
use crate::model::{Analysis, Class, Module, Parameter};
use crate::parse::parse;
use crate::value::Constant;

/// Classes and hints inside of each other.
const MAX_DEPTH: usize = 12;

/// Properties of one schema, classes inside of classes counted.
const MAX_PROPERTIES: usize = 500;

/// Makes schemas of hints in one module.
pub(crate) struct Schemas<'a> {
    analysis: &'a Analysis,
    module: &'a Module,
    /// What names mean here that are imported.
    imported: BTreeMap<&'a str, String>,
    classes: Vec<&'a str>,
    depth: usize,
    left: usize,
    budget: Budget,
}

impl<'a> Schemas<'a> {
    pub(crate) fn new(analysis: &'a Analysis, module: &'a Module) -> Self {
        let bound = module.imports.iter().filter_map(|import| match (&import.name, &import.alias) {
            (Some(name), alias) => Some((alias.as_ref().unwrap_or(name).as_str(), format!("{}.{name}", import.module))),
            (None, Some(alias)) => Some((alias.as_str(), import.module.clone())),
            (None, None) => None,
        });
        let imported = bound.collect();
        let budget = Budget::new(&Limits::default());
        Self { analysis, module, imported, classes: Vec::new(), depth: 0, left: MAX_PROPERTIES, budget }
    }

    /// The schema of a hint as it is written.
    pub(crate) fn of_text(&mut self, hint: &str) -> Value {
        self.depth += 1;
        let parsed = (self.depth <= MAX_DEPTH).then(|| parse(hint, &self.budget).ok()).flatten();
        let schema =
            match parsed.as_ref().filter(|parsed| parsed.errors().is_empty()).map(|parsed| &parsed.syntax().body[..]) {
                Some([Stmt::Expr(statement)]) => self.of(&statement.value),
                _ => json!({}),
            };
        self.depth -= 1;
        schema
    }

    fn of(&mut self, hint: &Expr) -> Value {
        match hint {
            Expr::NoneLiteral(_) => json!({ "type": "null" }),
            Expr::StringLiteral(text) => self.of_text(text.value.to_str()),
            Expr::Name(_) | Expr::Attribute(_) => self.of_name(hint),
            Expr::Subscript(subscript) => self.of_subscript(subscript),
            Expr::BinOp(either) if either.op == Operator::BitOr => {
                let (left, right) = (self.of(&either.left), self.of(&either.right));
                any_of(vec![left, right])
            }
            _ => json!({}),
        }
    }

    fn of_name(&mut self, hint: &Expr) -> Value {
        let Some(name) = self.name(hint) else { return json!({}) };
        let last = name.rsplit('.').next().unwrap_or(&name);
        match last {
            "str" | "LiteralString" => json!({ "type": "string" }),
            "int" => json!({ "type": "integer" }),
            "float" => json!({ "type": "number" }),
            "bool" => json!({ "type": "boolean" }),
            "dict" | "Dict" | "Mapping" | "MutableMapping" | "Context" => json!({ "type": "object" }),
            "list" | "List" | "Sequence" | "Iterable" | "tuple" | "Tuple" | "set" | "Set" | "frozenset"
            | "FrozenSet" => {
                json!({ "type": "array" })
            }
            _ => match self.module.class(last) {
                Some(class) => self.of_class(class),
                None => self.of_other_module(&name, last),
            },
        }
    }

    /// A class that another file of the package defines.
    fn of_other_module(&mut self, name: &str, last: &str) -> Value {
        let Some(path) = name.strip_suffix(last).and_then(|path| path.strip_suffix('.')) else { return json!({}) };
        let path = path.replace('.', "/");
        let files = [format!("{path}.py"), format!("{path}/__init__.py")];
        let Some(module) = files.iter().find_map(|file| self.analysis.module(file)) else { return json!({}) };
        if self.depth >= MAX_DEPTH {
            return json!({});
        }
        let mut inner = Schemas::new(self.analysis, module);
        (inner.depth, inner.left, inner.classes) = (self.depth + 1, self.left, self.classes.clone());
        let schema = module.class(last).map_or_else(|| json!({}), |class| inner.of_class(class));
        self.left = inner.left;
        schema
    }

    /// A class with annotated fields: `TypedDict`, a dataclass, and the like.
    fn of_class(&mut self, class: &'a Class) -> Value {
        let ends = |name: &String, word: &str| name.rsplit('.').next() == Some(word);
        let is_dict = class.bases.iter().any(|base| ends(base, "TypedDict"));
        let is_record = is_dict
            || class.decorators.iter().any(|decorator| ends(decorator, "dataclass"))
            || class.bases.iter().any(|base| ends(base, "BaseModel") || ends(base, "NamedTuple"));
        if !is_record || self.depth >= MAX_DEPTH || self.classes.contains(&class.name.as_str()) {
            return if is_record { json!({ "type": "object" }) } else { json!({}) };
        }
        let is_total = class.keywords.get("total") != Some(&Constant::Bool(false));
        self.classes.push(&class.name);
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for field in &class.fields {
            let Some(left) = self.left.checked_sub(1) else { break };
            self.left = left;
            let hint = field.hint.as_deref().unwrap_or_default();
            let wrapper = hint.split('[').next().and_then(|name| name.rsplit('.').next()).unwrap_or_default();
            let is_required = match wrapper {
                "Required" => true,
                "NotRequired" | "ClassVar" => false,
                _ => is_total && !field.has_default,
            };
            if wrapper == "ClassVar" {
                continue;
            }
            if is_required {
                required.push(field.name.clone());
            }
            properties.insert(field.name.clone(), self.of_field(field, class));
        }
        self.classes.pop();
        let mut schema = json!({ "type": "object", "properties": properties });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schema
    }

    fn of_field(&mut self, field: &Parameter, class: &Class) -> Value {
        let mut schema = field.hint.as_deref().map_or_else(|| json!({}), |hint| self.of_text(hint));
        if let Some(default) = field.default.as_ref().and_then(as_json) {
            schema["default"] = default;
        }
        let described = class.docstring.as_deref().and_then(|text| description(text, &field.name));
        if let Some(text) = described.filter(|_| schema.get("description").is_none()) {
            schema["description"] = json!(text);
        }
        schema
    }

    fn of_subscript(&mut self, subscript: &ExprSubscript) -> Value {
        let Some(name) = self.name(&subscript.value) else { return json!({}) };
        let arguments: Vec<&Expr> = match &*subscript.slice {
            Expr::Tuple(tuple) => tuple.elts.iter().collect(),
            one => vec![one],
        };
        let last = name.rsplit('.').next().unwrap_or(&name);
        match (last, arguments.as_slice()) {
            ("Optional", [inner]) => any_of(vec![self.of(inner), json!({ "type": "null" })]),
            ("Union", inner) => any_of(inner.iter().map(|hint| self.of(hint)).collect()),
            ("Literal", values) => values
                .iter()
                .map(|value| literal(value))
                .collect::<Option<Vec<_>>>()
                .map_or_else(|| json!({}), |values| json!({ "enum": values })),
            ("Annotated", [inner, notes @ ..]) => {
                let mut schema = self.of(inner);
                if let Some(Expr::StringLiteral(text)) = notes.first() {
                    schema["description"] = json!(text.value.to_str());
                }
                schema
            }
            ("Required" | "NotRequired" | "ReadOnly" | "Final", [inner]) => self.of(inner),
            ("list" | "List" | "Sequence" | "Iterable" | "set" | "Set" | "frozenset", [inner])
            | ("tuple" | "Tuple", [inner, Expr::EllipsisLiteral(_)]) => {
                json!({ "type": "array", "items": self.of(inner) })
            }
            ("tuple" | "Tuple", inner) => {
                let items: Vec<Value> = inner.iter().map(|hint| self.of(hint)).collect();
                json!({ "type": "array", "prefixItems": items, "minItems": items.len(), "maxItems": items.len() })
            }
            ("dict" | "Dict" | "Mapping" | "MutableMapping", [_, inner]) => match self.of(inner) {
                Value::Object(open) if open.is_empty() => json!({ "type": "object" }),
                inner => json!({ "type": "object", "additionalProperties": inner }),
            },
            _ => json!({}),
        }
    }

    /// The dotted name that a hint means.
    fn name(&self, hint: &Expr) -> Option<String> {
        match hint {
            Expr::Name(name) => {
                let written = name.id.as_str();
                Some(self.imported.get(written).cloned().unwrap_or_else(|| written.to_owned()))
            }
            Expr::Attribute(attribute) => Some(format!("{}.{}", self.name(&attribute.value)?, attribute.attr.as_str())),
            _ => None,
        }
    }
}

/// One of several schemas; one that is open makes all of it open.
fn any_of(schemas: Vec<Value>) -> Value {
    let mut flat: Vec<Value> = Vec::new();
    for schema in schemas {
        match schema.get("anyOf").and_then(Value::as_array) {
            Some(inner) => flat.extend(inner.iter().cloned()),
            None => flat.push(schema),
        }
    }
    if flat.iter().any(|schema| schema.as_object().is_some_and(Map::is_empty)) {
        return json!({});
    }
    flat.dedup();
    if let [only] = &flat[..] { only.clone() } else { json!({ "anyOf": flat }) }
}

fn literal(value: &Expr) -> Option<Value> {
    match value {
        Expr::StringLiteral(text) => Some(json!(text.value.to_str())),
        Expr::BooleanLiteral(boolean) => Some(json!(boolean.value)),
        Expr::NoneLiteral(_) => Some(Value::Null),
        Expr::NumberLiteral(number) => {
            number.value.as_int().and_then(ruff_python_ast::Int::as_i64).map(|whole| json!(whole))
        }
        _ => None,
    }
}

/// A constant as JSON; nothing for what JSON does not have.
fn as_json(constant: &Constant) -> Option<Value> {
    match constant {
        Constant::None => Some(Value::Null),
        Constant::Bool(boolean) => Some(json!(boolean)),
        Constant::Whole(whole) => Some(json!(whole)),
        Constant::Float(float) => float.is_finite().then(|| json!(float)),
        Constant::Text(text) => Some(json!(text)),
        Constant::Bytes(_) | Constant::Map(_) => None,
        Constant::List(items) => items.iter().map(as_json).collect::<Option<Vec<_>>>().map(Value::Array),
    }
}

/// What a docstring says of a name in a line such as `name: text` or `name (str): text`.
fn description(docstring: &str, name: &str) -> Option<String> {
    docstring.lines().find_map(|line| {
        let rest = line.trim().strip_prefix(name)?;
        let rest = rest.trim_start();
        let rest = if rest.starts_with('(') { rest.split_once(')')?.1 } else { rest };
        let text = rest.strip_prefix(':')?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    })
}
