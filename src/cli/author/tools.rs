//! `plugbay tools`: the tools of a Python plugin, with schemas out of its type hints.

use std::path::PathBuf;

use serde_json::json;

use super::archive;
use crate::analyze::{FindingKind, Limits, SourceFile, Tool, analyze_files};
use crate::cli::Context;
use crate::cli::failure::{Failure, Local};
use crate::domain::{Runtime, escape};
use crate::package;

/// What `tools` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: plugbay tools my-plugin\n\nA tool is `execute`, and each method with @plugbay.method. The \
                        schema of its arguments comes from the hint of its parameter: a TypedDict, a dataclass, a \
                        dict. Nothing of the plugin is run."
)]
pub(in crate::cli) struct ToolsArguments {
    /// The plugin's folder
    dir: PathBuf,
}

/// Runs the command.
pub(in crate::cli) fn tools(arguments: &ToolsArguments, context: &Context) -> Result<(), Failure> {
    let folder = &arguments.dir;
    let manifest = archive::read_manifest(folder)?;
    if manifest.runtime != Runtime::Python {
        let detail = format!("the runtime is {}; only Python has type hints that can be read", manifest.runtime);
        return Err(Failure::local(Local::Usage, detail, "write down the tools by hand"));
    }
    let own = |source: &package::Source| source.file.is_some() && !source.path.as_str().starts_with("vendor/");
    let sources = package::sources(folder)?.packed.into_iter().filter(own);
    let files = sources.map(|source| SourceFile { path: source.path.to_string(), from: source.from }).collect();
    let analysis = analyze_files(files, &Limits::default());
    let is_wrong = |kind| matches!(kind, FindingKind::Syntax | FindingKind::Encoding) || FindingKind::is_limit(kind);
    if let Some(finding) = analysis.findings_in(&manifest.main).find(|finding| is_wrong(finding.kind)) {
        let detail = format!("`{}` cannot be read: {}", manifest.main, escape(&finding.message));
        return Err(Failure::local(Local::Failed, detail, format!("plugbay validate {}", folder.display())));
    }
    let found = crate::analyze::tools(&analysis, &manifest.main, manifest.class.as_deref(), manifest.name.as_str());
    if found.is_empty() {
        context.output.message("no tools: the class has neither `execute` nor a method with @plugbay.method");
    }
    context.output.result(&section(&found), &json!({ "tools": found }));
    Ok(())
}

/// The section of plugin.yaml. Values are written as JSON, which is YAML, too.
fn section(tools: &[Tool]) -> String {
    if tools.is_empty() {
        return "tools: []".to_owned();
    }
    let mut lines = vec!["tools:".to_owned()];
    for tool in tools {
        lines.push(format!("  - name: {}", json!(tool.name)));
        lines.extend(tool.description.as_ref().map(|text| format!("    description: {}", json!(text))));
        lines.push(format!("    method: {}", json!(tool.method)));
        lines.push(format!("    input: {}", tool.input));
        lines.extend(tool.output.as_ref().map(|output| format!("    output: {output}")));
    }
    lines.join("\n")
}
