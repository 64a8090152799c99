//! Tools of a Python plugin, as far as its code tells them: `execute` and the methods that it offers.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::hint::Schemas;
use crate::model::{Analysis, Class, Function, Module, ParameterKind};

/// Decorators that offer a method to callers.
const OFFERS: [&str; 2] = ["plugbay.method", "plugbay.plugin.method"];

/// A tool, with the keys of `tools:` in plugin.yaml.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does, by the docstring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The method that is called.
    pub method: String,
    /// The schema of its arguments.
    pub input: Value,
    /// The schema of its result, where the hint tells one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
}

/// The tools of a plugin: `execute` under the plugin's name, and each method that the class offers. The class is the one
/// of this name, or the only one with `execute`.
pub fn tools(analysis: &Analysis, main: &str, class: Option<&str>, plugin: &str) -> Vec<Tool> {
    let Some(module) = analysis.module(main) else { return Vec::new() };
    let mut schemas = Schemas::new(analysis, module);
    offered(analysis, main, class).into_iter().map(|method| tool(method, plugin, &mut schemas)).collect()
}

/// Methods that callers can call: `execute`, and each that the class offers.
pub fn offered<'a>(analysis: &'a Analysis, main: &str, class: Option<&str>) -> Vec<&'a Function> {
    let is_offered = |method: &Function| {
        method.name == "execute" || method.decorators.iter().any(|decorator| OFFERS.contains(&decorator.as_str()))
    };
    methods(analysis, main, class, is_offered)
}

/// The handler of this name: a method of the class, or a function of the file.
pub fn handler<'a>(analysis: &'a Analysis, main: &str, class: Option<&str>, name: &str) -> Option<&'a Function> {
    let of_class = methods(analysis, main, class, |method| method.name == name).into_iter().next();
    of_class.or_else(|| analysis.module(main)?.functions.iter().rfind(|function| function.name == name))
}

fn methods<'a>(
    analysis: &'a Analysis,
    main: &str,
    class: Option<&str>,
    wanted: impl Fn(&Function) -> bool,
) -> Vec<&'a Function> {
    let Some(module) = analysis.module(main) else { return Vec::new() };
    let class = match class {
        Some(name) => module.class(name),
        None => module.classes.iter().rfind(|class| class.has("execute")),
    };
    let mut methods: Vec<&Function> = Vec::new();
    for class in class.into_iter().flat_map(|class| lineage(module, class)) {
        for method in &class.methods {
            if methods.iter().all(|known| known.name != method.name) && wanted(method) {
                methods.push(method);
            }
        }
    }
    methods
}

/// The class and those above it in the same file.
fn lineage<'a>(module: &'a Module, class: &'a Class) -> Vec<&'a Class> {
    let (mut classes, mut next) = (vec![class], 0);
    while let Some(class) = classes.get(next).copied() {
        next += 1;
        for base in class.bases.iter().filter_map(|base| module.class(base)) {
            if !classes.iter().any(|known| known.name == base.name) {
                classes.push(base);
            }
        }
    }
    classes
}

fn tool(method: &Function, plugin: &str, schemas: &mut Schemas<'_>) -> Tool {
    let name = if method.name == "execute" { plugin.to_owned() } else { method.name.to_ascii_lowercase() };
    // The first parameter is the instance, the second what the caller sends.
    let is_given = |kind| matches!(kind, ParameterKind::Any | ParameterKind::Positional);
    let context = method.parameters.iter().filter(|parameter| is_given(parameter.kind)).nth(1);
    let input = context.and_then(|context| context.hint.as_deref()).map(|hint| schemas.of_text(hint));
    // Callers send an object, also where the hint says something else.
    let input = input.filter(is_object).unwrap_or_else(|| json!({ "type": "object" }));
    // What a generator gives are chunks, and no single result.
    let returns = method.returns.as_deref().filter(|_| !method.is_generator);
    let output = returns.map(|hint| schemas.of_text(hint)).filter(is_object);
    let description = method.docstring.as_deref().and_then(summary);
    Tool { name, description, method: method.name.clone(), input, output }
}

