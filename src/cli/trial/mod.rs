//! `plugbay test`: a plugin's own tests, then one start in a sandbox with what is called of it, without a service.

mod calls;
mod fake_host;
mod grants;
mod sandbox;
mod service;
mod stream;

use std::path::PathBuf;

use serde::Serialize;

use self::calls::{CallArguments, Heard};
use self::sandbox::{Order, Trial, try_in_sandbox};
use super::Context;
use super::author::{self, Packed, UnitTests, Vendoring};
use super::client::{failed, read_config_file, result_text};
use super::failure::{Failure, Local};
use crate::wire::{ExecuteAnswer, HookErrorView};

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plugbay test my-plugin\n  plugbay test my-plugin --context '{\"user\": \"Ada\"}'\n  \
                        plugbay test my-plugin --grant chat_access --hook on_message '{\"text\": \"hi\"}'\n  \
                        plugbay test my-plugin --grant chat_access --command \"/roll 3\"\n  \
                        plugbay test my-plugin --grant network_access --fake-host answers.yaml\n  \
                        plugbay test my-plugin --no-sandbox\n\n\
                        Runs tests/test*.py, packs the folder, starts it as a service would, calls it, and removes \
                        everything again. What the plugin asks of the service is answered in this run alone: small \
                        values and the chat are real and thrown away, anything else is answered by --fake-host FILE. \
                        Ends with 1 when a test fails, 8 when the plugin does."
)]
pub(super) struct TestArguments {
    /// The plugin's folder
    dir: PathBuf,
    #[command(flatten)]
    calls: CallArguments,
    /// What the plugin is configured with, a JSON object in a file; `-` for stdin
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Grant permissions: `chat_access,network_access:api.example.com`
    #[arg(long, value_name = "PERMISSION", conflicts_with = "no_sandbox")]
    grant: Vec<String>,
    /// Answers of functions of the service, by their names, in YAML or JSON
    #[arg(long, value_name = "FILE", conflicts_with = "no_sandbox")]
    fake_host: Option<PathBuf>,
    /// Check the package and run the plugin's own tests, and nothing else
    #[arg(long)]
    no_sandbox: bool,
    #[command(flatten)]
    vendoring: Vendoring,
}

/// What was found. What was not tried is left out.
#[derive(Serialize)]
struct Report {
    name: String,
    version: String,
    unit_tests: UnitTests,
    #[serde(skip_serializing_if = "Option::is_none")]
    trial: Option<Trial>,
}

pub(super) fn test(arguments: &TestArguments, context: &Context) -> Result<(), Failure> {
    let config = arguments.config.as_deref().map(read_config_file).transpose()?;
    let (grant, calls) = (grants::read(&arguments.grant)?, arguments.calls.read()?);
    let stand_in = fake_host::read(arguments.fake_host.as_deref())?;
    let folder = tempfile::tempdir().map_err(|error| Failure::io("make a temporary folder", &error))?;
    let archive = folder.path().join("plugin.tar.gz");
    let packed = author::build(&arguments.dir, Some(&archive), &arguments.vendoring, context)?;
    let Packed { manifest, files, .. } = &packed;
    calls.check(manifest)?;
    let (name, version) = (manifest.name.to_string(), manifest.version.to_string());
    context.output.message(&format!("Packed {name} {version}: {files} files"));
    let unit_tests = author::run_unit_tests(&arguments.dir, &packed.vendor(&arguments.dir), context)?;
    let archive = archive.to_string_lossy();
    let order = Order { manifest, archive: &archive, config: config.as_ref(), grant: &grant, calls: &calls, stand_in };
    let trial = if arguments.no_sandbox { None } else { Some(try_in_sandbox(&order, context)?) };
    let failure = trial.as_ref().and_then(failure_of);
    let text = report_text(&name, trial.as_ref());
    let report = Report { name, version, unit_tests, trial };
    match failure {
        None if context.output.is_json() => context.output.result("", &report),
        None => context.output.foreign(&text),
        Some(mut failure) => {
            if context.output.is_json() {
                context.output.result("", &report);
                failure.shown = true;
            }
            return Err(failure);
        }
    }
    Ok(())
}

/// The first call that did not end well.
fn failure_of(trial: &Trial) -> Option<Failure> {
    let of_hook = trial.heard.iter().find_map(|heard| heard.errors.first());
    let answer = trial.answer.as_ref().filter(|answer| !answer.success);
    of_hook.map(hook_failed).or_else(|| answer.map(call_failed))
}

fn hook_failed(HookErrorView { hook, error, .. }: &HookErrorView) -> Failure {
    Failure::local(Local::PluginFailed, format!("{hook}: {error}"), "mend it, or call it with what it can answer")
}

fn call_failed(answer: &ExecuteAnswer) -> Failure {
    failed(answer).with_how(match answer.error_kind.as_deref() {
        Some("OutputInvalid") => {
            "print one JSON value to stdout, such as \"hello\" with its quotes, and all else to stderr"
        }
        Some("NotStarted") => "begin the script with the line of an interpreter of the image, such as #!/bin/sh",
        _ => "mend it, or call it with what it needs: --context JSON",
    })
}

fn report_text(name: &str, trial: Option<&Trial>) -> String {
    let Some(Trial { heard, answer, chunks, .. }) = trial else {
        return format!("{name} is packed well; it was not started");
    };
    let mut lines = Vec::new();
    for Heard { answers, .. } in heard {
        lines.extend(answers.iter().map(|said| format!("{} answers:\n{}", said.hook, result_text(&said.result))));
    }
    let result = answer.as_ref().map(|answer| answer.result.as_deref().map_or("null".to_owned(), result_text));
    match (result, chunks) {
        // What it yielded was shown as it came, and it has nothing left to return.
        (Some(_), Some(chunks)) if chunks.count > 0 => {
            lines.insert(0, format!("{name} starts and yields {}", chunks.count));
        }
        (Some(result), _) if heard.is_empty() => lines.push(format!("{name} starts and answers:\n{result}")),
        (Some(result), _) => lines.push(format!("it answers:\n{result}")),
        (None, _) => lines.insert(0, format!("{name} starts")),
    }
    lines.join("\n")
}
