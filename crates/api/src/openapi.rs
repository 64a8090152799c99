//! The OpenAPI document, generated from the handlers and committed as `openapi/plugbay.json`.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use plugbay_domain::Code;
use plugbay_wire::{AnthropicError, FieldProblem, OpenAiError, ProblemBody, ProgressEvent, StatusFilter, ToolForm};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, ObjectBuilder, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder, Schema, Type,
};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};

use super::{
    audit, chat, config, execute, fronts, install, keys, metrics, permissions, plugins, problems, running, scans,
    system, tokens, tools, update, vocabulary,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "plugbay",
        description = "Runs signed plugins that nobody should have to trust. Every error is a problem (RFC 9457) \
                       whose `code` is stable and whose `how` says what to do.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        system::healthz, system::health, system::readyz, system::system, system::backup,
        metrics::metrics,
        problems::show,
        plugins::list, install::install, plugins::show, plugins::uninstall, plugins::manifest, plugins::versions,
        update::update,
        update::rollback,
        running::enable, running::disable, running::reset_breaker, execute::execute, running::limits, running::set_limits, running::health,
        running::stats, running::metrics, running::calls, running::logs, running::sandbox, running::plan,
        running::events,
        config::show, config::replace, config::unset, config::validate,
        scans::show, scans::again, scans::import, permissions::show, permissions::approve, permissions::revoke,
        chat::conversations, chat::begin, chat::messages, chat::post,
        fronts::chat::chat, fronts::openai::complete, fronts::openai::models, fronts::openai::model,
        fronts::anthropic::create, fronts::anthropic::count,
        fronts::chat::exchanges, fronts::chat::exchange,
        fronts::listed::plugins, fronts::listed::metrics,
        keys::list, keys::add, keys::revoke,
        tokens::list, tokens::create, tokens::revoke, tools::list,
        audit::list, audit::verify,
    ),
    components(schemas(ProblemBody, FieldProblem, OpenAiError, AnthropicError, ProgressEvent, StatusFilter, ToolForm)),
    tags(
        (name = "plugins", description = "Install, look up, update, uninstall"),
        (name = "running", description = "Enable, call, watch, disable"),
        (name = "configuration", description = "What operators set for plugins"),
        (name = "permissions", description = "What plugins may do to others, and who decided it"),
        (name = "chat", description = "Messages, and what plugins say about them"),
        (name = "models", description = "Models, asked by way of plugins"),
        (name = "keys", description = "Signing keys the operator trusts"),
        (name = "tools", description = "What models and other programs may call"),
        (name = "tokens", description = "Who may call"),
        (name = "audit", description = "What was done, in a chain that shows any change"),
        (name = "system", description = "The service itself"),
    ),
    security(("token" = [])),
    modifiers(&Additions),
)]
struct Api;

/// What the attributes cannot say.
struct Additions;

impl Modify for Additions {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let token = SecurityScheme::Http(Http::builder().scheme(HttpAuthScheme::Bearer).bearer_format("pbt_…").build());
        components.add_security_scheme("token", token);
        // A client can switch over every code there is.
        let codes = Code::ALL.iter().map(|code| code.as_str());
        let codes =
            ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes)).description(Some("Stable code"));
        if let Some(RefOr::T(Schema::Object(problem))) = components.schemas.get_mut("ProblemBody") {
            problem.properties.insert("code".to_owned(), RefOr::T(Schema::Object(codes.build())));
        }
        vocabulary::add(components);
    }
}

/// The document.
pub fn document() -> Document {
    Api::openapi()
}

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident: $($status:literal)*;)*) => { $(
        $(#[$doc])*
        #[derive(Debug)]
        pub(super) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                [$($status),*].into_iter().map(problem).collect()
            }
        }
    )* };
}

problems! {
    /// What every route may answer.
    OpenProblems: 400 421;
    /// What a page that everybody may read may answer.
    PageProblems: 400 404 421;
    /// What a route that only looks may answer.
    LookProblems: 400 401 403 404 421 429 500 503;
    /// What a route that changes something without a body may answer.
    ChangeProblems: 400 401 403 404 409 421 422 429 500 503 507;
    /// What a route that takes JSON may answer.
    SendProblems: 400 401 403 404 408 409 413 415 421 422 429 500 503 507;
    /// What a route with `If-Match` may answer.
    ConditionProblems: 400 401 403 404 408 409 412 413 415 421 422 428 429 500 503 507;
    /// What a route that starts, stops or calls a plugin may answer.
    RunProblems: 400 401 403 404 408 409 413 415 421 422 429 500 502 503 504 507;
    /// What a route that takes an archive may answer.
    UploadProblems: 400 401 403 404 408 409 413 415 421 422 429 500 502 503 504 507;
}

/// The same in a form that clients of others read.
#[derive(Debug)]
pub(super) struct As<F, T>(PhantomData<(F, T)>);

/// In OpenAI's.
pub(super) type AsOpenAi<T> = As<OpenAiError, T>;

/// In Anthropic's.
pub(super) type AsAnthropic<T> = As<AnthropicError, T>;

impl<F: ToSchema, T: IntoResponses> IntoResponses for As<F, T> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let status = |status: String| status.parse().unwrap_or_default();
        T::responses().into_keys().map(|key| refusal(status(key), "application/json", &F::name())).collect()
    }
}

fn problem(status: u16) -> (String, RefOr<Response>) {
    refusal(status, "application/problem+json", "ProblemBody")
}

fn refusal(status: u16, media_type: &str, schema: &str) -> (String, RefOr<Response>) {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
    let response = ResponseBuilder::new().description(meaning(status)).content(media_type, body).build();
    (status.to_string(), RefOr::T(response))
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "The request cannot be read",
        401 => "A valid token is needed",
        403 => "The token does not allow it",
        404 => "There is no such thing",
        408 => "The body arrived too slowly",
        409 => "It does not fit the present state",
        412 => "It was changed meanwhile",
        413 => "Too large",
        415 => "The media type is not accepted",
        421 => "The Host header names another host",
        422 => "Read, understood and refused",
        428 => "If-Match is needed",
        429 => "Too many requests; see Retry-After",
        500 => "A fault of plugbay's",
        502 => "Another server did not answer as it should",
        503 => "Try again later; see Retry-After",
        504 => "Another server did not answer in time",
        _ => "The disk is full",
    }
}
