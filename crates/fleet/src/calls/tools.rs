//! Calls of methods that are tools: who may make them, and whether arguments and results fit their schemas.
//!
//! A method belongs to one tool at most, so a call of the method is a call of the tool, and the same rules hold.

use std::sync::Arc;
use std::time::Duration;

use plugbay_domain::{Code, FieldError, Tool, ToolSchema, escape, mcp_name};
use plugbay_protocol::Payload;
use tokio::time::{Instant, timeout_at};

use crate::calls::SOON;
use crate::calls::admission::Admission;
use crate::calls::answer::PluginAnswer;
use crate::calls::request::AskedBy;
use crate::settings::{Checked, checking};
use crate::{Fleet, FleetError, Member, PluginProblem, Up};

/// The tool that the call is of. What the service tells a plugin is none, and a plugin without `tools` in plugin.yaml takes
/// what it always took, which need not be an object.
pub(crate) fn find(by: AskedBy<'_>, up: &Up, method: &str) -> Option<Arc<Tool>> {
    let tools = up.session.tools();
    let is_checked = tools.is_declared() && !matches!(by, AskedBy::Fleet);
    if is_checked { tools.of_method(method).cloned() } else { None }
}

/// Refuses a token for some tools where the method is none of them, as if there were no other methods.
pub(crate) fn check_reach(by: AskedBy<'_>, member: &Member, up: &Up, method: &str) -> Result<(), FleetError> {
    let AskedBy::Caller(caller) = by else { return Ok(()) };
    if !caller.is_for_tools() {
        return Ok(());
    }
    let session = &up.session;
    let offered = session.tools().offered(Some(&session.ready().methods));
    let usable: Vec<_> = offered.iter().filter(|tool| caller.may_use(&member.name, tool)).collect();
    if usable.iter().any(|tool| tool.method == method) {
        return Ok(());
    }
    let name = &member.name;
    let methods: Vec<&str> = usable.iter().map(|tool| tool.method.as_str()).collect();
    let offers = if methods.is_empty() { "nothing".to_owned() } else { methods.join(", ") };
    let detail = format!("`{name}` offers this token {offers}, not `{}`", escape(method));
    let how = "call a tool that GET /api/tools lists for the token, by its method";
    Err(PluginProblem::new(Code::MethodNotOffered, detail).with_how(how).into())
}

/// Refuses arguments that do not fit the tool, before the plugin sees them.
pub(crate) async fn check_arguments(
    fleet: &Fleet,
    member: &Member,
    tool: &Tool,
    (parameter, payload): (&str, &Payload),
    deadline: Instant,
) -> Result<(), FleetError> {
    let text = payload.as_str();
    let checked = match tool.input.check_at_once(text) {
        Some(checked) => checked,
        None => match timeout_at(deadline, check_in_turn(fleet, member, &tool.input, text)).await {
            Ok(checked) => checked?,
            Err(_elapsed) => {
                let detail = format!("the arguments for `{}` had no turn to be checked in time", member.name);
                return Err(PluginProblem::new(Code::PluginBusy, detail).retry_after(SOON).into());
            }
        },
    };
    let Err(mistakes) = checked else { return Ok(()) };
    let name = mcp_name(&member.name, &tool.name);
    let fields: Vec<FieldError> = mistakes
        .into_iter()
        .map(|mistake| FieldError { pointer: format!("/{parameter}{}", mistake.pointer), ..mistake })
        .collect();
    let detail = format!("the arguments do not fit the tool `{name}`: {}", first(&fields));
    let how = format!("send what the schema of `{name}` in GET /api/tools asks for");
    Err(PluginProblem::new(Code::ToolArgumentsInvalid, detail).with_how(how).with_fields(fields).into())
}

/// Refuses an answer that is not what the tool says that it answers.
pub(crate) async fn check_result(
    admission: &mut Admission,
    tool: &Tool,
    answer: &PluginAnswer,
    timeout: Duration,
) -> Result<(), FleetError> {
    let Some(schema) = &tool.output else { return Ok(()) };
    let text = answer.result.as_ref().map_or("null", |result| result.get());
    let (member, fleet, began) = admission.parts();
    let checked = match (schema.check_at_once(text), fleet) {
        (Some(checked), _) => checked,
        // The service is going down, and the plugin with it.
        (None, None) => return Ok(()),
        (None, Some(fleet)) => match timeout_at(began + timeout, check_in_turn(&fleet, &member, schema, text)).await {
            Ok(checked) => checked?,
            Err(_elapsed) => {
                let detail = format!("the result of `{}` had no turn to be checked in time", member.name);
                return Err(PluginProblem::new(Code::PluginTimeout, detail).of_call(admission.call).into());
            }
        },
    };
    let Err(fields) = checked else { return Ok(()) };
    let name = mcp_name(&member.name, &tool.name);
    let detail = format!("the result of the tool `{name}` does not fit its own `output`: {}", first(&fields));
    admission.misfit(&detail);
    let how = "return what `output` in plugin.yaml says, or correct it there";
    let problem = PluginProblem::new(Code::PluginProtocol, detail).with_how(how).with_fields(fields);
    Err(problem.of_call(admission.call).into())
}

fn first(fields: &[FieldError]) -> String {
    let told = fields.first().map(ToString::to_string).unwrap_or_default();
    if fields.len() > 1 { format!("{told} (and {} more)", fields.len() - 1) } else { told }
}

/// Checks on a thread of its own, when it is the plugin's turn.
async fn check_in_turn(
    fleet: &Fleet,
    member: &Member,
    schema: &ToolSchema,
    text: &str,
) -> Result<Result<(), Vec<FieldError>>, FleetError> {
    let (schema, text) = (schema.clone(), text.to_owned());
    checking(fleet, Checked::Call(&member.name), move || Ok(schema.check(&text))).await
}
