//! Who may call a route. The permit in a handler's signature names the scope that the route needs, and is checked
//! before a byte of the body is read.

use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures_util::future::{Either, LocalBoxFuture};
use plugbay_domain::{Code, Scope};
use plugbay_operations::ServiceError;
use plugbay_registry::Caller;

use super::body::is_empty;
use super::connections::Connection;
use super::error_form::ErrorForm;
use super::problem::Problem;
use super::request_id::RequestId;
use super::{App, body};

/// The key of Anthropic's clients.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A scope as a type.
pub(super) trait Need {
    /// The scope.
    const SCOPE: Scope;

    /// Whether the handler itself sees to it that a token for some tools calls no more than these.
    const KEEPS_TO_TOOLS: bool = false;
}

macro_rules! needs {
    ($($name:ident)*) => { $(
        /// Needs the scope of this name.
        #[derive(Debug)]
        pub(super) enum $name {}

        impl Need for $name {
            const SCOPE: Scope = Scope::$name;
        }
    )* };
}

needs! { Execute Chat Operate Install Approve Trust Audit Admin }

/// Needs the scope `read`, and calls no plugin.
#[derive(Debug)]
pub(super) enum Read {}

impl Need for Read {
    const SCOPE: Scope = Scope::Read;
    const KEEPS_TO_TOOLS: bool = true;
}

/// Needs the scope `execute` for a call of one method, which the fleet compares with the tools of the token.
#[derive(Debug)]
pub(super) enum CallMethod {}

impl Need for CallMethod {
    const SCOPE: Scope = Scope::Execute;
    const KEEPS_TO_TOOLS: bool = true;
}

/// A caller whose token has the scope `N`.
#[derive(Debug)]
pub(super) struct Permit<N>(pub(super) Caller, PhantomData<N>);

impl<N: Need> FromRequest for Permit<N> {
    type Error = Problem;
    type Future = Either<Ready<Result<Self, Problem>>, LocalBoxFuture<'static, Result<Self, Problem>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        match authenticate(request, N::SCOPE) {
            // Whoever is only too fast is known, and keeps the connection.
            Err(problem) if problem.code() == Code::RateLimited => {
                let (request, payload) = (request.clone(), web::Payload::from_request(request, payload));
                Either::Right(Box::pin(async move {
                    if let (Ok(payload), Some(app)) = (payload.await, request.app_data::<Data<App>>()) {
                        body::discard(&request, payload, app.service.config()).await;
                    }
                    Err(problem)
                }))
            }
            found => Either::Left(ready(found.and_then(|caller| {
                if !N::KEEPS_TO_TOOLS {
                    caller.require_every_method().map_err(ServiceError::from)?;
                }
                Ok(Self(caller, PhantomData))
            }))),
        }
    }
}

pub(super) fn authenticate(request: &HttpRequest, scope: Scope) -> Result<Caller, Problem> {
    let app =
        request.app_data::<Data<App>>().ok_or_else(|| Problem::new(Code::Internal, "the service is not there"))?;
    let secret = secret_of(request)?;
    let request_id = request.extensions().get::<RequestId>().map(|id| id.as_str().to_owned()).unwrap_or_default();
    let caller = app.service.tokens().authenticate(secret, &request_id, app.service.now())?;
    if let Some(connection) = request.conn_data::<Arc<Connection>>() {
        connection.show(caller.token);
    }
    // Only plugins that this process knows, which bounds the number of buckets.
    let called = super::called::plain_id(request.path()).and_then(|wanted| app.service.fleet().known_plugin(wanted));
    app.rates.admit(&caller, called)?;
    caller.require(scope).map_err(ServiceError::from)?;
    Ok(caller)
}

/// The token of a request. Clients of Anthropic's have a header of their own for it.
fn secret_of(request: &HttpRequest) -> Result<&str, ServiceError> {
    let headers = request.headers();
    let is_theirs = ErrorForm::of(request.path()) == Some(ErrorForm::Anthropic);
    let mut keys = headers.get_all(API_KEY).filter(|_| is_theirs && !headers.contains_key(AUTHORIZATION));
    match (keys.next(), keys.next()) {
        (Some(key), None) => key.to_str().map_err(|_not_text| ServiceError::TokenInvalid),
        (Some(_), Some(_)) => Err(ServiceError::TokenInvalid),
        (None, _) => bearer(headers),
    }
}

/// The token of exactly one Authorization header.
fn bearer(headers: &HeaderMap) -> Result<&str, ServiceError> {
    let mut values = headers.get_all(AUTHORIZATION);
    let value = values.next().ok_or(ServiceError::TokenMissing)?;
    let text = value.to_str().map_err(|_not_text| ServiceError::TokenInvalid)?;
    let (scheme, secret) = text.split_once(' ').ok_or(ServiceError::TokenInvalid)?;
    if values.next().is_some() || !scheme.eq_ignore_ascii_case("bearer") {
        return Err(ServiceError::TokenInvalid);
    }
    Ok(secret)
}

/// Refuses a body on a route that has none: whoever sent it expects something to be done with it.
#[derive(Debug)]
pub(super) struct NoBody;

impl FromRequest for NoBody {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(if is_empty(request.headers()) {
            Ok(Self)
        } else {
            Err(Problem::new(Code::BadRequest, "this route takes no body"))
        })
    }
}
