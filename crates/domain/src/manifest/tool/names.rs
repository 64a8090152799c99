//! What tools are called by programs and by models.
//!
//! Programs see `<plugin>.<tool>`. Models may only use letters, digits, `_` and `-`, at most 64 of them, so they see
//! `<plugin>__<tool>`. Neither can be read back by its form alone: a table does that.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::Manifest;
use crate::{Digest, PluginName};

/// Longest name towards models.
const MAX_MODEL_NAME: usize = 64;

/// What is left of a longer one, before `_` and digits of its hash.
const CUT: usize = 55;
const DIGITS: usize = MAX_MODEL_NAME - CUT - 1;

/// Name of a tool towards programs: a tool called like its plugin has the plugin's name.
pub fn mcp_name(plugin: &PluginName, tool: &str) -> String {
    if plugin.as_str() == tool { tool.to_owned() } else { format!("{plugin}.{tool}") }
}

/// Name of a tool towards models.
pub fn model_name(plugin: &PluginName, tool: &str) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
    let whole: String = format!("{plugin}__{tool}").chars().map(plain).collect();
    if whole.len() <= MAX_MODEL_NAME {
        return whole;
    }
    let digest = Digest::from_bytes(Sha256::digest(whole.as_bytes()).into()).to_hex();
    format!("{}_{}", &whole[..CUT], &digest[..DIGITS])
}

/// Two tools that models could not tell apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("models would call the tool `{tool}` of `{plugin}` `{name}`, and so they call `{other_tool}` of `{other}`")]
pub struct NameTaken {
    /// The plugin that comes later.
    pub plugin: PluginName,
    /// Its tool.
    pub tool: String,
    /// The name that both have.
    pub name: String,
    /// The plugin that has it.
    pub other: PluginName,
    /// The tool that has it.
    pub other_tool: String,
}

/// Names towards models, each with the plugin and tool that it stands for.
#[derive(Clone, Debug, Default)]
pub struct ToolNames(BTreeMap<String, (PluginName, String)>);

impl ToolNames {
    /// Adds the tools of a plugin; nothing of it is added if one of its names is taken.
    pub fn add(&mut self, manifest: &Manifest) -> Result<(), NameTaken> {
        if let Some((name, (other, other_tool), tool)) = self.shared(manifest) {
            let (other, other_tool, plugin) = (other.clone(), other_tool.clone(), manifest.name.clone());
            return Err(NameTaken { plugin, tool, name, other, other_tool });
        }
        self.0.extend(named(manifest).into_iter().map(|(name, tool)| (name, (manifest.name.clone(), tool))));
        Ok(())
    }

    /// A name here that the tools of another plugin have, too; that one had it before.
    pub fn conflict(&self, other: &Manifest) -> Option<NameTaken> {
        let (name, (plugin, tool), other_tool) = self.shared(other)?;
        let (plugin, tool, other) = (plugin.clone(), tool.clone(), other.name.clone());
        Some(NameTaken { plugin, tool, name, other, other_tool })
    }

    fn shared(&self, manifest: &Manifest) -> Option<(String, &(PluginName, String), String)> {
        named(manifest).into_iter().find_map(|(name, tool)| {
            let known = self.0.get(&name)?;
            Some((name, known, tool))
        })
    }

    /// The plugin and the tool that a model means.
    pub fn find(&self, name: &str) -> Option<(&PluginName, &str)> {
        self.0.get(name).map(|(plugin, tool)| (plugin, tool.as_str()))
    }
}

fn named(manifest: &Manifest) -> Vec<(String, String)> {
    let tools = manifest.tools();
    tools.offered(None).iter().map(|tool| (model_name(&manifest.name, &tool.name), tool.name.clone())).collect()
}
