//! Why a command did not work, in the form it is shown.

use std::fmt::Display;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::Exit;
use super::mistake::{Document, Mistake};
use crate::domain::{Chain, Code, FieldError, Refusal};
use crate::wire::{FieldProblem, ProblemBody};

/// What went wrong on this side, without a server. Servers never answer these codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Local {
    /// The arguments do not fit together.
    Usage,
    /// A path that was named does not exist.
    PathMissing,
    /// A file or folder is in the way.
    PathExists,
    /// The plugin's own build command failed.
    BuildFailed,
    /// Dependencies could not be fetched.
    VendoringFailed,
    /// The server cannot be reached.
    Unreachable,
    /// The server took too long.
    Timeout,
    /// Somebody pressed Ctrl-C.
    Interrupted,
    /// The plugin says that it failed.
    PluginFailed,
    /// The plugin's own tests failed.
    TestsFailed,
    /// A scan found what a person has to look at.
    Scan,
    /// Reading, writing, or anything else.
    Failed,
}

impl Local {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::PathMissing => "path-missing",
            Self::PathExists => "path-exists",
            Self::BuildFailed => "build-failed",
            Self::VendoringFailed => "vendoring-failed",
            Self::Unreachable => "server-unreachable",
            Self::Timeout => "server-timeout",
            Self::Interrupted => "interrupted",
            Self::PluginFailed => "plugin-failed",
            Self::TestsFailed => "tests-failed",
            Self::Scan => "scan-suspicious",
            Self::Failed => "failed",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Usage => "The arguments are not valid",
            Self::PathMissing => "The path does not exist",
            Self::PathExists => "Something is in the way",
            Self::BuildFailed => "The build command failed",
            Self::VendoringFailed => "The dependencies could not be vendored",
            Self::Unreachable => "The server cannot be reached",
            Self::Timeout => "The server took too long",
            Self::Interrupted => "Interrupted",
            Self::PluginFailed => "The plugin failed",
            Self::TestsFailed => "The plugin's tests failed",
            Self::Scan => "The code does what attacks do",
            Self::Failed => "The command failed",
        }
    }

    const fn exit(self) -> Exit {
        match self {
            Self::Usage | Self::PathMissing => Exit::Usage,
            Self::PathExists | Self::Scan => Exit::Refused,
            Self::Unreachable => Exit::Unreachable,
            Self::Timeout => Exit::Timeout,
            Self::Interrupted => Exit::Interrupted,
            Self::PluginFailed => Exit::Plugin,
            Self::TestsFailed | Self::BuildFailed | Self::VendoringFailed | Self::Failed => Exit::Failed,
        }
    }
}

/// What is known of a plugin that failed.
#[derive(Debug, Default, Serialize)]
pub(super) struct OfPlugin {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) call_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exit_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signal: Option<i32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) log_tail: Vec<String>,
}

/// A command that did not work. Serialised, it is what `--json` writes.
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    pub(super) code: Box<str>,
    pub(super) title: Box<str>,
    pub(super) detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) how: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) errors: Vec<Mistake>,
    #[serde(flatten)]
    pub(super) plugin: Box<OfPlugin>,
    #[serde(skip)]
    exit: Exit,
    /// The outcome that was written says it all.
    #[serde(skip)]
    pub(super) shown: bool,
}

impl Failure {
    /// A failure on this side, with the way out.
    pub(super) fn local(kind: Local, detail: impl Into<String>, how: impl Into<String>) -> Self {
        let how = Some(how.into());
        Self {
            code: kind.as_str().into(),
            title: kind.title().into(),
            detail: detail.into(),
            how,
            errors: Vec::new(),
            plugin: Box::default(),
            exit: kind.exit(),
            shown: false,
        }
    }

    /// A refusal with one sentence of its own.
    pub(super) fn refused(code: Code, detail: String) -> Self {
        Self { detail, ..Self::invalid(code, Vec::new()) }
    }

    /// A refusal of single values.
    pub(super) fn invalid(code: Code, errors: Vec<Mistake>) -> Self {
        let detail = errors.first().map(Mistake::sentence).unwrap_or_default();
        let how = Some(code.how().to_owned());
        Self {
            code: code.as_str().into(),
            title: code.title().into(),
            detail,
            how,
            errors,
            plugin: Box::default(),
            exit: Exit::of(code),
            shown: false,
        }
    }

    /// Somebody pressed Ctrl-C.
    pub(super) fn interrupted() -> Self {
        Self { how: None, ..Self::local(Local::Interrupted, "ended by Ctrl-C", "") }
    }

    /// Reading or writing failed.
    pub(super) fn io(doing: impl Display, error: &io::Error) -> Self {
        Self { how: None, ..Self::local(Local::Failed, format!("failed to {doing}: {error}"), "") }
    }

