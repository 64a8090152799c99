//! `resources`: what plugins can be granted.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;
use serde_json::{Value, json};

use crate::kind::{FieldKind, Kind, ResourceField};
use crate::setting::section;
use crate::values::named;
use plugbay_domain::Operation;

section! {
    /// `resources`, each by the operator's name for it.
    #[derive(Clone, Debug, Default)]
    pub struct ResourcesConfig at "resources" {
        "databases" => databases: BTreeMap<String, DatabaseConfig> {
            kind: Kind::Resources(&[
                ResourceField { name: "url", kind: FieldKind::DatabaseUrl, required: true },
            ]),
            default: json!({}),
            read: |values, path| named(values, path, DatabaseConfig::read),
            doc: "Databases that plugins can be granted, each by a name of yours: `{chat: {url: \"sqlite:///var/lib/chat/chat.db\"}}`. A grant for a name that is not here keeps a plugin from starting: 409 `resource-unknown`.",
        }
        "folders" => folders: BTreeMap<String, FolderConfig> {
            kind: Kind::Resources(&[ResourceField { name: "path", kind: FieldKind::Path, required: true }]),
            default: json!({}),
            read: |values, path| named(values, path, FolderConfig::read),
            doc: "Folders that plugins can be granted: `{docs: {path: /srv/docs}}` appears as `/mnt/docs`. Files keep their owners and modes; plugins read and write as users of their own, counted from `sandbox.uid_base`.",
        }
        "apis" => apis: BTreeMap<String, ApiConfig> {
            kind: Kind::Resources(&[
                ResourceField { name: "base_url", kind: FieldKind::HttpUrl, required: true },
                ResourceField { name: "token", kind: FieldKind::Text, required: false },
                ResourceField { name: "allow", kind: FieldKind::Operations, required: false },
            ]),
            default: json!({}),
            read: |values, path| named(values, path, ApiConfig::read),
            doc: "APIs that plugins can be granted: `{chat: {base_url: \"http://127.0.0.1:9000\", token: \"${CHAT_TOKEN}\", allow: [\"GET /v1/messages/*\"]}}`. Only what `allow` lists is called, with `token`, which no plugin sees. `*` is one segment, `**` at the end one or more, `?*` after it any query.",
        }
    }
}

/// A database of the operator's.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// `sqlite://` and an absolute path.
    pub url: String,
}

/// A folder of the operator's.
#[derive(Clone, Debug)]
pub struct FolderConfig {
    /// Where it is; absolute.
    pub path: PathBuf,
}

/// An API of the operator's.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// What every path is appended to.
    pub base_url: String,
    /// Sent with every request.
    pub token: Option<SecretString>,
    /// Methods with paths that may be called; nothing when empty.
    pub allow: Vec<Operation>,
}

impl DatabaseConfig {
    fn read(fields: &Value) -> Self {
        Self { url: field(fields, "url") }
    }
}

impl FolderConfig {
    fn read(fields: &Value) -> Self {
        Self { path: field(fields, "path").into() }
    }
}

impl ApiConfig {
    fn read(fields: &Value) -> Self {
        let allow = fields["allow"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Self {
            base_url: field(fields, "base_url"),
            token: fields["token"].as_str().map(SecretString::from),
            allow: allow.filter_map(|text| text.parse().ok()).collect(),
        }
    }
}

fn field(fields: &Value, name: &str) -> String {
    fields[name].as_str().unwrap_or_default().to_owned()
}
