//! `plugbay test`: a plugin's own tests, then one start and one call in a sandbox, without a service.

mod service;

use std::path::PathBuf;

use reqwest::Method;
use reqwest::header::IF_MATCH;
use serde::Serialize;
use serde_json::{Map, Value};

use self::service::Service;
use super::Context;
use super::author::{self, Packed, UnitTests, Vendoring};
use super::client::{Connection, Source, failed, line_text, plugin_path, read_config_file, read_context, result_text};
use super::failure::Failure;
use crate::domain::Code;
use crate::wire::{ConfigView, ExecuteAnswer, ExecuteRequest, Installed, LogLine, PluginDetail, StatusChanged};

/// What is called.
const METHOD: &str = "execute";

/// Lines of the plugin's log that are shown.
const LOG_LINES: u32 = 20;

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plugbay test my-plugin\n  plugbay test my-plugin --context '{\"user\": \"Ada\"}'\n  \
                        plugbay test my-plugin --no-sandbox\n\n\
                        Runs tests/test*.py, packs the folder, starts it as a service would, calls it once, and removes \
                        everything again. Ends with 1 when a test fails, 8 when the plugin does."
)]
pub(super) struct TestArguments {
    /// The plugin's folder
    dir: PathBuf,
    /// What the plugin is called with
    #[arg(long, value_name = "JSON", default_value = "{}")]
    context: String,
    /// What the plugin is configured with, a JSON object in a file; `-` for stdin
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
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

/// What a sandbox made of the plugin.
#[derive(Serialize)]
struct Trial {
    isolation: Option<String>,
    methods: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<ExecuteAnswer>,
    log: Vec<LogLine>,
}

pub(super) fn test(arguments: &TestArguments, context: &Context) -> Result<(), Failure> {
    let config = arguments.config.as_deref().map(read_config_file).transpose()?;
    let call = ExecuteRequest { context: Some(read_context(&arguments.context)?), ..ExecuteRequest::default() };
    let folder = tempfile::tempdir().map_err(|error| Failure::io("make a temporary folder", &error))?;
    let archive = folder.path().join("plugin.tar.gz");
    let packed = author::build(&arguments.dir, Some(&archive), &arguments.vendoring, context)?;
    let Packed { manifest, files, .. } = &packed;
    let (name, version) = (manifest.name.to_string(), manifest.version.to_string());
    context.output.message(&format!("Packed {name} {version}: {files} files"));
    let unit_tests = author::run_unit_tests(&arguments.dir, &packed.vendor(&arguments.dir), context)?;
    let order = Order { name: &name, archive: &archive.to_string_lossy(), call: &call, config: config.as_ref() };
    let trial = if arguments.no_sandbox { None } else { Some(in_sandbox(&order, context)?) };
    let text = report_text(&name, trial.as_ref());
    let answer = trial.as_ref().and_then(|trial| trial.answer.clone()).filter(|answer| !answer.success);
    let report = Report { name, version, unit_tests, trial };
    let Some(answer) = answer else {
        context.output.result(&text, &report);
        return Ok(());
    };
    let how = match answer.error_kind.as_deref() {
        Some("OutputInvalid") => {
            "print one JSON value to stdout, such as \"hello\" with its quotes, and all else to stderr"
        }
        Some("NotStarted") => "begin the script with the line of an interpreter of the image, such as #!/bin/sh",
        _ => "mend it, or call it with what it needs: --context JSON",
    };
    let mut failure = failed(&answer).with_how(how);
    if context.output.is_json() {
        context.output.result("", &report);
        failure.shown = true;
    }
    Err(failure)
}

/// What is tried.
struct Order<'a> {
    name: &'a str,
    archive: &'a str,
    call: &'a ExecuteRequest,
    config: Option<&'a Map<String, Value>>,
}

/// Tries a plugin in a service of its own. Whatever comes of it, the service and all that it made are gone afterwards.
fn in_sandbox(order: &Order<'_>, context: &Context) -> Result<Trial, Failure> {
    let service = Service::start(None, context)?;
    let tried = service.wait_until_ready().and_then(|()| try_out(order, &service.connection, context));
    // Its data belong to another user; only the service may remove them.
    let path = plugin_path(order.name, "?purge=true");
    let removed = service.connection.send_empty(service.connection.request(Method::DELETE, &path));
    let stopped = service.stop();
    let trial = tried?;
    removed?;
    stopped?;
    Ok(trial)
}

fn try_out(order: &Order<'_>, connection: &Connection, context: &Context) -> Result<Trial, Failure> {
    let Order { name, archive, call, config } = *order;
    let request = Source::find(archive, None)?.into_request(connection, context, "/api/plugins/install")?;
    let _: Installed = connection.send(request)?;
    if let Some(config) = config {
        let set = connection.request(Method::PUT, &plugin_path(name, "/config")).header(IF_MATCH, "*").json(config);
        let _: ConfigView = connection.send(set).map_err(without_a_service)?;
    }
    let spinner = context.output.spinner("starting");
    let enabled: Result<StatusChanged, _> = connection.act(&plugin_path(name, "/enable"));
    spinner.finish_and_clear();
    enabled.map_err(without_a_service)?;
    let detail: PluginDetail = connection.get(&plugin_path(name, ""))?;
    let isolation = detail.summary.isolation;
    let shown = isolation.as_deref().unwrap_or("nothing");
    context.output.message(&format!("Started {name}, isolated by {shown}"));
    let methods = detail.methods.unwrap_or_default();
    let answered = if methods.iter().any(|method| method == METHOD) {
        let spinner = context.output.spinner("calling");
        let answer = connection.post::<ExecuteAnswer>(&plugin_path(name, "/execute"), call);
        spinner.finish_and_clear();
        answer.map(Some)
    } else {
        context.output.message(&format!("It does not offer {METHOD}, so nothing was called"));
        Ok(None)
    };
    // Stopped first, so that the log has everything the plugin wrote. A plugin that has crashed is disabled all the same.
    let stopped: Result<StatusChanged, _> = connection.act(&plugin_path(name, "/disable"));
    let log = connection.lines(&plugin_path(name, &format!("/logs?tail={LOG_LINES}")))?;
    for line in &log {
        context.output.message(&line_text(line));
    }
    let answer = answered.map_err(without_a_service)?;
    stopped?;
    Ok(Trial { isolation, methods, answer, log })
}

/// What the way out is where there is no service and no operator: `plugbay logs` has nobody to ask.
fn without_a_service(failure: Failure) -> Failure {
    match Code::find(&failure.code) {
        Some(Code::PermissionsPending) => failure.with_how(
            "a plugin that needs permissions is tried in a service: plugbay serve --insecure-dev; \
             --no-sandbox runs its own tests",
        ),
        Some(Code::ConfigIncomplete) => failure.with_how("give it what it needs, as a JSON object: --config FILE"),
        Some(Code::ConfigInvalid) => failure.with_how("compare the file with config_schema in plugin.yaml"),
        Some(Code::PluginStartFailed | Code::PluginCrashed | Code::PluginProtocol) => {
            failure.with_how("mend what its log shows, then try again")
        }
        _ => failure,
    }
}

fn report_text(name: &str, trial: Option<&Trial>) -> String {
    match trial {
        None => format!("{name} is packed well; it was not started"),
        Some(Trial { answer: None, .. }) => format!("{name} starts"),
        Some(Trial { answer: Some(answer), .. }) => {
            let result = answer.result.as_deref().map_or("null".to_owned(), result_text);
            format!("{name} starts and answers:\n{result}")
        }
    }
}
