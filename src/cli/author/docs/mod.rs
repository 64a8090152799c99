//! `plugbay docs`: the documentation of a plugin, out of plugin.yaml and of its code.
//!
//! A section of README.md between two markers, and pages in `docs/`. What is not marked as made by this command is never
//! touched.

mod collect;
mod html;
mod markdown;
mod page;
mod reasons;
mod schema;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use self::collect::Source;
use super::archive;
use super::tools::read_own_code;
use crate::analyze::Analysis;
use crate::cli::Context;
use crate::cli::failure::{Failure, Local};
use crate::domain::{Manifest, Runtime};

/// What stands around the section of the README.
const BEGIN: &str = "<!-- plugbay docs: made from plugin.yaml and the code; plugbay docs writes it again -->";
const END: &str = "<!-- end of plugbay docs -->";

/// Names of pages, with those that there is nothing to say for.
const PAGES: [&str; 5] = ["methods", "tools", "chat", "configuration", "permissions"];

const README: &str = "README.md";
const HTML: &str = "docs/index.html";

/// What `docs` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: plugbay docs my-plugin\n\nWrites a section of README.md and pages in docs/ about methods, tools, \
                  hooks, commands, configuration and permissions. Files that it did not make are left alone. Nothing of \
                  the plugin is run."
)]
pub(in crate::cli) struct DocsArguments {
    /// The plugin's folder
    dir: PathBuf,
    /// Also write everything as one page, docs/index.html
    #[arg(long)]
    html: bool,
    /// Write nothing; exit with 1 and name the files that are not what they should be
    #[arg(long)]
    check: bool,
}

/// A file as it should be.
struct Wanted {
    path: String,
    /// Nothing: there should be none.
    content: Option<String>,
}

/// Runs the command.
pub(in crate::cli) fn docs(arguments: &DocsArguments, context: &Context) -> Result<(), Failure> {
    let folder = &arguments.dir;
    let manifest = archive::read_manifest(folder)?;
    let analysis = analyze(folder, &manifest)?;
    let source = Source { manifest: &manifest, analysis: &analysis };
    let wanted = wanted(folder, &source, arguments.html)?;
    let mut stale = Vec::new();
    for file in wanted {
        if read(folder, &file.path)? != file.content {
            stale.push(file);
        }
    }
    let paths: Vec<&str> = stale.iter().map(|file| file.path.as_str()).collect();
    if arguments.check {
        if !paths.is_empty() {
            let detail = format!("not what plugin.yaml and the code say: {}", paths.join(", "));
            return Err(Failure::local(Local::Failed, detail, format!("plugbay docs {}", folder.display())));
        }
        context
            .output
            .result(&format!("the documentation of {} is up to date", manifest.name), &json!({ "stale": [] }));
        return Ok(());
    }
    for file in &stale {
        write(folder, file)?;
    }
    let said = if paths.is_empty() { "nothing to write".to_owned() } else { format!("wrote {}", paths.join(", ")) };
    context.output.result(&said, &json!({ "written": paths }));
    Ok(())
}

/// Reads the code. A mistake in the entry point is told; documents of other files need it not.
fn analyze(folder: &Path, manifest: &Manifest) -> Result<Analysis, Failure> {
    if manifest.runtime != Runtime::Python {
        return Ok(Analysis::default());
    }
    read_own_code(folder, manifest)
}

/// Every file that this command makes, as it should be.
fn wanted(folder: &Path, source: &Source<'_>, with_html: bool) -> Result<Vec<Wanted>, Failure> {
    let pages = source.pages();
    let summary = source.summary(&pages);
    let section = format!("{BEGIN}\n{}\n{END}", markdown::blocks(&summary, 2, "docs/"));
    let readme = read(folder, README)?;
    let content = with_section(readme.as_deref(), &section, source.manifest.name.as_str())?;
    let mut wanted = vec![Wanted { path: README.to_owned(), content: Some(content) }];
    for name in PAGES {
        let path = format!("docs/{name}.md");
        let content = pages.iter().find(|page| page.name == name).map(|page| markdown::page(page, BEGIN));
        if content.is_some() || is_ours(folder, &path)? {
            wanted.push(Wanted { path, content });
        }
    }
    // One that was made once is kept up to date.
    if with_html || is_ours(folder, HTML)? {
        let content = html::document(source.manifest.name.as_str(), &summary, &pages, BEGIN);
        wanted.push(Wanted { path: HTML.to_owned(), content: Some(content) });
    }
    Ok(wanted)
}

/// The README with this section in place of the old one, or after everything else.
fn with_section(readme: Option<&str>, section: &str, name: &str) -> Result<String, Failure> {
    let Some(text) = readme else { return Ok(format!("# {name}\n\n{section}\n")) };
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let section = section.replace('\n', end);
    let found = text.match_indices(BEGIN).map(|(at, _)| at).collect::<Vec<_>>();
    match (found.as_slice(), text.matches(END).count()) {
        ([], 0) if text.is_empty() => Ok(format!("# {name}{end}{end}{section}{end}")),
        ([], 0) => Ok(format!("{}{end}{end}{section}{end}", text.trim_end())),
        ([begin], 1) => match text[*begin..].find(END) {
            Some(length) => Ok(format!("{}{section}{}", &text[..*begin], &text[begin + length + END.len()..])),
            None => Err(unclear()),
        },
        _ => Err(unclear()),
    }
}

fn unclear() -> Failure {
    let detail = "README.md does not have the two markers of `plugbay docs` once each, in their order";
    Failure::local(Local::Failed, detail, format!("leave `{BEGIN}` and `{END}` once, or take out both"))
}

/// The text of a file; nothing where there is none. What a link leads to is not the plugin's.
fn read(folder: &Path, path: &str) -> Result<Option<String>, Failure> {
    refuse_link(folder, path)?;
    match fs::read(folder.join(path)) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::read(&folder.join(path), &error)),
    }
}

/// Whether a page was made by this command.
fn is_ours(folder: &Path, path: &str) -> Result<bool, Failure> {
    let text = read(folder, path)?;
    Ok(text.is_some_and(|text| text.lines().take(2).any(|line| line == BEGIN)))
}

fn refuse_link(folder: &Path, path: &str) -> Result<(), Failure> {
    let mut at = folder.to_owned();
    for part in Path::new(path) {
        at.push(part);
        if fs::symlink_metadata(&at).is_ok_and(|found| found.is_symlink()) {
            let detail = format!("`{}` is a link", at.display());
            return Err(Failure::local(Local::PathExists, detail, "put a file or folder of the plugin's in its place"));
        }
    }
    Ok(())
}

fn write(folder: &Path, file: &Wanted) -> Result<(), Failure> {
    let path = folder.join(&file.path);
    let failed = |error: &io::Error| Failure::io(format_args!("write `{}`", path.display()), error);
    if file.path != README && fs::symlink_metadata(&path).is_ok() && !is_ours(folder, &file.path)? {
        let detail = format!("`{}` was not made by `plugbay docs`", path.display());
        return Err(Failure::local(Local::PathExists, detail, "give that file another name"));
    }
    let Some(content) = &file.content else { return fs::remove_file(&path).map_err(|error| failed(&error)) };
    fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(|error| failed(&error))?;
    fs::write(&path, content).map_err(|error| failed(&error))
}
