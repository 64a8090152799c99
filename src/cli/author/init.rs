//! `plugbay init`: writes a template into a new folder.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::template::Template;
use crate::cli::failure::{Failure, Local};
use crate::cli::{Context, output};
use crate::domain::{NameError, PluginName, escape};

/// What `init` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: plugbay init my-plugin\n\nThe plugin gets the name of the folder.")]
pub(in crate::cli) struct InitArguments {
    /// The folder to make; the plugin gets its name
    #[arg(required_unless_present = "list")]
    dir: Option<PathBuf>,
    /// Which template to start from
    #[arg(long, default_value = "python")]
    template: String,
    /// List the templates and do nothing else
    #[arg(long)]
    list: bool,
}

/// Runs the command.
pub(in crate::cli) fn init(arguments: &InitArguments, context: &Context) -> Result<(), Failure> {
    let templates = Template::list();
    let Some(folder) = arguments.dir.as_deref().filter(|_| !arguments.list) else {
        list(&templates, context);
        return Ok(());
    };
    let Some(template) = templates.iter().find(|template| template.name == arguments.template) else {
        let detail = format!("there is no template `{}`", escape(&arguments.template));
        return Err(Failure::local(Local::Usage, detail, "plugbay init --list shows the templates"));
    };
    let name = name_of(folder)?;
    check_free(folder)?;
    let files = template.files(name.as_str());
    for (path, content) in &files {
        write(&folder.join(path), content)?;
    }
    let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    let shown = folder.display();
    context.output.result(
        &format!("{shown}"),
        &json!({ "path": folder, "name": name, "template": template.name, "files": paths }),
    );
    context.output.message(&format!(
        "Started `{name}` from the template {} ({} files).\nNext: plugbay pack {shown}",
        template.name,
        files.len()
    ));
    Ok(())
}

fn list(templates: &[Template], context: &Context) {
    let rows: Vec<[String; 2]> =
        templates.iter().map(|template| [template.name.clone(), template.description()]).collect();
    let names: Vec<_> =
        rows.iter().map(|[name, description]| json!({ "name": name, "description": description })).collect();
    context.output.result(&output::table(["TEMPLATE", "DESCRIPTION"], &rows), &json!({ "templates": names }));
}

/// The name the folder gives the plugin. `.` and `..` have a name too, once they are written out.
fn name_of(folder: &Path) -> Result<PluginName, Failure> {
    let whole = folder.canonicalize().unwrap_or_else(|_not_there_yet| folder.to_owned());
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.parse().map_err(|error: NameError| {
        Failure::from(error).with_how("choose a folder name such as my-plugin: words of a-z and 0-9 joined by `-`")
    })
}

/// Nothing of the author's is ever overwritten.
fn check_free(folder: &Path) -> Result<(), Failure> {
    let in_the_way = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some().then_some("the folder is not empty"),
        Err(_) if fs::symlink_metadata(folder).is_ok() => Some("it is no folder that can be read"),
        Err(_not_there) => None,
    };
    in_the_way.map_or(Ok(()), |why| {
        let detail = format!("`{}` cannot be used: {why}", folder.display());
        Err(Failure::local(Local::PathExists, detail, "choose a folder that does not exist yet"))
    })
}

fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(path, content))
        .map_err(|error| Failure::io(format_args!("write `{}`", path.display()), &error))
}
