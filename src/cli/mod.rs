//! The command line: parses arguments, runs one command, and turns its outcome into text and an exit code.
//!
//! Data goes to stdout, everything else to stderr. With `--json` exactly one JSON value is written to stdout, whether the
//! command worked or not; the exit code tells which. `logs` and `exec --stream`, whose outcome has no end that could be
//! waited for, write JSON Lines instead: one value for each line or event.

mod author;
mod client;
mod exit;
mod failure;
mod mistake;
mod moments;
mod output;
mod restore;
mod schema;
mod serve;
mod shown;
mod trial;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

pub use exit::Exit;
use failure::Failure;
use output::{Format, Output};

use crate::config::Environment;

/// Runs signed plugins that nobody should have to trust.
#[derive(Debug, Parser)]
#[command(name = "plugbay", version, propagate_version = true, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Start with: plugbay init my-plugin && plugbay pack my-plugin")]
struct Cli {
    #[command(flatten)]
    global: GlobalFlags,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every command takes.
#[derive(Clone, Copy, Debug, clap::Args)]
struct GlobalFlags {
    /// Write one JSON value to stdout instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Write no messages, only data and errors
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Show no progress, also on a terminal
    #[arg(long, global = true)]
    no_progress: bool,
}

/// What can be done.
#[derive(Debug, Subcommand)]
enum Command {
    /// Start a plugin from a template
    Init(author::InitArguments),
    /// Check a plugin's folder or archive and show every mistake
    Validate(author::ValidateArguments),
    /// Judge the code of a plugin's folder or archive by rules, without running it
    Scan(author::ScanArguments),
    /// Show the tools of a Python plugin, with schemas out of its type hints
    Tools(author::ToolsArguments),
    /// Write the documentation of a plugin, out of its manifest and its code
    Docs(author::DocsArguments),
    /// Try a plugin's folder: its own tests, then a start and a call in a sandbox
    Test(trial::TestArguments),
    /// Pack a plugin's folder into an archive with reproducible bytes
    Pack(author::PackArguments),
    /// Make a pair of keys for signing
    Keygen(author::KeygenArguments),
    /// Sign an archive
    Sign(author::SignArguments),
    /// Check the signature of an archive
    Verify(author::VerifyArguments),
    /// Run the service
    Serve(serve::ServeArguments),
    /// Install a plugin
    Install(client::InstallArguments),
    /// Bring in another version of an installed plugin
    Update(client::UpdateArguments),
    /// Go back to an earlier version
    Rollback(client::RollbackArguments),
    /// List installed plugins
    List(client::ListArguments),
    /// Show everything about one plugin
    Show(client::ShowArguments),
    /// Decide what a plugin may do to others
    Approve(client::ApproveArguments),
    /// Take permissions back from a plugin, at once
    Revoke(client::RevokeArguments),
    /// Start a plugin, now and whenever the service starts
    Enable(client::EnableArguments),
    /// Stop a plugin
    Disable(client::DisableArguments),
    /// Call a plugin and show its result
    Exec(client::ExecArguments),
    /// Show what a plugin wrote
    Logs(client::LogsArguments),
    /// Show what plugins use
    Stats(client::StatsArguments),
    /// Show or set what a plugin gets when it runs
    Limits(client::LimitsArguments),
    /// Show or set what a plugin is configured with
    Config(client::ConfigArguments),
    /// Show what the sandbox of a plugin is made of
    Plan(client::PlanArguments),
    /// Remove a plugin
    Uninstall(client::UninstallArguments),
    /// Manage the signing keys the service trusts
    Key(client::KeyArguments),
    /// Manage the tokens that callers hold
    Token(client::TokenArguments),
    /// Read and verify the audit log
    Audit(client::AuditArguments),
    /// Bring in known holes of packages
    Advisories(client::AdvisoryArguments),
    /// Check whether the service has what it needs
    Doctor(client::DoctorArguments),
    /// Take a backup of the service while it runs
    Backup(client::BackupArguments),
    /// Make a data directory of a backup, for a service that does not run
    Restore(restore::RestoreArguments),
    /// Write the OpenAPI document to stdout
    #[command(after_help = "Example: plugbay openapi > openapi.json")]
    Openapi,
    /// Write the JSON Schema of plugin.yaml or plugbay.yaml to stdout
    Schema(schema::SchemaArguments),
    /// Write the completions of a shell to stdout
    #[command(after_help = "Example: plugbay completions bash > ~/.local/share/bash-completion/completions/plugbay")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Hold a database open for the service, which starts this by itself
    #[command(hide = true)]
    DbWorker,
    /// Read the code of a package for the service, which starts this by itself
    #[command(hide = true)]
    ScanWorker,
    /// Write the manual to stdout, as man(1) reads it
    #[command(after_help = "Example: plugbay man | man -l -")]
    Man,
}

/// What every command gets.
struct Context {
    output: Output,
    environment: Environment,
}

impl Context {
    /// The same.
    fn same(&self) -> Self {
        Self { output: self.output.clone(), environment: self.environment.clone() }
    }

