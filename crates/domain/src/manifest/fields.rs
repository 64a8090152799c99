//! The keys of plugin.yaml, each once: what the parser knows, what the schema and the documentation say.

use serde_json::{Value, json};

use super::chat::{ChatHalf, ChatKind, ContentKind, Effect, MAX_HOLD, MAX_WINDOW, Sees};
use super::config;
use super::kind::{FieldType, HookName, OnFailure, PluginType, Priority, Runtime};
use crate::{MAX_MEMBER_MS, MAX_MODEL_BYTES, Permission, Word};

/// One key.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) required: bool,
    pub(super) doc: &'static str,
    /// JSON Schema of the value, without its description.
    pub(super) shape: fn() -> Value,
}

const fn field(name: &'static str, doc: &'static str, shape: fn() -> Value) -> Field {
    Field { name, required: false, doc, shape }
}

const fn required(name: &'static str, doc: &'static str, shape: fn() -> Value) -> Field {
    Field { name, required: true, doc, shape }
}

/// The names of a table, for the parser.
pub(super) fn names(table: &'static [Field]) -> impl Iterator<Item = &'static str> {
    table.iter().map(|field| field.name)
}

fn words<T: Word>() -> Value {
    json!({ "enum": T::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>() })
}

fn some_words<T: Word>() -> Value {
    json!({ "type": "array", "items": words::<T>(), "uniqueItems": true })
}

fn line() -> Value {
    json!({ "type": "string", "minLength": 1, "pattern": r"^[^\n\t]*[^\n\t ][^\n\t]*$" })
}

fn lines() -> Value {
    json!({ "type": "array", "items": line(), "uniqueItems": true })
}

fn address() -> Value {
    json!({ "type": "string", "pattern": r"^https?://\S+$" })
}

fn operator_name() -> Value {
    json!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,62}$" })
}

fn permission_names() -> Value {
    let names: Vec<_> = Permission::DECLARABLE.iter().map(|permission| permission.as_str()).collect();
    json!({ "type": "array", "uniqueItems": true, "items": { "enum": names } })
}

fn at_least(least: u64) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": MOST })
}

/// The largest whole number a field takes: in MiB it still fits 64 bits of bytes. The operator's ceiling is far below.
pub(super) const MOST: u64 = 1 << 40;

/// Most streams of one plugin.
pub(super) const MOST_STREAMS: u64 = 65_536;

/// The most processors that can be asked for, with the same reason.
pub(super) const MOST_CPUS: f64 = 1_000_000.0;

/// Keys that later versions will give a meaning to.
pub(super) const RESERVED: [&str; 3] = ["native", "mcp", "events"];

