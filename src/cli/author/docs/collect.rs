//! What a plugin's documentation says, out of its manifest and of its code, which is read and never run.

use super::page::{Block, Inline, Page, code, paragraphs, text};
use super::{reasons, schema};
use crate::analyze::{self, Analysis, Function, ParameterKind, Tool};
use crate::domain::{ConfigSchema, HookName, Manifest, Priority, Runtime, mcp_name};

/// What is read.
pub(super) struct Source<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) analysis: &'a Analysis,
}

impl Source<'_> {
    /// Every page that has something to say.
    pub(super) fn pages(&self) -> Vec<Page> {
        let pages = [
            ("methods", "Methods", self.methods()),
            ("tools", "Tools", self.tools()),
            ("chat", "Hooks and commands", self.chat()),
            ("configuration", "Configuration", self.configuration()),
            ("permissions", "Permissions", reasons::permissions(self)),
        ];
        let filled = pages.into_iter().filter(|(_, _, blocks)| !blocks.is_empty());
        filled.map(|(name, title, blocks)| Page { name, title: title.to_owned(), blocks }).collect()
    }

    /// The section of the README: one line for each page.
    pub(super) fn summary(&self, pages: &[Page]) -> Vec<Block> {
        let line = |page: &Page| {
            let names = match page.name {
                "methods" => self.offered().iter().map(|method| method.name.clone()).collect(),
                "tools" => self.named_tools(),
                "chat" => {
                    let hooks = self.manifest.hooks.iter().map(|hook| hook.name.as_str().to_owned());
                    hooks.chain(self.manifest.commands.iter().map(|command| command.name.clone())).collect()
                }
                "configuration" => {
                    let schema = self.manifest.config_schema.as_ref();
                    schema.into_iter().flat_map(ConfigSchema::names).map(ToOwned::to_owned).collect()
                }
                _ => self.manifest.requested().required.iter().map(|asked| asked.permission.to_string()).collect(),
            };
            let names: Vec<String> = names;
            let mut parts = vec![Inline::Link(page.title.clone(), page.name)];
            for (place, name) in names.iter().enumerate() {
                parts.push(Inline::Text(if place == 0 { ": " } else { ", " }.to_owned()));
                parts.push(code(name));
            }
            parts
        };
        let mut blocks = vec![Block::Heading(vec![text("Reference")])];
        if pages.is_empty() {
            blocks.push(Block::Paragraph(vec![text("It offers nothing and asks for nothing.")]));
        } else {
            blocks.push(Block::List(pages.iter().map(line).collect()));
        }
        blocks
    }

    fn class(&self) -> Option<&str> {
        self.manifest.class.as_deref()
    }

    fn offered(&self) -> Vec<&Function> {
        analyze::offered(self.analysis, &self.manifest.main, self.class())
    }

    fn methods(&self) -> Vec<Block> {
        let Manifest { main, name, .. } = self.manifest;
        let schemas = analyze::tools(self.analysis, main, self.class(), name.as_str());
        let mut blocks = Vec::new();
        for method in self.offered() {
            blocks.push(Block::Heading(vec![code(&method.name)]));
            blocks.push(Block::Code("python", signature(method)));
            blocks.extend(method.docstring.iter().flat_map(|docstring| paragraphs(docstring)));
            if method.is_generator {
                blocks.push(Block::Paragraph(vec![text("It answers in parts, as a stream.")]));
            }
            let of = |tool: &&Tool| tool.method == method.name;
            let Some(found) = schemas.iter().find(of) else { continue };
            blocks.extend(schema::properties(&found.input, "Argument"));
            blocks.extend(found.output.as_ref().and_then(|output| schema::properties(output, "Result")));
        }
        blocks
    }

    fn named_tools(&self) -> Vec<String> {
        let methods = self.known_methods();
        let tools = self.manifest.tools();
        tools.offered(methods.as_deref()).iter().map(|tool| mcp_name(&self.manifest.name, &tool.name)).collect()
    }

    /// Methods of the plugin, where its code tells them.
    fn known_methods(&self) -> Option<Vec<String>> {
        let offered: Vec<String> = self.offered().iter().map(|method| method.name.clone()).collect();
        let is_known = self.manifest.runtime == Runtime::Python && (self.manifest.listens() || !offered.is_empty());
        is_known.then_some(offered)
    }

    fn tools(&self) -> Vec<Block> {
        let (methods, tools) = (self.known_methods(), self.manifest.tools());
        let mut blocks = Vec::new();
        for tool in tools.offered(methods.as_deref()) {
            blocks.push(Block::Heading(vec![code(mcp_name(&self.manifest.name, &tool.name))]));
            blocks.extend(tool.description.iter().flat_map(|description| paragraphs(description)));
            let called = Inline::Text("It calls the method ".to_owned());
            blocks.push(Block::Paragraph(vec![called, code(&tool.method), text(".")]));
            blocks.extend(schema::properties(tool.input.as_json(), "Argument"));
            blocks.extend(tool.output.as_ref().and_then(|output| schema::properties(output.as_json(), "Result")));
            let said = [
                (tool.annotations.read_only, "It changes nothing.", "It changes something."),
                (tool.annotations.destructive, "It may destroy something.", "It destroys nothing."),
                (
                    tool.annotations.idempotent,
                    "A second call with the same arguments changes nothing more.",
                    "Each call changes something more.",
                ),
                (tool.annotations.open_world, "It deals with things outside.", "It deals with nothing outside."),
            ];
            let said: Vec<&str> =
                said.into_iter().filter_map(|(flag, yes, no)| flag.map(|flag| if flag { yes } else { no })).collect();
            if !said.is_empty() {
                blocks.push(Block::Paragraph(vec![text(said.join(" "))]));
            }
        }
        blocks
    }

    fn chat(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        for hook in &self.manifest.hooks {
            blocks.push(Block::Heading(vec![code(hook.name.as_str())]));
            let mut told = vec![when(hook.name).to_owned()];
            if hook.priority != Priority::Normal {
                told.push(format!("Its priority is {}.", hook.priority.as_str()));
            }
            told.extend(hook.timeout_ms.map(|timeout| format!("It answers within {timeout} ms.")));
            told.push(format!("On a failure: {}.", hook.on_failure.as_str()));
            blocks.push(Block::Paragraph(vec![text(told.join(" "))]));
            let handler = analyze::handler(self.analysis, &self.manifest.main, self.class(), hook.name.as_str());
            blocks.extend(handler.and_then(|found| found.docstring.as_deref()).into_iter().flat_map(paragraphs));
        }
        if !self.manifest.commands.is_empty() {
            let row = |command: &crate::domain::Command| {
                let usage = command.usage.as_ref().map(|usage| vec![code(usage)]).unwrap_or_default();
                let description = command.description.as_ref().map(|described| vec![text(described)]);
                vec![vec![code(&command.name)], usage, description.unwrap_or_default()]
            };
            let rows = self.manifest.commands.iter().map(row).collect();
            blocks.push(Block::Table(vec!["Command", "Usage", "Meaning"], rows));
        }
        blocks
    }

    fn configuration(&self) -> Vec<Block> {
        let schema = self.manifest.config_schema.as_ref();
        let Some(table) = schema.and_then(|found| schema::properties(found.to_json_schema(), "Field")) else {
            return Vec::new();
        };
        let set = format!("plugbay config set {} FIELD=VALUE", self.manifest.name);
        vec![table, Block::Code("sh", set)]
    }
}

