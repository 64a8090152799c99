//! `plugbay schema`: what editors check plugin.yaml and plugbay.yaml with.

use super::Context;
use crate::config::config_schema;
use crate::domain::plugin_schema;

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  plugbay schema plugin > plugin.schema.json\n  \
                        plugbay schema config > plugbay.schema.json\n\n\
                        A first line `# yaml-language-server: $schema=plugin.schema.json` shows it to editors.")]
pub(super) struct SchemaArguments {
    /// The document
    of: Document,
}

/// What there is a schema for.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Document {
    /// plugin.yaml, the manifest of a plugin
    Plugin,
    /// plugbay.yaml, the configuration of a service
    Config,
}

pub(super) fn schema(arguments: &SchemaArguments, context: &Context) {
    let schema = match arguments.of {
        Document::Plugin => plugin_schema(),
        Document::Config => config_schema(),
    };
    context.output.result(&format!("{schema:#}"), &schema);
}