    /// The same with an outcome for programs.
    fn with_json(&self) -> Self {
        Self { output: self.output.for_programs(), environment: self.environment.clone() }
    }
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    run(std::env::args_os()).into()
}

/// Runs the program.
fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return show_usage(&error),
    };
    let environment = Environment::of_process();
    let GlobalFlags { json, quiet, no_progress } = cli.global;
    let format = if json { Format::Json } else { Format::Text };
    let output = Output::new(format, quiet, !no_progress, &environment);
    let context = Context { output, environment };
    match dispatch(cli.command, &context) {
        Ok(()) => Exit::Done,
        Err(failure) => {
            if !failure.shown {
                context.output.failure(&failure);
            }
            failure.exit()
        }
    }
}

fn show_usage(error: &clap::Error) -> Exit {
    let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
    // A closed pipe is no reason to fail: nobody reads any more.
    error.print().map_or(Exit::Failed, |()| exit)
}

fn dispatch(command: Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Init(arguments) => author::init(&arguments, context),
        Command::Validate(arguments) => author::validate(&arguments, context),
        Command::Scan(arguments) => author::scan(&arguments, context),
        Command::Tools(arguments) => author::tools(&arguments, context),
        Command::Docs(arguments) => author::docs(&arguments, context),
        Command::Test(arguments) => trial::test(&arguments, context),
        Command::Pack(arguments) => author::pack(&arguments, context),
        Command::Keygen(arguments) => author::keygen(&arguments, context),
        Command::Sign(arguments) => author::sign(&arguments, context),
        Command::Verify(arguments) => author::verify(&arguments, context),
        Command::Serve(arguments) => serve::serve(arguments, context),
        Command::Install(arguments) => client::install(&arguments, context),
        Command::Update(arguments) => client::update(&arguments, context),
        Command::Rollback(arguments) => client::rollback(&arguments, context),
        Command::List(arguments) => client::list(&arguments, context),
        Command::Show(arguments) => client::show(&arguments, context),
        Command::Approve(arguments) => client::approve(&arguments, context),
        Command::Revoke(arguments) => client::revoke(&arguments, context),
        Command::Enable(arguments) => client::enable(&arguments, context),
        Command::Disable(arguments) => client::disable(&arguments, context),
        Command::Exec(arguments) => client::exec(&arguments, context),
        Command::Logs(arguments) => client::logs(&arguments, context),
        Command::Stats(arguments) => client::stats(&arguments, context),
        Command::Limits(arguments) => client::limits(arguments, context),
        Command::Config(arguments) => client::config(arguments, context),
        Command::Plan(arguments) => client::plan(&arguments, context),
        Command::Uninstall(arguments) => client::uninstall(&arguments, context),
        Command::Key(arguments) => client::key(arguments, context),
        Command::Token(arguments) => client::token(arguments, context),
        Command::Audit(arguments) => client::audit(arguments, context),
        Command::Advisories(arguments) => client::advisories(&arguments, context),
        Command::Doctor(arguments) => client::doctor(&arguments, context),
        Command::Backup(arguments) => client::backup(&arguments, context),
        Command::Restore(arguments) => restore::restore(arguments, context),
        Command::DbWorker => {
            crate::databases::run_worker().map_err(|error| Failure::io("hold a database open", &error))
        }
        Command::ScanWorker => {
            crate::scanner::run_worker().map_err(|error| Failure::io("read the code of a package", &error))
        }
        Command::Openapi => {
            let document = serde_json::to_value(crate::startup::openapi())
                .map_err(|error| Failure::io("write the document", &error.into()))?;
            context.output.result(&format!("{document:#}"), &document);
            Ok(())
        }
        Command::Schema(arguments) => {
            schema::schema(&arguments, context);
            Ok(())
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "plugbay", &mut script);
            context.output.document("completions", &script);
            Ok(())
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut page)
                .map_err(|error| Failure::io("write the manual", &error))?;
            context.output.document("man", &page);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{}", command.get_name());
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }
}