/// A method as a caller may read it.
fn signature(method: &Function) -> String {
    let parameters = method.parameters.iter().skip(1).map(|parameter| {
        let stars = match parameter.kind {
            ParameterKind::Positional | ParameterKind::Any | ParameterKind::Keyword => "",
            ParameterKind::Rest => "*",
            ParameterKind::Keywords => "**",
        };
        let hint = parameter.hint.as_ref().map(|hint| format!(": {hint}")).unwrap_or_default();
        format!("{stars}{}{hint}", parameter.name)
    });
    let parameters = parameters.collect::<Vec<_>>().join(", ");
    let returns = method.returns.as_ref().map(|hint| format!(" -> {hint}")).unwrap_or_default();
    let line = format!("{}({parameters}){returns}", method.name);
    crate::domain::printable(&line).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// When a hook is called.
fn when(hook: HookName) -> &'static str {
    match hook {
        HookName::OnMessage => "Called for each message of the chat.",
        HookName::OnFileUpload => "Called for each file of the chat.",
        HookName::OnCommand => "Called for each of its commands.",
        HookName::OnStartup => "Called when its session has begun.",
        HookName::OnShutdown => "Called before its session ends.",
        HookName::OnPluginLoad => "Called when another plugin became active.",
        HookName::OnPluginUnload => "Called when another plugin stopped.",
        HookName::OnRequestStart => "Called when an exchange begins.",
        HookName::OnRequestComplete => "Called when an exchange was answered.",
        HookName::OnRequestError => "Called when an exchange ended without an answer.",
        HookName::OnBeforeMessage => "Called with the messages of a request before processors see them.",
        HookName::OnStreamChunk => "Called for each part of an answer.",
        HookName::OnAfterMessage => "Called with the answer after processors have seen it.",
        HookName::OnBeforeModelLoad => "Called before another model is asked.",
        HookName::OnAfterModelLoad => "Called after the first answer of a model.",
        HookName::OnModelSwitch => "Called when another backend or model is asked than before.",
        HookName::OnRetry => "Called before a backend is asked again.",
        HookName::OnError => "Called when something was raised in a plugin.",
    }
}
