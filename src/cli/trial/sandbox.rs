//! One start of a plugin in a sandbox, with what is called of it.

use std::sync::Arc;

use reqwest::Method;
use reqwest::header::IF_MATCH;
use serde::Serialize;
use serde_json::{Map, Value};

use super::calls::{Calls, Heard, MethodCall, Said};
use super::grants;
use super::service::Service;
use super::stream::{self, Chunks};
use crate::cli::Context;
use crate::cli::client::{Connection, Source, line_text, plugin_path};
use crate::cli::failure::{Failure, Local};
use crate::cli::shown::{entry, printable};
use crate::domain::{Code, Manifest};
use crate::startup::{HostStandIn, NotedRequest};
use crate::wire::{
    ConfigView, ConversationView, ExecuteAnswer, Installed, LogLine, MessagePosted, NewConversation, PermissionItem,
    PermissionsDecided, PermissionsShown, PluginDetail, StatusChanged,
};

/// Lines of the plugin's log that are shown.
const LOG_LINES: u32 = 20;

/// Requests of the plugin that are shown, and characters of each.
const SHOWN_REQUESTS: usize = 50;
const SHOWN_CHARACTERS: usize = 300;

/// Columns by which further lines of a request stand under its first one.
const UNDER_REQUEST: usize = 4;

/// What is tried.
pub(super) struct Order<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) archive: &'a str,
    pub(super) config: Option<&'a Map<String, Value>>,
    pub(super) grant: &'a [PermissionItem],
    pub(super) calls: &'a Calls,
    pub(super) stand_in: Arc<HostStandIn>,
}

/// What a sandbox made of the plugin.
#[derive(Serialize)]
pub(super) struct Trial {
    isolation: Option<String>,
    methods: Vec<String>,
    /// What hooks and commands answered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) heard: Vec<Heard>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<ExecuteAnswer>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) chunks: Option<Chunks>,
    /// What the plugin asked of the service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    requests: Vec<NotedRequest>,
    log: Vec<LogLine>,
}

/// Tries a plugin in a service of its own. However it ends, the service and all that it made are gone afterwards.
pub(super) fn try_in_sandbox(order: &Order<'_>, context: &Context) -> Result<Trial, Failure> {
    let service = Service::start(order.manifest, Arc::clone(&order.stand_in), context)?;
    let attempt = Attempt { order, connection: &service.connection, context };
    let tried = service.wait_until_ready().and_then(|()| attempt.run());
    // Its data belong to another user; only the service may remove them.
    let removed =
        service.connection.send_empty(service.connection.request(Method::DELETE, &attempt.path("?purge=true")));
    let stopped = service.stop();
    let trial = tried?;
    removed?;
    stopped?;
    Ok(trial)
}

struct Attempt<'a> {
    order: &'a Order<'a>,
    connection: &'a Connection,
    context: &'a Context,
}