/// The top level.
pub(super) const ROOT: &[Field] = &[
    required(
        "name",
        "What the plugin is called and addressed by. `_` reads as `-`.",
        || json!({ "type": "string", "maxLength": 63, "pattern": "^[a-z][a-z0-9]*([-_][a-z0-9]+)*$" }),
    ),
    required("version", "The plugin's version, by SemVer.", || {
        let number = "(0|[1-9][0-9]*)";
        json!({ "type": "string", "maxLength": 100, "pattern": format!(r"^{number}\.{number}\.{number}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$") })
    }),
    field("description", "What the plugin does, in a sentence.", || json!({ "type": "string", "minLength": 1 })),
    field("author", "Who wrote it.", line),
    field(
        "email",
        "How to reach the author.",
        || json!({ "type": "string", "pattern": r"^[^@\s]+@[^@\s]+\.[^@\s]+$" }),
    ),
    field("license", "An SPDX expression; a licence of one's own is `LicenseRef-NAME`.", line),
    field("repository", "Where the source is.", address),
    field("homepage", "Where more is told about it.", address),
    field("documentation", "Where it is explained.", address),
    field("tags", "Words to find it by.", lines),
    field("capabilities", "Words for what it can do, for the host application.", lines),
    field("plugbay", "The versions of plugbay it runs on, as a SemVer range such as \">=0.1\".", line),
    field(
        "python",
        "The versions of Python it runs on, such as \">=3.9\".",
        || json!({ "type": "string", "pattern": r"^\s*(>=|<=|==|!=|~=|>|<)[0-9.*,\s<>=!~]+$" }),
    ),
    field("type", "What the plugin is for (default: extension). It is shown and searched by.", words::<PluginType>),
    required(
        "main",
        "The entry point: a file of the archive.",
        || json!({ "type": "string", "minLength": 1, "maxLength": 1026, "pattern": r"^[^/\\\-][^\\]*$" }),
    ),
    field(
        "class",
        "The Python class. Without it, the only class of `main` that has `execute`.",
        || json!({ "type": "string", "maxLength": 255, "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }),
    ),
    field("runtime", "How `main` is run (default: python for a name ending in .py, else exec).", words::<Runtime>),
    field("image", "The name under which the operator offers a container image.", operator_name),
    field("build", "A command that is run before packing, on the author's machine only.", line),
    field("dependencies", "Packages of the Python index; `plugbay pack` puts them into vendor/.", lines),
    field(
        "requires",
        "Other plugins that this one calls, with SemVer ranges. Each is a permission.",
        || json!({ "type": "object", "additionalProperties": line() }),
    ),
    field("permissions", "What the plugin cannot do without; an administrator has to approve it.", permission_names),
    field("optional_permissions", "What the plugin also works without.", permission_names),
    field("network", "Narrows `network_access`; without it every public host is asked for.", || {
        super::schema::object(NETWORK)
    }),
    field("access", "Narrows permissions to resources that the operator has named.", || {
        let names = json!({ "type": "array", "minItems": 1, "uniqueItems": true, "items": operator_name() });
        let members: serde_json::Map<_, _> =
            Permission::NARROWABLE.iter().map(|permission| (permission.as_str().to_owned(), names.clone())).collect();
        json!({ "type": "object", "properties": members, "patternProperties": { "^x-": true }, "additionalProperties": false })
    }),
    field("resources", "What the plugin needs; the operator's defaults stand for what is left out.", || {
        super::schema::object(RESOURCES)
    }),
    field(
        "config_schema",
        "What an operator can set: a field map, or a JSON Schema object (draft 2020-12).",
        super::schema::config,
    ),
    field("chat", "Its place in what is said between people and models.", || super::schema::object(CHAT)),
    field("hooks", "Events of the chat that the plugin wants to see.", || {
        let name = words::<HookName>();
        json!({ "type": "array", "items": { "anyOf": [name, super::schema::object(HOOK)] } })
    }),
    field(
        "commands",
        "Words that people type to call the plugin.",
        || json!({ "type": "array", "items": super::schema::object(COMMAND) }),
    ),
    field("health", "How the plugin is watched.", || super::schema::object(HEALTH)),
    field(
        "tools",
        "What models and other programs are offered; [] for nothing. Without it the plugin itself, with `execute`.",
        || json!({ "type": "array", "maxItems": 128, "items": super::schema::object(TOOL) }),
    ),
];

/// `network`.
pub(super) const NETWORK: &[Field] = &[required(
    "allow",
    "Hosts: `host` or `host:port` for TLS, `http://host:port`, `tcp://host:port`; `*.` is exactly one label.",
    || json!({ "type": "array", "minItems": 1, "uniqueItems": true, "items": { "type": "string", "minLength": 1, "not": { "const": "*" } } }),
)];

/// `resources`.
pub(super) const RESOURCES: &[Field] = &[
    field("memory_mb", "Memory in MiB; above it the plugin is ended.", || at_least(6)),
    field("cpus", "Processors, as a quota.", || json!({ "type": "number", "minimum": 0.01, "maximum": MOST_CPUS })),
    field(
        "cpu_shares",
        "Weight against other plugins when processors are short.",
        || json!({ "type": "integer", "minimum": 2, "maximum": 262_144 }),
    ),
    field("pids", "Processes and threads.", || at_least(1)),
    field("tmp_mb", "/tmp in MiB; it counts as memory.", || at_least(1)),
    field("data_mb", "/data in MiB.", || at_least(1)),
    field("timeout_seconds", "Longest call.", || at_least(1)),
    field("max_concurrency", "Calls in flight.", || at_least(1)),
    field(
        "max_streams",
        "Calls in flight beside them that last as long as there is something to say: answers that a filter is fed with, and \
         those of a backend.",
        || json!({ "type": "integer", "minimum": 1, "maximum": MOST_STREAMS }),
    ),
];

/// One entry of `hooks` that is a map.
pub(super) const HOOK: &[Field] = &[
    required("name", "The event.", words::<HookName>),
    field("priority", "Where the answer stands among those of other plugins (default: NORMAL).", words::<Priority>),
    field("timeout_ms", "Longest time for the answer.", || at_least(1)),
    field("on_failure", "What a failure does (default: ignore, and block with `effect: decide`).", words::<OnFailure>),
    field("effect", "What the answer does (default: observe); more only for messages and `on_request_start`.", || {
        words::<Effect>()
    }),
];

/// `chat`.
pub(super) const CHAT: &[Field] = &[
    required("kind", "What the plugin does with what is said.", words::<ChatKind>),
    field("of", "Which messages a processor gets (default: request).", some_words::<ChatHalf>),
    field("effect", "What the answer of a processor or of middleware does (default: transform).", words::<Effect>),
    field("priority", "Where it stands among others of its kind (default: NORMAL).", words::<Priority>),
    field(
        "timeout_ms",
        "Its own time in milliseconds; without it the member shares the chain's budget.",
        || json!({ "type": "integer", "minimum": 1, "maximum": MAX_MEMBER_MS }),
    ),
    field("on_failure", "What a failure does (default: ignore, and block with `effect: decide`).", words::<OnFailure>),
    field("sees", "How much of an answer it sees at a time (default: complete, and none for middleware).", || {
        words::<Sees>()
    }),
    field("not", "Kinds of content of answers that a guard leaves out.", some_words::<ContentKind>),
    field(
        "max_hold",
        "Characters that a filter of `deltas` may hold back (default: 64).",
        || json!({ "type": "integer", "minimum": 0, "maximum": MAX_HOLD }),
    ),
    field("window", "The pieces of `sees: window` (default: 800 characters, 200 of them from the one before).", || {
        super::schema::object(WINDOW)
    }),
    field(
        "models",
        "Models that a backend answers for, beside those that it lists; `*` stands for any characters.",
        || {
            let pattern =
                json!({ "type": "string", "minLength": 1, "maxLength": MAX_MODEL_BYTES, "pattern": r"^\S+$" });
            json!({ "type": "array", "items": pattern, "uniqueItems": true })
        },
    ),
];

/// `window` of `chat`.
pub(super) const WINDOW: &[Field] = &[
    required(
        "characters",
        "Characters of a piece.",
        || json!({ "type": "integer", "minimum": 1, "maximum": MAX_WINDOW }),
    ),
    field(
        "overlap",
        "How many of them were in the piece before (default: 0).",
        || json!({ "type": "integer", "minimum": 0, "maximum": MAX_WINDOW }),
    ),
];

/// One entry of `commands`.
pub(super) const COMMAND: &[Field] = &[
    required("name", "The word, with its slash.", || json!({ "type": "string", "pattern": "^/[a-z0-9_-]{1,32}$" })),
    field("description", "What it does.", line),
    field("usage", "How it is typed.", line),
];

/// One entry of `tools`.
pub(super) const TOOL: &[Field] = &[
    required(
        "name",
        "Its own name, without the plugin's.",
        || json!({ "type": "string", "pattern": "^[a-z0-9_-]{1,64}$" }),
    ),
    field("description", "What it does; models choose by it.", || json!({ "type": "string", "minLength": 1 })),
    field(
        "method",
        "The method that is called (default: the tool's name).",
        || json!({ "type": "string", "pattern": r"^\S{1,128}$" }),
    ),
    field("input", "JSON Schema (draft 2020-12) of the arguments (default: any object).", super::schema::of_object),
    field("output", "JSON Schema (draft 2020-12) of the result; a result that does not fit is an error.", || {
        super::schema::of_object()
    }),
    field("annotations", "What a call does, as far as the author says.", || super::schema::object(ANNOTATIONS)),
    field("mcp", "Reserved for answers of MCP's own form.", || json!({ "const": "raw" })),
];

/// `annotations` of a tool.
pub(super) const ANNOTATIONS: &[Field] = &[
    field("read_only", "It changes nothing. Read-only tokens may call it.", || json!({ "type": "boolean" })),
    field("destructive", "It may destroy something.", || json!({ "type": "boolean" })),
    field("idempotent", "A second call with the same arguments changes nothing more.", || json!({ "type": "boolean" })),
    field("open_world", "It deals with things outside, such as the web.", || json!({ "type": "boolean" })),
];

/// `health`.
pub(super) const HEALTH: &[Field] = &[field("interval_seconds", "Seconds between two questions.", || at_least(1))];

/// One entry of `config_schema` as a field map.
pub(super) fn config_field() -> Value {
    let text = || json!({ "type": "string" });
    let count = || json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX });
    let secret = json!({
        "anyOf": [
            { "type": "boolean" },
            {
                "type": "object",
                "properties": {
                    config::SECRET_KEYS[0]: { "type": "array", "items": text(), "description": "The only hosts `http.fetch` may send it to." },
                    config::SECRET_KEYS[1]: { "type": "boolean", "description": "false: the plugin itself never sees it." },
                    config::SECRET_KEYS[2]: {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": 64,
                        "pattern": "^[A-Za-z0-9-]+$",
                        "default": "authorization",
                        "description": "The only header that carries it; one for credentials.",
                    },
                },
                "patternProperties": { "^x-": true },
                "additionalProperties": false,
            },
        ],
        "description": "true keeps the value out of answers and logs.",
    });
    let mut properties = serde_json::Map::new();
    for key in config::FIELD_KEYS {
        let shape = match key {
            "type" => words::<FieldType>(),
            "required" => {
                json!({ "type": "boolean", "description": "It must be set before the plugin can be enabled." })
            }
            "secret" => secret.clone(),
            "enum" => json!({ "type": "array", "minItems": 1 }),
            "title" | "description" | "pattern" | "format" => text(),
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => json!({ "type": "number" }),
            "minLength" | "maxLength" | "minItems" | "maxItems" => count(),
            "items" | "properties" => json!({ "type": ["object", "boolean"] }),
            _ => json!(true),
        };
        properties.insert(key.to_owned(), shape);
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": ["type"],
        "patternProperties": { "^x-": true },
        "additionalProperties": false,
    })
}
