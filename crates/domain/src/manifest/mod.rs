//! plugin.yaml: what a plugin is, what it asks for, and how it is run.
//!
//! [`Manifest::parse`] is the only way to get one; it reports every mistake at once, each with line and column. A manifest
//! says what the author wants. What is granted is decided elsewhere.

mod ask;
mod chat;
mod config;
mod declared;
mod error;
mod fields;
mod growth;
mod kind;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod text;
mod tool;
mod vendor;

use std::collections::BTreeMap;

use semver::{Version, VersionReq};
use serde::Serialize;

pub use ask::Requested;
pub use chat::{ChatHalf, ChatKind, ChatRole, ContentKind, DEFAULT_HOLD, Effect, MAX_MEMBER_MS, Sees, Window};
pub use config::{ConfigFindings, ConfigSchema, Secret, SecretPolicies};
pub use declared::DeclaredCode;
pub use error::ManifestError;
pub use growth::Growth;
pub use kind::{Command, FieldType, Health, Hook, HookName, OnFailure, PluginType, Priority, Runtime};
pub use schema::plugin_schema;
pub use text::PythonRequirement;
pub use text::operator_name;
pub use tool::{
    Annotations, MAX_TOOL_MISTAKES, NameTaken, Tool, ToolNames, ToolPattern, ToolPatternError, ToolSchema, Tools,
    chat_method, is_for_callers, is_of_chat, mcp_name, model_name,
};
pub use vendor::{VendorLock, VendoredPackage};

use super::{NetworkRule, Permission, PluginName, ResourceRequest};

/// Bytes of a plugin.yaml. Stops a manifest from costing more than the archive it describes.
pub const MAX_MANIFEST_BYTES: usize = 64 * 1024;

/// One valid plugin.yaml. Serialised with the keys of plugin.yaml and the defaults written out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Manifest {
    /// What the plugin is addressed by.
    pub name: PluginName,
    /// Its version.
    pub version: Version,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// How to reach the author.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// An SPDX expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Where the source is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Where more is told about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// Where it is explained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Words for what it can do.
    pub capabilities: Vec<String>,
    /// The versions of plugbay it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugbay: Option<VersionReq>,
    /// The versions of Python it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<PythonRequirement>,
    /// What it is for.
    #[serde(rename = "type")]
    pub kind: PluginType,
    /// The entry point, as the archive names it.
    pub main: String,
    /// The Python class to load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// How the entry point is run.
    pub runtime: Runtime,
    /// The operator's name for an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What the author runs before packing. The service never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// Packages of the language.
    pub dependencies: Vec<String>,
    /// Other plugins it calls.
    pub requires: BTreeMap<PluginName, VersionReq>,
    /// What it cannot do without.
    pub permissions: Vec<Permission>,
    /// What it also works without.
    pub optional_permissions: Vec<Permission>,
    /// Where it connects to; empty with `network_access` means every public host.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_allow_list")]
    pub network: Vec<NetworkRule>,
    /// Permissions narrowed to resources of the operator.
    pub access: BTreeMap<Permission, Vec<String>>,
    /// Limits it asks for.
    pub resources: ResourceRequest,
    /// What an operator can set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<ConfigSchema>,
    /// Its place in what is said between people and models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatRole>,
    /// Chat events it wants to see.
    pub hooks: Vec<Hook>,
    /// Words that people type to call it.
    pub commands: Vec<Command>,
    /// How it is watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What it offers to models and other programs, where it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<Tool>>,
}

/// Where a manifest comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Out of a package. Nothing in it has been believed yet.
    Package,
    /// From the database. It was accepted when it came in.
    Accepted,
}

