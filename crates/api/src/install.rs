//! Install: an archive as a multipart upload, or the address of one as JSON.

use std::sync::Arc;

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt;
use plugbay_domain::{Chain, Code, Digest, ErrorKind, FieldError, TokenId, escape};
use plugbay_operations as operations;
use plugbay_operations::{Begun, Download, IdempotencyKey, Incoming, Remember, Service, ServiceError, Staging, Upload};
use plugbay_registry::Caller;
use plugbay_wire::{InstallFromUrl, Installed};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{BodyLimits, Paced};
use super::openapi::UploadProblems;
use super::permit::{Install, Permit};
use super::problem::Problem;
use super::{App, body, view};

/// Longest `signature` and `sha256` part.
const MAX_TEXT_BYTES: usize = 4096;

/// Bytes of a multipart body beside the archive.
const OVERHEAD_BYTES: u64 = 64 * 1024;

/// Longest boundary of a multipart body, as RFC 2046 has it.
const MAX_BOUNDARY_BYTES: usize = 70;

/// Longest Idempotency-Key.
const MAX_KEY_BYTES: usize = 255;

/// The parts of an upload.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the multipart body in the OpenAPI document")]
pub(super) struct UploadForm {
    /// The archive, .tar.gz or .zip.
    #[schema(format = Binary, content_media_type = "application/octet-stream", value_type = String)]
    file: Vec<u8>,
    /// Its .minisig file.
    #[schema(nullable = false)]
    signature: Option<String>,
    /// The sha256 it must have.
    #[schema(nullable = false)]
    sha256: Option<String>,
}

/// Installs a plugin.
#[utoipa::path(post, path = "/api/plugins/install", operation_id = "installPlugin", tag = "plugins",
    params(("Idempotency-Key" = Option<String>, Header, description = "Repeating the request with the same key gives the first answer again")),
    request_body(content((UploadForm = "multipart/form-data"), (InstallFromUrl = "application/json"))),
    responses((status = 201, description = "It is installed", body = Installed), UploadProblems))]
pub(super) async fn install(
    permit: Permit<Install>,
    app: Data<App>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let caller = permit.0;
    carry_out(&app, &caller.clone(), &request, payload, StatusCode::CREATED, move |service, incoming| async move {
        Ok(view::installed(&operations::install(&service, &caller, incoming).await?))
    })
    .await
}

/// Takes in an archive, does with it what the route is for, to the end, and answers a repeated request alike.
pub(super) async fn carry_out<B, F, Fut>(
    app: &App,
    caller: &Caller,
    request: &HttpRequest,
    payload: Payload,
    status: StatusCode,
    change: F,
) -> Result<HttpResponse, Problem>
where
    B: Serialize + Send + Sync,
    F: FnOnce(Arc<Service>, Incoming) -> Fut + Send + 'static,
    Fut: Future<Output = Result<B, ServiceError>> + Send,
{
    let incoming = receive(&app.service, caller, request, payload).await?;
    let remember = match once(&app.service, caller, request, &incoming).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::Run(remember) => remember,
    };
    let service = Arc::clone(&app.service);
    let change = async move {
        let body = change(Arc::clone(&service), incoming).await?;
        answer(&service, remember, status.as_u16(), &body).await
    };
    let body = app.service.to_the_end("package", change).await?;
    Ok(HttpResponse::build(status).content_type("application/json").body(body))
}

/// Writes an answer, and remembers it if the request has a key.
async fn answer(
    service: &Service,
    remember: Option<Remember>,
    status: u16,
    body: &impl Serialize,
) -> Result<String, ServiceError> {
    let body = serde_json::to_string(body)
        .map_err(|error| ServiceError::File { action: "write the answer".to_owned(), source: error.into() })?;
    if let Some(remember) = remember {
        // The change is made: an error here would tell the caller that it was not.
        if let Err(error) = operations::remember(service, remember, status, body.clone()).await {
            tracing::error!(error = %Chain(&error), "Failed to remember an answer for its Idempotency-Key");
        }
    }
    Ok(body)
}

/// What to do with a request that may have been sent before.
enum Once {
    /// Give the first answer again.
    Replay(HttpResponse),
    /// Carry it out.
    Run(Option<Remember>),
}

/// Looks for an Idempotency-Key and for the answer given under it.
async fn once(service: &Service, caller: &Caller, request: &HttpRequest, incoming: &Incoming) -> Result<Once, Problem> {
    let Some(value) = request.headers().get("Idempotency-Key") else { return Ok(Once::Run(None)) };
    let key = value.to_str().ok().filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len()));
    let key = key.ok_or_else(|| {
        Problem::new(Code::BadRequest, format!("expected an Idempotency-Key of 1 to {MAX_KEY_BYTES} ASCII characters"))
    })?;
    let key = idempotency_key(caller.token, request, key);
    let fingerprint = format!("{}?{}", incoming.fingerprint(), request.query_string());
    match operations::begin_once(service, key, fingerprint).await? {
        Begun::Fresh(remember) => Ok(Once::Run(Some(remember))),
        Begun::Replay(answer) => {
            let status = actix_web::http::StatusCode::from_u16(answer.status)
                .map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
            Ok(Once::Replay(HttpResponse::build(status).content_type("application/json").body(answer.body)))
        }
    }
}

fn idempotency_key(token: TokenId, request: &HttpRequest, key: &str) -> IdempotencyKey {
    IdempotencyKey { token, route: format!("{} {}", request.method(), request.path()), key: key.to_owned() }
}

