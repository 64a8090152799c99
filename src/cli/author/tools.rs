//! `plugbay tools`: the tools of a Python plugin, with schemas out of its type hints.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::archive;
use crate::analyze::{Analysis, FindingKind, Limits, SourceFile, Tool, analyze_files};
use crate::cli::Context;
use crate::cli::failure::{Failure, Local};
use crate::domain::{Annotations, Manifest, Runtime, escape};
use crate::package;

/// What `tools` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: plugbay tools my-plugin --write\n\nA tool is `execute`, and each \
                  method with @plugbay.method. The schema of its arguments comes from the hint of its parameter: a \
                  TypedDict, a dataclass, a dict. Nothing of the plugin is run. Tools of a service: plugbay list --tools")]
pub(in crate::cli) struct ToolsArguments {
    /// The plugin's folder
    dir: PathBuf,
    /// Write the section into plugin.yaml; the rest of the file stays as it is
    #[arg(long)]
    write: bool,
}

/// Runs the command.
pub(in crate::cli) fn tools(arguments: &ToolsArguments, context: &Context) -> Result<(), Failure> {
    let folder = &arguments.dir;
    let manifest = archive::read_manifest(folder)?;
    if manifest.runtime != Runtime::Python {
        let detail = format!("the runtime is {}; only Python has type hints that can be read", manifest.runtime);
        return Err(Failure::local(Local::Usage, detail, "write down the tools by hand"));
    }
    let analysis = read_own_code(folder, &manifest)?;
    let found = crate::analyze::tools(&analysis, &manifest.main, manifest.class.as_deref(), manifest.name.as_str());
    if found.is_empty() {
        context.output.message("no tools: the class has neither `execute` nor a method with @plugbay.method");
    }
    let found = with_annotations(found, &manifest);
    let section = section(&found);
    if arguments.write {
        write(folder, &manifest, &section)?;
        let count = found.len();
        context
            .output
            .message(&format!("wrote {count} {} into plugin.yaml", if count == 1 { "tool" } else { "tools" }));
    }
    context.output.result(&section, &json!({ "tools": found }));
    Ok(())
}

/// A tool as it is written: what the code tells, and what its author has said of it before.
#[derive(Debug, Serialize)]
struct Written {
    #[serde(flatten)]
    tool: Tool,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations>,
}

/// Annotations and descriptions of plugin.yaml stay where the code does not tell them.
fn with_annotations(tools: Vec<Tool>, manifest: &Manifest) -> Vec<Written> {
    let known = |method: &str| manifest.tools.iter().flatten().find(|tool| tool.method == method);
    let written = |mut tool: Tool| {
        let known = known(&tool.method);
        if let Some(known) = known {
            tool.name.clone_from(&known.name);
            tool.description = tool.description.or_else(|| known.description.clone());
        }
        let annotations = known.map(|known| known.annotations).filter(|found| *found != Annotations::default());
        Written { tool, annotations }
    };
    tools.into_iter().map(written).collect()
}

/// Puts the section where the old one stands, or at the end.
fn write(folder: &Path, old: &Manifest, section: &str) -> Result<(), Failure> {
    let path = folder.join("plugin.yaml");
    let bytes = std::fs::read(&path).map_err(|error| Failure::read(&path, &error))?;
    let text = String::from_utf8_lossy(&bytes);
    let text = replaced(&text, section);
    let new = Manifest::parse(text.as_bytes()).map_err(|error| {
        let detail = format!("with the section plugin.yaml would not be valid: {error}; nothing was written");
        Failure::local(Local::Failed, detail, "make the hint simpler or the name shorter, or write the section by hand")
    })?;
    let without = |manifest: &Manifest| Manifest { tools: None, ..manifest.clone() };
    if without(&new) != without(old) {
        let detail = "the section `tools` could not be told from what stands around it; nothing was written";
        return Err(Failure::local(Local::Failed, detail, "put the printed section into plugin.yaml by hand"));
    }
    std::fs::write(&path, text).map_err(|error| Failure::io(format_args!("write `{}`", path.display()), &error))
}

/// The text with this section instead of the old one. Line ends are those of the text.
fn replaced(text: &str, section: &str) -> String {
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let section = section.replace('\n', end) + end;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let Some(first) = lines.iter().position(|line| line.starts_with("tools:")) else {
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { end };
        return format!("{text}{gap}{section}");
    };
    let is_next = |line: &&str| line.starts_with(|first: char| !first.is_whitespace() && !"-]}#".contains(first));
    let mut last = lines[first + 1..].iter().position(is_next).map_or(lines.len(), |next| first + 1 + next);
    // Comments and empty lines before the next key belong to that.
    while last > first + 1 && (lines[last - 1].trim().is_empty() || lines[last - 1].starts_with('#')) {
        last -= 1;
    }
    lines[..first].concat() + &section + &lines[last..].concat()
}

/// The section of plugin.yaml. Values are written as JSON, which is YAML, too.
fn section(tools: &[Written]) -> String {
    if tools.is_empty() {
        return "tools: []".to_owned();
    }
    let mut lines = vec!["tools:".to_owned()];
    for Written { tool, annotations } in tools {
        lines.push(format!("  - name: {}", json!(tool.name)));
        lines.extend(tool.description.as_ref().map(|text| format!("    description: {}", json!(text))));
        lines.push(format!("    method: {}", json!(tool.method)));
        lines.push(format!("    input: {}", tool.input));
        lines.extend(tool.output.as_ref().map(|output| format!("    output: {output}")));
        lines.extend(annotations.map(|annotations| format!("    annotations: {}", json!(annotations))));
    }
    lines.join("\n")
}

/// Reads the Python files of a plugin's own, without `vendor/`. The entry point has to be readable.
pub(super) fn read_own_code(folder: &Path, manifest: &Manifest) -> Result<Analysis, Failure> {
    let own = |source: &package::Source| source.file.is_some() && !source.path.as_str().starts_with("vendor/");
    let sources = package::sources(folder)?.packed.into_iter().filter(own);
    let files = sources.map(|source| SourceFile { path: source.path.to_string(), from: source.from }).collect();
    let analysis = analyze_files(files, &Limits::default());
    let is_wrong = |kind| matches!(kind, FindingKind::Syntax | FindingKind::Encoding) || FindingKind::is_limit(kind);
    if let Some(finding) = analysis.findings_in(&manifest.main).find(|finding| is_wrong(finding.kind)) {
        let detail = format!("`{}` cannot be read: {}", manifest.main, escape(&finding.message));
        return Err(Failure::local(Local::Failed, detail, format!("plugbay validate {}", folder.display())));
    }
    Ok(analysis)
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn the_rest_of_the_file_stays_as_it_is() {
        let section = "tools:\n  - name: \"a\"";
        for (old, new) in [
            ("a: 1\n", "a: 1\ntools:\n  - name: \"a\"\n"),
            ("a: 1", "a: 1\ntools:\n  - name: \"a\"\n"),
            ("a: 1\r\nb: 2\r\n", "a: 1\r\nb: 2\r\ntools:\r\n  - name: \"a\"\r\n"),
            ("tools: []\n# of b\nb: 2\n", "tools:\n  - name: \"a\"\n# of b\nb: 2\n"),
            ("a: 1 # x\ntools:\n- name: b\n\n- name: c\n\n\nb:   2", "a: 1 # x\ntools:\n  - name: \"a\"\n\n\nb:   2"),
            ("tools: [\n  { name: b },\n]\nx-tools: 1\n", "tools:\n  - name: \"a\"\nx-tools: 1\n"),
        ] {
            assert_eq!(replaced(old, section), new);
        }
    }
}
