//! The templates, as they were when the program was built.

use rust_embed::RustEmbed;

use crate::domain::plugin_schema;

/// The name a template uses wherever the plugin's own belongs.
const PLACEHOLDER: &str = "my-plugin";

/// What editors check plugin.yaml with: its first line names it.
const SCHEMA: &str = ".plugbay/plugin.schema.json";

#[derive(RustEmbed)]
#[folder = "plugin-template"]
struct Files;

/// One template: a folder of files.
pub(super) struct Template {
    pub(super) name: String,
}

impl Template {
    /// Every template there is.
    pub(super) fn list() -> Vec<Self> {
        let mut names: Vec<String> =
            Files::iter().filter_map(|path| Some(path.split_once('/')?.0.to_owned())).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| Self { name }).collect()
    }

    /// The files of this template with `name` in place of the placeholder, sorted by path.
    pub(super) fn files(&self, name: &str) -> Vec<(String, Vec<u8>)> {
        let prefix = format!("{}/", self.name);
        let mut files: Vec<(String, Vec<u8>)> = Files::iter()
            .filter(|path| !path.contains("__pycache__"))
            .filter_map(|path| {
                let content = Files::get(&path)?.data.into_owned();
                Some((path.strip_prefix(&prefix)?.replace(PLACEHOLDER, name), filled(content, name)))
            })
            .collect();
        let schema = format!("{:#}\n", plugin_schema());
        files.push((SCHEMA.to_owned(), schema.into_bytes()));
        files.sort_unstable();
        files
    }

    /// What the template is for: the description in its manifest.
    pub(super) fn description(&self) -> String {
        let manifest = Files::get(&format!("{}/plugin.yaml", self.name));
        let manifest = manifest.and_then(|file| crate::domain::Manifest::parse(&file.data).ok());
        manifest.and_then(|manifest| manifest.description).unwrap_or_default()
    }
}

/// Text with the name filled in; what is no text stays as it is.
fn filled(content: Vec<u8>, name: &str) -> Vec<u8> {
    match String::from_utf8(content) {
        Ok(text) => text.replace(PLACEHOLDER, name).into_bytes(),
        Err(binary) => binary.into_bytes(),
    }
}
