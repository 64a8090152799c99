//! Reads `tools:`.

use serde_json::{Value, json};

use super::{Annotations, Tool, ToolSchema, is_for_callers, model_name};
use crate::manifest::config::{self, DRAFT};
use crate::manifest::fields::{self, ANNOTATIONS, TOOL};
use crate::manifest::{Origin, config::Weight};
use crate::yaml::{Fields, Place};
use crate::{PluginName, escape};

/// Tools of one plugin.
const MAX_TOOLS: usize = 128;

/// Longest name.
const MAX_NAME: usize = 64;

/// Longest name of a method.
const MAX_METHOD: usize = 128;

/// Values and patterns in all schemas of a plugin together: a pattern may take a megabyte when it is compiled.
const MAX_WEIGHT: u64 = 20_000;
const MAX_PATTERNS: usize = 32;

/// Reads the list; `None` where there is none. Without the plugin's name it cannot be told which names collide.
pub(in crate::manifest) fn read(fields: &Fields<'_>, plugin: Option<&PluginName>, origin: Origin) -> Option<Vec<Tool>> {
    let place = fields.get("tools")?;
    let mut tools: Vec<Tool> = Vec::new();
    let mut weight = Weight::default();
    let places = place.list();
    if places.len() > MAX_TOOLS {
        place.fail(format!("there are {} tools; at most {MAX_TOOLS} are accepted", places.len()));
        return Some(tools);
    }
    for place in places {
        let Some(tool) = read_tool(&place, &mut weight, origin) else { continue };
        if let Some(plugin) = plugin.filter(|_| origin == Origin::Package) {
            refuse_double(&place, plugin, &tool, &tools);
        }
        tools.push(tool);
    }
    if weight.values > MAX_WEIGHT {
        place.fail(format!("the schemas have more than {MAX_WEIGHT} values once every `$ref` is written out"));
    }
    if weight.patterns > MAX_PATTERNS {
        place.fail(format!("the schemas have {} patterns; at most {MAX_PATTERNS} are accepted", weight.patterns));
    } else if origin == Origin::Package && weight.values <= MAX_WEIGHT {
        compile(&place, &tools);
    }
    Some(tools)
}

fn read_tool(place: &Place<'_>, weight: &mut Weight, origin: Origin) -> Option<Tool> {
    let fields = place.fields(fields::names(TOOL))?;
    let name = fields.required("name").and_then(|place| read_name(&place));
    let method = match fields.get("method") {
        Some(place) => read_method(&place),
        None => name.clone().filter(|name| {
            let is_offered = is_for_callers(name);
            if !is_offered {
                place.fail(format!("`{name}` is not a method for callers; say which one by `method`"));
            }
            is_offered
        }),
    };
    if let Some(place) = fields.get("mcp") {
        place.fail(
            "answers of MCP's own form are not built yet; leave `mcp` out, and the result is what the method returns",
        );
    }
    let description = fields.get("description").and_then(|place| place.text().map(ToOwned::to_owned));
    let mut schema = |key: &str| fields.get(key).map(|place| read_schema(&place, weight, origin));
    let (input, output) = (schema("input"), schema("output"));
    let annotations = fields.get("annotations").and_then(|place| read_annotations(&place)).unwrap_or_default();
    Some(Tool {
        name: name?,
        description,
        method: method?,
        input: input.unwrap_or_else(|| Some(ToolSchema::of(json!({ "type": "object" }))))?,
        output: match output {
            Some(output) => Some(output?),
            None => None,
        },
        annotations,
    })
}

fn read_name(place: &Place<'_>) -> Option<String> {
    let text = place.line()?;
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if text.len() > MAX_NAME || !text.bytes().all(is_word) {
        let shown = escape(text);
        place.fail(format!("`{shown}` is not the name of a tool; expected 1 to {MAX_NAME} of a-z, 0-9, `-` and `_`"));
        return None;
    }
    Some(text.to_owned())
}

fn read_method(place: &Place<'_>) -> Option<String> {
    let text = place.line()?;
    let shown = escape(text);
    if text.len() > MAX_METHOD || text.chars().any(|found| found.is_whitespace() || found.is_control()) {
        place
            .fail(format!("`{shown}` is not the name of a method; expected at most {MAX_METHOD} bytes without spaces"));
        return None;
    }
    if !is_for_callers(text) {
        place.fail(format!("`{shown}` is not a method for callers"));
        return None;
    }
    Some(text.to_owned())
}

