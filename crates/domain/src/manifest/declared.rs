//! What a manifest says of its code, also where it has mistakes elsewhere: an author sees all of them at once.

use std::path::Path;

use super::{ChatKind, MAX_MANIFEST_BYTES, PythonRequirement, Runtime, is_for_callers, text};
use crate::FieldError;
use crate::yaml::{self, Fields, Limits, Mistakes, Node, Place, Value};

/// The entry point of a plugin.yaml, and what has to be in it.
#[derive(Clone, Debug)]
pub struct DeclaredCode {
    /// The path of the entry point, as the manifest writes it.
    pub path: String,
    /// Whether there is a `build` that may make it.
    pub is_built: bool,
    /// How it is run; nothing where the manifest is wrong about it.
    pub runtime: Option<Runtime>,
    /// The class to load.
    pub class: Option<String>,
    /// Names of hooks, each with the pointer to its place.
    pub hooks: Vec<(String, String)>,
    /// Methods of tools, each with the pointer to its place.
    pub tools: Vec<(String, String)>,
    /// Those of them whose tool has a schema of its result.
    pub with_output: Vec<String>,
    /// Its place in the chat, which asks for methods.
    pub chat: Option<ChatKind>,
    /// Whether there are commands.
    pub has_commands: bool,
    /// Whether there are packages to fetch.
    pub has_dependencies: bool,
    /// The versions of Python it runs on.
    pub python: Option<PythonRequirement>,
    root: Node,
}

impl DeclaredCode {
    /// Finds it in a plugin.yaml whose `main` is a path that is accepted.
    pub fn find(bytes: &[u8]) -> Option<Self> {
        let root = yaml::read(bytes, Limits::bytes(MAX_MANIFEST_BYTES)).ok()?;
        // What is wrong is told by the reader of the whole manifest.
        let mistakes = Mistakes::default();
        let place = Place::root(&root, &mistakes);
        let fields = place.some_fields()?;
        let path = text::entry_point(&line(&fields, "main")?).ok()?;
        let runtime = match fields.get("runtime") {
            Some(place) => place.word(),
            None if Path::new(&path).extension().is_some_and(|suffix| suffix == "py") => Some(Runtime::Python),
            None => Some(Runtime::Exec),
        };
        let (class, is_built) = (line(&fields, "class"), fields.get("build").is_some());
        let has = |key: &str| fields.get(key).is_some_and(|place| is_filled(place.node()));
        let (has_commands, has_dependencies) = (has("commands"), has("dependencies"));
        let (tools, with_output) = tools(&fields);
        let chat = fields.get("chat").and_then(|place| place.some_fields()?.get("kind")?.word());
        let (hooks, python) = (hooks(&fields), fields.get("python").and_then(|place| place.parse()));
        drop(fields);
        drop(place);
        Some(Self {
            path,
            is_built,
            runtime,
            class,
            hooks,
            tools,
            with_output,
            chat,
            has_commands,
            has_dependencies,
            python,
            root,
        })
    }

    /// A mistake about the value that a JSON Pointer leads to, with its place.
    pub fn mistake(&self, pointer: &str, message: impl Into<String>) -> FieldError {
        let mistakes = Mistakes::default();
        let found = Place::root(&self.root, &mistakes).find(pointer);
        Place::blame(found.node().mark, pointer, message)
    }
}

fn line(fields: &Fields<'_>, key: &str) -> Option<String> {
    Some(fields.get(key)?.line()?.to_owned())
}

fn is_filled(node: &Node) -> bool {
    matches!(&node.value, Value::List(items) if !items.is_empty())
}

fn hooks(fields: &Fields<'_>) -> Vec<(String, String)> {
    let Some(place) = fields.get("hooks") else { return Vec::new() };
    let named = |item: &Place<'_>| {
        let name = item.some_fields().map_or_else(|| item.clone(), |_| item.find("/name"));
        Some((name.line()?.to_owned(), name.pointer().to_owned()))
    };
    place.list().iter().filter_map(named).collect()
}

type ToolMethods = (Vec<(String, String)>, Vec<String>);

fn tools(fields: &Fields<'_>) -> ToolMethods {
    let (mut tools, mut with_output) = (Vec::new(), Vec::new());
    for item in fields.get("tools").map(|place| place.list()).unwrap_or_default() {
        let Some(inner) = item.some_fields() else { continue };
        let Some(place) = inner.get("method").or_else(|| inner.get("name")) else { continue };
        let Some(method) = place.line().filter(|method| is_for_callers(method)) else { continue };
        if inner.get("output").is_some() {
            with_output.push(method.to_owned());
        }
        tools.push((method.to_owned(), place.pointer().to_owned()));
    }
    (tools, with_output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_found_beside_mistakes() {
        let text = "name: 7\nmain: a.py\nclass: P\nhooks:\n  - on_message\n  - { name: on_file_upload, priority: HIGH }\ntools: [{ name: a }, { name: b, method: c, output: {} }, 1]\n";
        let declared = DeclaredCode::find(text.as_bytes()).unwrap();
        assert_eq!((declared.runtime, declared.class.as_deref()), (Some(Runtime::Python), Some("P")));
        let hooks: Vec<_> = declared.hooks.iter().map(|(name, at)| (name.as_str(), at.as_str())).collect();
        assert_eq!(hooks, [("on_message", "/hooks/0"), ("on_file_upload", "/hooks/1/name")]);
        let tools: Vec<_> = declared.tools.iter().map(|(name, at)| (name.as_str(), at.as_str())).collect();
        assert_eq!(tools, [("a", "/tools/0/name"), ("c", "/tools/1/method")]);
        assert_eq!(declared.with_output, ["c"]);
        let mistake = declared.mistake("/hooks/1/name", "no");
        assert_eq!((mistake.line, mistake.column), (Some(6), Some(13)));
        assert!(!declared.has_commands && !declared.has_dependencies && !declared.is_built);
        assert!(DeclaredCode::find(b"main: ../x\n").is_none());
        assert!(DeclaredCode::find(b"main: [\n").is_none());
    }
}