    /// A file could not be read: it is missing, or something else is wrong.
    pub(super) fn read(path: &Path, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            return Self::missing(path);
        }
        Self::io(format_args!("read `{}`", path.display()), error)
    }

    /// A path that was named does not exist.
    pub(super) fn missing(path: &Path) -> Self {
        let detail = format!("there is nothing at `{}`", path.display());
        Self::local(Local::PathMissing, detail, "check the path")
    }

    /// A folder where an archive is expected.
    pub(super) fn is_folder(path: &Path) -> Self {
        let shown = path.display();
        Self::local(Local::Usage, format!("`{shown}` is a folder and no archive"), format!("plugbay pack {shown}"))
    }

    /// The same without a way out that leads here again.
    pub(super) fn without_circle(self) -> Self {
        let circular = Code::ManifestInvalid.how();
        Self { how: self.how.filter(|how| how != circular), ..self }
    }

    /// The same with more mistakes, in the order of the document.
    pub(super) fn with_errors(mut self, more: impl IntoIterator<Item = Mistake>) -> Self {
        self.errors.extend(more);
        // plugin.yaml comes first, as its mistakes may be the cause of others.
        let rank = |mistake: &Mistake| {
            let file = mistake.file.clone().filter(|file| file != "plugin.yaml");
            (file, mistake.field.line, mistake.field.column)
        };
        self.errors.sort_by_key(rank);
        self.detail = self.errors.first().map(Mistake::sentence).unwrap_or_default();
        self
    }

    /// The same with mistakes that stand in this document.
    pub(super) fn located(mut self, document: &Document<'_>) -> Self {
        for mistake in &mut self.errors {
            *mistake = document.mistake(mistake.field.clone());
        }
        self
    }

    /// The same with a more exact way out.
    pub(super) fn with_how(self, how: impl Into<String>) -> Self {
        Self { how: Some(how.into()), ..self }
    }

    /// A failure that the server answered.
    pub(super) fn of_problem(problem: ProblemBody) -> Self {
        // A newer server may answer codes that this program does not know.
        let exit = Code::find(&problem.code).map_or(Exit::Failed, Exit::of);
        let field = |error: FieldProblem| FieldError {
            pointer: error.pointer,
            line: error.line,
            column: error.column,
            message: error.message,
        };
        Self {
            code: problem.code.into(),
            title: problem.title.into(),
            detail: problem.detail,
            how: Some(problem.how),
            errors: problem.errors.into_iter().map(field).map(Mistake::from).collect(),
            plugin: Box::new(OfPlugin {
                call_id: problem.call_id,
                reason: problem.reason,
                exit_code: problem.exit_code,
                signal: problem.signal,
                log_tail: problem.log_tail.unwrap_or_default(),
            }),
            exit,
            shown: false,
        }
    }

    /// A failure of which nothing is left to say.
    pub(super) fn shown(kind: Local) -> Self {
        Self { shown: true, ..Self::local(kind, "", "") }
    }

    /// The same with the plugin's name where the server, which does not know what was typed, says NAME.
    pub(super) fn about(self, plugin: &str) -> Self {
        let how = self.how.map(|how| how.replace(" NAME", &format!(" {plugin}")));
        Self { how, ..self }
    }

    /// Whether the detail is a sentence of this program or the service that needs no title. A plugin's words do.
    pub(super) fn stands_alone(&self) -> bool {
        !self.detail.is_empty() && &*self.code != Local::PluginFailed.as_str()
    }

    /// What stands above a list of mistakes. Some are in other files than the one that the title names.
    pub(super) fn head(&self) -> &str {
        let is_elsewhere = |mistake: &Mistake| mistake.file.as_ref().is_some_and(|file| file != "plugin.yaml");
        let is_general = &*self.code == Code::ManifestInvalid.as_str();
        if is_general && self.errors.iter().any(is_elsewhere) { "the plugin is not valid" } else { &self.title }
    }

    /// The same after its mistakes were written in another form.
    pub(super) fn written(self) -> Self {
        Self { shown: true, ..self }
    }

    /// Somebody pressed Ctrl-C.
    pub(super) fn is_interruption(&self) -> bool {
        self.exit == Exit::Interrupted
    }

    /// The exit code.
    pub(super) const fn exit(&self) -> Exit {
        self.exit
    }
}

impl<R: Refusal> From<R> for Failure {
    fn from(refusal: R) -> Self {
        let code: Code = refusal.code();
        Self {
            code: code.as_str().into(),
            title: code.title().into(),
            detail: Chain(&refusal).to_string(),
            how: Some(refusal.how().unwrap_or_else(|| code.how().to_owned())),
            errors: refusal.fields().iter().cloned().map(Mistake::from).collect(),
            plugin: Box::default(),
            exit: Exit::of(code),
            shown: false,
        }
    }
}