fn read_annotations(place: &Place<'_>) -> Option<Annotations> {
    let fields = place.fields(fields::names(ANNOTATIONS))?;
    let flag = |key: &str| fields.get(key).and_then(|place| place.boolean());
    let annotations = Annotations {
        read_only: flag("read_only"),
        destructive: flag("destructive"),
        idempotent: flag("idempotent"),
        open_world: flag("open_world"),
    };
    if annotations.read_only == Some(true) && annotations.destructive == Some(true) {
        place.fail_key(
            "destructive",
            "what changes nothing destroys nothing; keep one of `read_only` and `destructive`",
        );
    }
    Some(annotations)
}

/// Each name, each method and each name towards models once.
fn refuse_double(place: &Place<'_>, plugin: &PluginName, tool: &Tool, others: &[Tool]) {
    if others.iter().any(|other| other.name == tool.name) {
        return place.find("/name").fail(format!("the tool `{}` stands in the list twice", tool.name));
    }
    let own = model_name(plugin, &tool.name);
    if let Some(other) = others.iter().find(|other| model_name(plugin, &other.name) == own) {
        let message = format!("models would call it `{own}`, as they call `{}`; rename one of them", other.name);
        return place.find("/name").fail(message);
    }
    if let Some(other) = others.iter().find(|other| other.method == tool.method) {
        let message = format!(
            "the method `{}` is the tool `{}` already; a call of it must mean one of them",
            escape(&tool.method),
            other.name
        );
        place.find("/method").fail(message);
    }
}

/// Keywords that look again at what a schema left over, so that work grows with every level.
const LEFT_OVER: [&str; 2] = ["unevaluatedProperties", "unevaluatedItems"];

fn read_schema(place: &Place<'_>, weight: &mut Weight, origin: Origin) -> Option<ToolSchema> {
    if place.map().is_empty() && !matches!(place.node().value, crate::yaml::Value::Map(_)) {
        return None;
    }
    let schema = place.json()?;
    if origin == Origin::Accepted {
        return Some(ToolSchema::of(schema));
    }
    let mut is_fit = true;
    let mut fail = |place: Place<'_>, message: String| {
        place.fail(message);
        is_fit = false;
    };
    if schema.get("$schema").is_some_and(|dialect| dialect != DRAFT) {
        fail(place.find("/$schema"), format!("only `{DRAFT}` is read"));
    }
    if schema.get("type") != Some(&json!("object")) {
        fail(place.find("/type"), "arguments and results of tools are objects: `type` must be `object`".to_owned());
    }
    if let Some(pointer) = find_left_over(&schema) {
        fail(
            place.find(&pointer),
            "`unevaluated…` is not accepted here; use `additionalProperties` or `items`".to_owned(),
        );
    }
    match config::weigh(&schema) {
        Ok(found) => {
            weight.values = weight.values.saturating_add(found.values);
            weight.patterns = weight.patterns.saturating_add(found.patterns);
        }
        Err(why) => fail(place.clone(), why),
    }
    for error in jsonschema::draft202012::meta::validator().iter_errors(&schema) {
        fail(place.find(error.instance_path().as_str()), escape(&error.to_string()));
    }
    is_fit.then(|| ToolSchema::of(schema))
}

/// Where a schema says what of a value may be left over.
fn find_left_over(schema: &Value) -> Option<String> {
    match schema {
        Value::Object(members) => members.iter().find_map(|(key, member)| {
            let below = format!("/{}", crate::yaml::pointer_token(key));
            if LEFT_OVER.contains(&key.as_str()) {
                return Some(below);
            }
            find_left_over(member).map(|pointer| below + &pointer)
        }),
        Value::Array(items) => {
            let mut numbered = items.iter().enumerate();
            numbered.find_map(|(index, item)| Some(format!("/{index}{}", find_left_over(item)?)))
        }
        _ => None,
    }
}

/// A schema that cannot be compiled would refuse every call.
fn compile(place: &Place<'_>, tools: &[Tool]) {
    for (index, tool) in tools.iter().enumerate() {
        for (key, schema) in [("input", Some(&tool.input)), ("output", tool.output.as_ref())] {
            if let Some(Err(why)) = schema.map(ToolSchema::compiled) {
                place.find(&format!("/{index}/{key}")).fail(why);
            }
        }
    }
}