impl Attempt<'_> {
    fn path(&self, rest: &str) -> String {
        plugin_path(self.order.manifest.name.as_str(), rest)
    }

    fn run(&self) -> Result<Trial, Failure> {
        let Self { order: Order { archive, config, calls, stand_in, .. }, connection, context } = self;
        let request = Source::find(archive, None)?.into_request(connection, context, "/api/plugins/install")?;
        let _: Installed = connection.send(request)?;
        self.grant()?;
        if let Some(config) = config {
            let set = connection.request(Method::PUT, &self.path("/config")).header(IF_MATCH, "*").json(config);
            let _: ConfigView = connection.send(set).map_err(without_a_service)?;
        }
        let detail = self.enable()?;
        let isolation = detail.summary.isolation;
        let shown = isolation.as_deref().unwrap_or("nothing");
        context.output.message(&format!("Started {}, isolated by {shown}", self.order.manifest.name));
        let methods = detail.methods.unwrap_or_default();
        let called = self.call(calls, &methods);
        // Stopped first, so that the log has everything the plugin wrote. A plugin that has crashed is disabled all the same.
        let stopped: Result<StatusChanged, _> = connection.act(&self.path("/disable"));
        let requests = stand_in.take_noted();
        self.show_requests(&requests);
        let log = connection.lines(&self.path(&format!("/logs?tail={LOG_LINES}")))?;
        for line in &log {
            context.output.message(&line_text(line));
        }
        let (heard, answered) = called.map_err(without_a_service)?;
        stopped?;
        let (answer, chunks) = answered.unzip();
        Ok(Trial { isolation, methods, heard, answer, chunks: chunks.flatten(), requests, log })
    }

    fn grant(&self) -> Result<(), Failure> {
        let Self { order, connection, context } = self;
        if order.grant.is_empty() {
            return Ok(());
        }
        let decided =
            connection.post::<PermissionsDecided>(&self.path("/permissions/approve"), &grants::decision(order.grant));
        decided.map_err(|failure| match Code::find(&failure.code) {
            Some(Code::PermissionNotRequested) => {
                failure.with_how("grant what plugin.yaml asks for, under `permissions` or `optional_permissions`")
            }
            _ => failure,
        })?;
        let shown: PermissionsShown = connection.get(&self.path("/permissions"))?;
        if !shown.risks.is_empty() {
            let risks = shown.risks.join(", ");
            context.output.message(&format!("In a service, an administrator has to accept the risk {risks}"));
        }
        Ok(())
    }

    fn enable(&self) -> Result<PluginDetail, Failure> {
        let Self { connection, context, .. } = self;
        let spinner = context.output.spinner("starting");
        let enabled: Result<StatusChanged, _> = connection.act(&self.path("/enable"));
        spinner.finish_and_clear();
        match enabled {
            Ok(_) => connection.get(&self.path("")),
            Err(failure) if Code::find(&failure.code) == Some(Code::PermissionsPending) => {
                let shown: PermissionsShown = connection.get(&self.path("/permissions"))?;
                Err(failure.with_how(format!("{} tries it with them", grants::flag(&shown))))
            }
            Err(failure) => Err(without_a_service(failure)),
        }
    }

    /// Calls everything, in order.
    fn call(&self, calls: &Calls, methods: &[String]) -> Result<(Vec<Heard>, Option<Answered>), Failure> {
        let mut heard = Vec::new();
        if !calls.messages.is_empty() {
            let conversation: ConversationView =
                self.connection.post("/api/chat/conversations", &NewConversation::default())?;
            for said in &calls.messages {
                heard.push(self.say(&conversation.id, said)?);
            }
        }
        let answered = match &calls.method {
            Some(method) => self.call_method(method, methods)?,
            None => None,
        };
        Ok((heard, answered))
    }

    fn say(&self, conversation: &str, said: &Said) -> Result<Heard, Failure> {
        let path = format!("/api/chat/conversations/{conversation}/messages");
        let MessagePosted { answers, errors, .. } = self.connection.post(&path, &said.message)?;
        if answers.is_empty() && errors.is_empty() {
            let detail = format!("`{}` is called for plugins with `chat_access` only", said.name());
            return Err(Failure::local(Local::Usage, detail, "--grant chat_access"));
        }
        Ok(Heard { hook: said.name(), answers, errors })
    }

    fn call_method(&self, method: &MethodCall, methods: &[String]) -> Result<Option<Answered>, Failure> {
        let Self { connection, context: Context { output, .. }, .. } = self;
        if !methods.iter().any(|offered| offered == method.name()) {
            if method.is_asked_for {
                let detail = format!("it does not offer the method `{}`", printable(method.name()));
                return Err(Failure::local(Local::Usage, detail, format!("it offers {}", methods.join(", "))));
            }
            output.message(&format!("It does not offer {}, so nothing was called", method.name()));
            return Ok(None);
        }
        let request = connection.request(Method::POST, &self.path("/execute")).json(&method.request);
        if method.streams {
            let (answer, chunks) = stream::call(request, connection, output)?;
            return Ok(Some((answer, Some(chunks))));
        }
        let spinner = output.spinner("calling");
        let answer = connection.send(request);
        spinner.finish_and_clear();
        Ok(Some((answer?, None)))
    }

    fn show_requests(&self, requests: &[NotedRequest]) {
        let output = &self.context.output;
        for NotedRequest { function, params, refused, .. } in requests.iter().take(SHOWN_REQUESTS) {
            let params = params.as_ref().map(ToString::to_string).unwrap_or_default();
            let refused = refused.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
            let line: String = format!("{function} {params}{refused}").chars().take(SHOWN_CHARACTERS).collect();
            output.message(&entry(&line, UNDER_REQUEST));
        }
        let left = requests.len().saturating_sub(SHOWN_REQUESTS);
        if left > 0 {
            output.message(&format!("… and {left} more requests; --json has all of them"));
        }
    }
}

type Answered = (ExecuteAnswer, Option<Chunks>);

/// What the way out is where there is no service and no operator: `plugbay logs` has no service to ask.
fn without_a_service(failure: Failure) -> Failure {
    match Code::find(&failure.code) {
        Some(Code::ConfigIncomplete) => failure.with_how("give it what it needs, as a JSON object: --config FILE"),
        Some(Code::ConfigInvalid) => failure.with_how("compare the file with config_schema in plugin.yaml"),
        Some(Code::PluginStartFailed | Code::PluginCrashed | Code::PluginProtocol) => {
            failure.with_how("mend what its log shows, then try again")
        }
        _ => failure,
    }
}