/// Takes in an archive: uploaded, or fetched from where the request says. One that is refused for what it is, not for
/// how the request is written, is reported in the audit log as every refused install is.
async fn receive(
    service: &Arc<Service>,
    caller: &Caller,
    request: &HttpRequest,
    payload: Payload,
) -> Result<Incoming, Problem> {
    let received = take_in(service, request, payload).await;
    if let Err(problem) = &received
        && matches!(problem.code().kind(), ErrorKind::TooLarge | ErrorKind::Refused)
    {
        operations::record_refused_upload(service, caller, problem.code(), problem.detail()).await;
    }
    received
}

async fn take_in(service: &Arc<Service>, request: &HttpRequest, payload: Payload) -> Result<Incoming, Problem> {
    match body::media_type(request.headers()).as_str() {
        "multipart/form-data" => receive_upload(service, request, payload).await,
        "application/json" => {
            let wanted: InstallFromUrl = body::json(request, payload, service.config()).await?;
            let expected = wanted.sha256.as_deref().map(parse_digest).transpose()?;
            let download = Download { url: wanted.url, signature_url: wanted.signature_url, expected };
            Ok(operations::download(service, &download).await?)
        }
        found => Err(Problem::new(
            Code::UnsupportedMediaType,
            format!("expected multipart/form-data or application/json, found `{}`", escape(found)),
        )),
    }
}

async fn receive_upload(service: &Arc<Service>, request: &HttpRequest, payload: Payload) -> Result<Incoming, Problem> {
    let limits = BodyLimits::of_archive(service.config(), OVERHEAD_BYTES);
    let stream = Paced::new(request, payload, limits)?;
    check_boundary(request.headers())?;
    let staging = operations::stage(service)?;
    let mut parts = Parts::default();
    let mut multipart = Multipart::new(request.headers(), stream);
    while let Some(field) = multipart.next().await {
        let field = field.map_err(|error| malformed(&error, &limits))?;
        parts.take(service, &staging, field, &limits).await?;
    }
    let upload = parts.file.ok_or_else(|| Problem::new(Code::BadRequest, "the part `file` is missing"))?;
    let expected = parts.sha256.as_deref().map(parse_digest).transpose()?;
    Ok(Incoming::new(staging, upload, parts.signature, expected))
}

/// Every chunk is searched for the boundary, so a long one would make a small body costly.
fn check_boundary(headers: &HeaderMap) -> Result<(), Problem> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let fields = value.split(';').filter_map(|field| field.trim().split_once('='));
    let longest = fields.map(|(_, boundary)| boundary.trim_matches('"').len()).max().unwrap_or_default();
    if longest > MAX_BOUNDARY_BYTES {
        let detail = format!("the boundary of the multipart body has more than {MAX_BOUNDARY_BYTES} characters");
        return Err(Problem::new(Code::BadRequest, detail));
    }
    Ok(())
}

/// The parts seen so far.
#[derive(Default)]
struct Parts {
    file: Option<Upload>,
    signature: Option<String>,
    sha256: Option<String>,
}

impl Parts {
    async fn take(
        &mut self,
        service: &Service,
        staging: &Staging,
        field: Field,
        limits: &BodyLimits,
    ) -> Result<(), Problem> {
        // Part names decide; file names and media types of the parts are not believed.
        let name = field.name().unwrap_or_default().to_owned();
        let repeated = match name.as_str() {
            "file" => self.file.is_some(),
            "signature" => self.signature.is_some(),
            "sha256" => self.sha256.is_some(),
            "" => return Err(Problem::new(Code::BadRequest, "a part of the body has no name")),
            other => {
                let detail = format!("unknown part `{}`; expected file, signature, sha256", escape(other));
                return Err(Problem::new(Code::UnknownField, detail));
            }
        };
        if repeated {
            return Err(Problem::new(Code::BadRequest, format!("the part `{name}` is repeated")));
        }
        match name.as_str() {
            "file" => self.file = Some(read_file(service, staging, field, limits).await?),
            "signature" => self.signature = Some(read_text(field, limits).await?),
            _ => self.sha256 = Some(read_text(field, limits).await?),
        }
        Ok(())
    }
}

async fn read_file(
    service: &Service,
    staging: &Staging,
    mut field: Field,
    limits: &BodyLimits,
) -> Result<Upload, Problem> {
    let mut writer = operations::start_upload(service, staging)?;
    while let Some(chunk) = field.next().await {
        writer.write(chunk.map_err(|error| malformed(&error, limits))?).await?;
    }
    Ok(writer.finish().await?)
}

async fn read_text(mut field: Field, limits: &BodyLimits) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.next().await {
        bytes.extend_from_slice(&chunk.map_err(|error| malformed(&error, limits))?);
        if bytes.len() > MAX_TEXT_BYTES {
            let detail = format!("`signature` and `sha256` have at most {MAX_TEXT_BYTES} bytes");
            return Err(Problem::new(Code::BodyTooLarge, detail));
        }
    }
    String::from_utf8(bytes).map_err(|_not_utf8| Problem::new(Code::BadRequest, "a text part is not UTF-8"))
}

fn malformed(error: &MultipartError, limits: &BodyLimits) -> Problem {
    match error {
        MultipartError::Payload(error) => body::broken(error, limits),
        error => Problem::new(Code::BadRequest, format!("the multipart body is malformed: {error}")),
    }
}

fn parse_digest(text: &str) -> Result<Digest, Problem> {
    text.trim().parse().map_err(|error: plugbay_domain::DigestError| {
        Problem::fields(vec![FieldError::at("/sha256", error.to_string())])
    })
}
