//! Errors in the form of the front that they go to: official clients read no other. It is done where all answers pass, so
//! that refusals made before a route was found have it, too.

use actix_web::HttpResponse;
use actix_web::body::MessageBody as _;
use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use plugbay_dialects::anthropic;
use plugbay_dialects::openai::ErrorBody;
use plugbay_domain::Code;
use plugbay_wire::ProblemBody;
use serde_json::Value;

use crate::error_form::ErrorForm;

/// Says that a second try would get the same answer. Official clients obey it.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Puts a problem into the form that clients read.
pub(crate) fn reshape(response: ServiceResponse, form: ErrorForm) -> ServiceResponse {
    let (request, response) = response.into_parts();
    let is_problem = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
    if !is_problem {
        return ServiceResponse::new(request, response);
    }
    let code = response.extensions().get::<Code>().copied();
    let (head, body) = response.into_parts();
    let read = body.try_into_bytes().ok().and_then(|bytes| serde_json::from_slice::<ProblemBody>(&bytes).ok());
    let (Some(problem), Some(code)) = (read, code) else {
        return ServiceResponse::new(request, head.set_body(actix_web::body::BoxBody::new("")));
    };
    let param = problem.errors.first().map(|field| field.pointer.clone());
    let error = match form {
        ErrorForm::OpenAi => body_of(code, &problem.detail, param).to_json(),
        // There is no place for the member but the text.
        ErrorForm::Anthropic if param.is_some() => {
            anthropic(code, &format!("{}: {}", param.unwrap_or_default(), problem.detail))
        }
        ErrorForm::Anthropic => anthropic(code, &problem.detail),
    };
    let status = status_of(code, head.status());
    let mut shaped = HttpResponse::build(status).json(error);
    for (name, value) in head.headers().iter().filter(|(name, _)| **name != CONTENT_TYPE && **name != CONTENT_LENGTH) {
        shaped.headers_mut().insert(name.clone(), value.clone());
    }
    if is_final(code) {
        shaped.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    shaped.extensions_mut().insert(code);
    ServiceResponse::new(request, shaped)
}

/// OpenAI's statuses, where they are others than ours.
fn status_of(code: Code, ours: StatusCode) -> StatusCode {
    match code {
        Code::ContentBlocked | Code::BackendRefused | Code::FieldInvalid | Code::UnknownField => {
            StatusCode::BAD_REQUEST
        }
        _ => ours,
    }
}

/// Whether a client that tries again by itself gets the same answer.
fn is_final(code: Code) -> bool {
    matches!(code, Code::PluginStopping | Code::BodyTooSlow)
}

/// An error in Anthropic's form.
pub(crate) fn anthropic(code: Code, detail: &str) -> Value {
    use plugbay_domain::ErrorKind as Kind;
    let kind = match code.kind() {
        Kind::Unauthenticated => "authentication_error",
        Kind::Forbidden => "permission_error",
        Kind::NotFound => "not_found_error",
        Kind::TooLarge => "request_too_large",
        Kind::RateLimited => "rate_limit_error",
        Kind::Unavailable => "overloaded_error",
        Kind::BadGateway | Kind::GatewayTimeout | Kind::StorageFull | Kind::Internal => "api_error",
        _ => "invalid_request_error",
    };
    // Programs look for ours, too: theirs tell less.
    anthropic::error(kind, &format!("{detail} ({})", code.as_str()))
}

/// OpenAI's word where it has one, else ours.
pub(crate) fn body_of(code: Code, detail: &str, param: Option<String>) -> ErrorBody {
    use plugbay_domain::ErrorKind as Kind;
    let word = match code {
        Code::ContentBlocked => "content_filter",
        Code::ModelUnknown => "model_not_found",
        Code::RateLimited => "rate_limit_exceeded",
        Code::TokenMissing | Code::TokenInvalid => "invalid_api_key",
        other => other.as_str(),
    };
    let kind = match code.kind() {
        Kind::Unauthenticated => "authentication_error",
        Kind::Forbidden => "permission_error",
        Kind::RateLimited => "rate_limit_error",
        Kind::Unavailable | Kind::BadGateway | Kind::GatewayTimeout | Kind::StorageFull | Kind::Internal => {
            "server_error"
        }
        _ => "invalid_request_error",
    };
    ErrorBody { message: detail.to_owned(), kind, param, code: Some(word.to_owned()) }
}