fn is_object(schema: &Value) -> bool {
    schema.as_object().and_then(|schema: &Map<String, Value>| schema.get("type")).is_some_and(|kind| kind == "object")
}

/// The first paragraph of a docstring in one line.
fn summary(docstring: &str) -> Option<String> {
    let paragraph = docstring.split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, analyze_source};

    #[test]
    fn hints_become_schemas() {
        let code = r#"
import typing as t
from dataclasses import dataclass
from plugbay import Plugin, method as offered
class Point(t.NamedTuple):
    x: float
class Request(t.TypedDict, total=False):
    """A request.

    text (str): What is summarized
    """
    text: t.Required[str]
    words: t.Annotated[int, "How many"]
    tags: list[str] | None
    mode: t.Literal["a", 1]
    at: t.Optional[Point]
    inner: 'Request'
    more: dict[str, t.Any]
    pair: tuple[int, str]
@dataclass
class Answer:
    text: str
    parts: t.Dict[str, int]
    seen: bool = False
class Base(Plugin):
    @offered
    def Count(self, context: dict[str, int]) -> int:
        """Counts.

        Slowly.
        """
class P(Base):
    async def execute(self, context: Request) -> Answer:
        """Summarizes
        a text."""
    def hidden(self, context): ...
    @offered
    def open(self, context: "t.Any"): yield 1
"#;
        let analysis = analyze_source("main.py", code.as_bytes(), &Limits::default());
        assert_eq!(analysis.findings, []);
        let found = tools(&analysis, "main.py", Some("P"), "sum-up");
        let names: Vec<_> = found.iter().map(|tool| (tool.name.as_str(), tool.method.as_str())).collect();
        assert_eq!(names, [("sum-up", "execute"), ("open", "open"), ("count", "Count")]);
        assert_eq!(found[0].description.as_deref(), Some("Summarizes a text."));
        let number = json!({ "type": "object", "properties": { "x": { "type": "number" } }, "required": ["x"] });
        let wanted = json!({
            "type": "object",
            "properties": {
                "text": { "type": "string", "description": "What is summarized" },
                "words": { "type": "integer", "description": "How many" },
                "tags": { "anyOf": [{ "type": "array", "items": { "type": "string" } }, { "type": "null" }] },
                "mode": { "enum": ["a", 1] },
                "at": { "anyOf": [number, { "type": "null" }] },
                "inner": { "type": "object" },
                "more": { "type": "object" },
                "pair": {
                    "type": "array",
                    "prefixItems": [{ "type": "integer" }, { "type": "string" }],
                    "minItems": 2,
                    "maxItems": 2,
                },
            },
            "required": ["text"],
        });
        assert_eq!(found[0].input, wanted);
        let answer = json!({
            "type": "object",
            "properties": {
                "text": { "type": "string" },
                "parts": { "type": "object", "additionalProperties": { "type": "integer" } },
                "seen": { "type": "boolean", "default": false },
            },
            "required": ["text", "parts"],
        });
        assert_eq!(found[0].output, Some(answer));
        assert_eq!((&found[1].input, &found[1].output), (&json!({ "type": "object" }), &None));
        let count = json!({ "type": "object", "additionalProperties": { "type": "integer" } });
        assert_eq!((&found[2].input, &found[2].output), (&count, &None));
        assert_eq!(found[2].description.as_deref(), Some("Counts."));
    }

    #[test]
    fn hostile_hints_stay_small() {
        let mut code = vec!["from typing import TypedDict\n".to_owned()];
        for level in 0..40 {
            let (a, b) = (level + 1, level + 1);
            code.push(format!("class C{level}(TypedDict):\n    a: 'C{a}'\n    b: 'C{b}'\n"));
        }
        code.push("class P:\n    def execute(self, context: C0): ...\n".to_owned());
        let analysis = analyze_source("main.py", code.concat().as_bytes(), &Limits::default());
        let found = tools(&analysis, "main.py", None, "x");
        assert!(found[0].input.to_string().len() < 100_000);
    }
}