impl Manifest {
    /// Reads a plugin.yaml of at most [`MAX_MANIFEST_BYTES`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        read::manifest(bytes, Origin::Package)
    }

    /// Reads one that [`Manifest::parse`] has accepted. Its schema, which can take a while to check, is not checked again.
    pub fn parse_accepted(bytes: &[u8]) -> Result<Self, ManifestError> {
        read::manifest(bytes, Origin::Accepted)
    }

    /// What this manifest asks for beyond `older`.
    pub fn growth(&self, older: &Self) -> Growth {
        Growth::between(older, self)
    }

    /// Tells whether the archive must hold the dependencies in `vendor/`.
    pub fn needs_vendor(&self) -> bool {
        self.runtime == Runtime::Python && !self.dependencies.is_empty()
    }

    /// What is not wrong and still deserves a word to the author.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let missing = [
            ("description", self.description.is_none()),
            ("author", self.author.is_none()),
            ("license", self.license.is_none()),
        ];
        for (key, _) in missing.into_iter().filter(|(_, is_missing)| *is_missing) {
            warnings.push(format!("plugin.yaml has no `{key}`"));
        }
        if self.class.is_some() && self.runtime != Runtime::Python {
            warnings.push(format!("`class` is ignored: the runtime is {}", self.runtime));
        }
        if !self.dependencies.is_empty() && self.runtime != Runtime::Python {
            warnings.push(format!("`dependencies` are ignored: the runtime is {}", self.runtime));
        }
        for rule in &self.network {
            if let Some(why) = rule.names_nobody() {
                warnings.push(format!("`{rule}` under `network.allow` {why}"));
            }
        }
        for tool in self.tools.iter().flatten().filter(|tool| tool.description.is_none()) {
            warnings.push(format!("the tool `{}` has no `description`; models choose by it", tool.name));
        }
        if self.listens() && !self.declares(Permission::ChatAccess) {
            warnings.push("hooks and commands are never called without the permission `chat_access`".to_owned());
        }
        warnings
    }

    /// The tools of the plugin: those that it declares, else the plugin itself, with `execute` and any object.
    pub fn tools(&self) -> Tools {
        Tools::of(self)
    }

    /// Methods of tools that plugin.yaml names.
    pub fn tool_methods(&self) -> impl Iterator<Item = &str> {
        self.tools.iter().flatten().map(|tool| tool.method.as_str())
    }

    /// Whether it listens to the chat, so that it may have no `execute`.
    pub fn listens(&self) -> bool {
        self.chat.is_some() || !self.hooks.is_empty() || !self.commands.is_empty()
    }

    /// Tells whether the manifest lists the permission, required or optional.
    pub fn declares(&self, permission: Permission) -> bool {
        self.permissions.contains(&permission) || self.optional_permissions.contains(&permission)
    }
}

fn as_allow_list<S: serde::Serializer>(rules: &[NetworkRule], serializer: S) -> Result<S::Ok, S::Error> {
    BTreeMap::from([("allow", rules)]).serialize(serializer)
}

/// What fuzzing runs: no input may make the parser panic, and what it accepts must hold together.
#[doc(hidden)]
pub fn fuzz_manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::parse(bytes) else { return };
    assert!(bytes.len() <= MAX_MANIFEST_BYTES, "an accepted manifest is within its limit");
    let name = manifest.name.as_str();
    assert_eq!(name.parse::<PluginName>().as_ref(), Ok(&manifest.name), "names are canonical");
    let is_below =
        !manifest.main.starts_with('/') && manifest.main.split('/').all(|part| !matches!(part, "" | "." | ".."));
    assert!(is_below, "the entry point stays below the package");
    for rule in &manifest.network {
        assert_eq!(rule.to_string().parse::<NetworkRule>().as_ref(), Ok(rule), "rules have one form");
    }
    assert!(manifest.network.is_empty() || manifest.declares(Permission::NetworkAccess), "hosts need the permission");
    assert!(!manifest.growth(&manifest).asks_more(), "nothing asks for more than itself");
    let mut names = ToolNames::default();
    assert!(names.add(&manifest).is_ok(), "models can tell its tools apart");
    for tool in manifest.tools().offered(None) {
        assert!(model_name(&manifest.name, &tool.name).len() <= 64, "models take every name");
        assert!(is_for_callers(&tool.method), "callers can call it");
    }
    assert!(serde_json::to_value(&manifest).is_ok_and(|json| json.is_object()), "every manifest can be shown");
}

/// Longest that anything of a package may be looked at, with room for slow machines and builds without optimisation.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// What fuzzing runs over schemas: `bytes` are a `config_schema` as JSON, a line break, and a configuration as JSON.
///
/// # Panics
/// If a check takes longer than the steps that it may take.
#[doc(hidden)]
pub fn fuzz_config(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n').map(String::from_utf8_lossy);
    let (schema, config) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let manifest = format!("name: fuzz\nversion: 1.0.0\nmain: main.py\nconfig_schema: {schema}\n");
    let began = std::time::Instant::now();
    if let Ok(manifest) = Manifest::parse(manifest.as_bytes()) {
        let brought = manifest.read_config(config.as_bytes());
        if let (Some(schema), Ok(values)) = (&manifest.config_schema, serde_json::from_str(&config)) {
            let findings = schema.check(&values);
            assert!(brought.is_err() || findings.invalid.is_empty(), "one schema says the same twice");
        }
    }
    assert!(began.elapsed() < PATIENCE, "a schema takes {:?}", began.elapsed());
}
