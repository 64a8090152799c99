//! What surrounds every request: its id, its span, the Host check, and headers that every answer carries.

use std::sync::Arc;
use std::time::Instant;

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, HeaderName, HeaderValue, UPGRADE, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpRequest, ResponseError};
use plugbay_domain::{Code, escape};
use plugbay_runtime::metrics::RouteMeter;
use tracing::{Instrument, debug, info_span};

use super::connections::Connection;
use super::error_form::ErrorForm;
use super::problem::Problem;
use super::request_id::{REQUEST_ID, RequestId};
use super::{App, body, fronts};

/// Tells every client that the service runs with `--insecure-dev`.
const INSECURE_DEV: HeaderName = HeaderName::from_static(plugbay_wire::INSECURE_DEV_HEADER);

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The caller's traceparent, if it has the right form.
pub(super) fn traceparent(request: &HttpRequest) -> Option<String> {
    let value = request.headers().get(&TRACEPARENT).filter(|value| is_traceparent(value))?;
    value.to_str().ok().map(str::to_owned)
}

/// Runs one request.
pub(super) async fn surround<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let id = RequestId::of(request.headers());
    let trace = request.headers().get(&TRACEPARENT).filter(|value| is_traceparent(value)).cloned();
    let span = info_span!("http.request", request.id = id.as_str());
    request.extensions_mut().insert(id.clone());
    let answer = async {
        let connection = request.conn_data::<Arc<Connection>>().cloned();
        if let Some(connection) = &connection {
            connection.begin();
        }
        let app = request.app_data::<Data<App>>().cloned();
        let mut response = match admit(&request) {
            Ok(()) => as_problem(next.call(request).await?.map_into_boxed_body()),
            Err(problem) => request.into_response(problem.error_response()),
        };
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if let Ok(value) = HeaderValue::from_str(id.as_str()) {
            headers.insert(REQUEST_ID, value);
        }
        if app.as_ref().is_some_and(|app| app.service.config().insecure_dev) {
            headers.insert(INSECURE_DEV, HeaderValue::from_static("true"));
        }
        if let Some(trace) = trace {
            headers.insert(TRACEPARENT, trace);
        }
        if let Some(form) = ErrorForm::of(response.request().path()) {
            response = fronts::errors::reshape(response, form);
        }
        if let Some(app) = &app {
            count(app, &response);
        }
        // An answer without a known length goes on for as long as there is something to say.
        let is_complete = !matches!(response.response().body().size(), BodySize::Stream);
        if let Some(connection) = connection.as_ref().filter(|_| is_complete) {
            connection.end();
        }
        if let Some(app) = &app {
            response = app.answers.count(response, connection.as_ref());
        }
        debug!(
            http.method = %response.request().method(),
            http.path = escape(response.request().path()),
            http.status = response.status().as_u16(),
            duration_us = started.elapsed().as_micros(),
            "Answered"
        );
        Ok(response)
    };
    id.clone().during(answer.instrument(span)).await
}

/// Counts an answer under its route, and what it refuses.
fn count(app: &App, response: &ServiceResponse) {
    let request = response.request();
    let route = request.app_data::<Arc<RouteMeter>>().unwrap_or(&app.meters.elsewhere);
    route.count(request.method().as_str(), response.status().as_u16());
    if let Some(code) = response.response().extensions().get::<Code>() {
        app.meters.refusals.of(*code).add_one();
    }
}

/// Looks at what every route has in common.
fn admit(request: &ServiceRequest) -> Result<(), Problem> {
    // The library takes all that follows such a head for its body; a proxy in front would go by Content-Length.
    if request.headers().contains_key(UPGRADE) && request.headers().contains_key(CONTENT_LENGTH) {
        return Err(Problem::new(
            Code::BadRequest,
            "a request with a body cannot ask for an upgrade of the connection",
        ));
    }
    request.app_data::<Data<App>>().map_or(Ok(()), |app| app.hosts.check(request.head()))
}

/// Turns errors of the libraries into problems.
fn as_problem(response: ServiceResponse) -> ServiceResponse {
    let status = response.status();
    let is_json = body::media_type(response.headers()).ends_with("json");
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let path = response.request().path();
    let problem = match status {
        StatusCode::NOT_FOUND => Problem::not_found(path),
        _ if status.is_client_error() => Problem::new(Code::BadRequest, "the request does not fit the address"),
        _ => Problem::new(Code::Internal, "the cause is in the service's log under this request id"),
    };
    response.into_response(problem.error_response())
}

/// Whether the header has the form of W3C trace context, version 00.
fn is_traceparent(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    let fields: Vec<&str> = text.split('-').collect();
    let hex = |field: &str, digits: usize| {
        field.len() == digits && field.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    matches!(fields[..], ["00", trace, parent, flags] if hex(trace, 32) && hex(parent, 16) && hex(flags, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparent_is_taken_over_in_its_exact_form_only() {
        let fits = |text: &'static str| is_traceparent(&HeaderValue::from_static(text));
        assert!(fits("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        assert!(!fits("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"));
        assert!(!fits("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        assert!(!fits("garbage"));
    }
}
