//! Errors as RFC 9457 problems: the one place that knows HTTP status codes.

use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONNECTION, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use plugbay_domain::{Chain, Code, ErrorKind, FieldError, Refusal, escape};
use plugbay_fleet::FleetError;
use plugbay_fleet::PluginProblem;
use plugbay_operations::ServiceError;
use plugbay_wire::{FieldProblem, ProblemBody};
use tracing::error;

use super::request_id;

/// Seconds a caller is asked to wait where nothing better is known.
const RETRY_SECONDS: u64 = 1;

/// An error on its way to the caller.
#[derive(Debug)]
pub(crate) struct Problem {
    code: Code,
    detail: String,
    how: Option<String>,
    errors: Vec<FieldError>,
    retry_after: Option<u64>,
    plugin: Option<Box<PluginProblem>>,
    allow: Option<&'static str>,
}

impl Problem {
    /// The same with a more exact way out.
    pub(super) fn with_how(self, how: impl Into<String>) -> Self {
        Self { how: Some(how.into()), ..self }
    }

    /// A problem with its own words.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            how: None,
            errors: Vec::new(),
            retry_after: None,
            plugin: None,
            allow: None,
        }
    }

    /// Nothing is at this address.
    pub(crate) fn not_found(path: &str) -> Self {
        Self::new(Code::NotFound, format!("there is nothing at `{}`", escape(path)))
    }

    /// The address exists, the method does not.
    pub(crate) fn method_not_allowed(method: &str, allow: &'static str) -> Self {
        let detail = format!("`{}` is not allowed here; expected one of {allow}", escape(method));
        Self { allow: Some(allow), ..Self::new(Code::MethodNotAllowed, detail) }
    }

    /// The caller is too fast.
    pub(crate) fn rate_limited(wait_seconds: u64, per_second: u32, is_call: bool) -> Self {
        let what = if is_call { "calls of one plugin" } else { "requests" };
        let detail = format!("the token may send {per_second} {what} per second");
        Self { retry_after: Some(wait_seconds.max(1)), ..Self::new(Code::RateLimited, detail) }
    }

    /// Single values are wrong.
    pub(crate) fn fields(errors: Vec<FieldError>) -> Self {
        Self { errors, ..Self::new(Code::FieldInvalid, "the request has values that are not accepted") }
    }

    /// The same about one value.
    pub(super) fn about(mut self, error: FieldError) -> Self {
        self.errors.push(error);
        self
    }

    /// The same with when to try again, where that is known.
    pub(super) fn retry_after(mut self, wait: Option<Duration>) -> Self {
        if let Some(wait) = wait {
            self.retry_after = Some(wait.as_secs().max(RETRY_SECONDS));
        } else if self.code.kind() == ErrorKind::Unavailable {
            self.retry_after = Some(RETRY_SECONDS);
        }
        self
    }

    /// Its code.
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// What happened this time.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The status of a code.
    pub(super) fn status_of(code: Code) -> StatusCode {
        match code.kind() {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorKind::Forbidden => StatusCode::FORBIDDEN,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ErrorKind::TooSlow => StatusCode::REQUEST_TIMEOUT,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorKind::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            ErrorKind::Refused => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
            ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::BadGateway => StatusCode::BAD_GATEWAY,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
            ErrorKind::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn body(&self) -> ProblemBody {
        self.body_of(&request_id::current_id())
    }

    /// The body for the request of this id.
    pub(super) fn body_of(&self, instance: &str) -> ProblemBody {
        let plugin = self.plugin.as_deref();
        ProblemBody {
            kind: format!("/problems/{}", self.code),
            title: self.code.title().to_owned(),
            status: self.status_code().as_u16(),
            detail: self.detail.clone(),
            instance: instance.to_owned(),
            code: self.code.to_string(),
            how: self.how.clone().unwrap_or_else(|| self.code.how().to_owned()),
            errors: self.errors.iter().map(FieldProblem::from).collect(),
            call_id: plugin.and_then(|plugin| plugin.call).map(|call| call.to_string()),
            reason: plugin.and_then(|plugin| plugin.reason).map(str::to_owned),
            exit_code: plugin.and_then(|plugin| plugin.exit_code),
            signal: plugin.and_then(|plugin| plugin.signal),
            log_tail: plugin.map(|plugin| plugin.log_tail.clone()).filter(|tail| !tail.is_empty()),
        }
    }
}

impl From<FleetError> for Problem {
    fn from(error: FleetError) -> Self {
        ServiceError::from(error).into()
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let code = error.code();
        if code.kind() == ErrorKind::Internal {
            // The cause may name paths and rows that are none of the caller's business.
            error!(code = %code, error = %Chain(&error), "Request failed: {code}");
            return Self::new(code, "the cause is in the service's log under this request id");
        }
        let problem = Self {
            how: error.how(),
            errors: error.fields().to_vec(),
            retry_after: (code.kind() == ErrorKind::Unavailable).then_some(RETRY_SECONDS),
            ..Self::new(code, Chain(&error).to_string())
        };
        match error.into_plugin() {
            Some(plugin) => {
                let wait = plugin.retry_after.map(|wait| wait.as_secs().max(RETRY_SECONDS));
                Self { retry_after: wait.or(problem.retry_after), plugin: Some(plugin), ..problem }
            }
            None => problem,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        Self::status_of(self.code)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if let Some(seconds) = self.retry_after {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if let Some(allow) = self.allow {
            response.insert_header((ALLOW, HeaderValue::from_static(allow)));
        }
        if self.code.kind() == ErrorKind::Unauthenticated {
            response.insert_header(("WWW-Authenticate", "Bearer"));
        }
        if matches!(self.code.kind(), ErrorKind::TooLarge | ErrorKind::TooSlow | ErrorKind::Invalid) {
            // What is left of the body would be taken for the next request.
            response.insert_header((CONNECTION, HeaderValue::from_static("close")));
        }
        let mut response = response.content_type("application/problem+json").json(self.body());
        // It is counted where all answers pass.
        response.extensions_mut().insert(self.code);
        response
    }
}
