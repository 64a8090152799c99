//! The service itself: alive, ready, what it is.

use std::collections::BTreeMap;

use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_DISPOSITION};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use plugbay_domain::{Chain, Code, Isolation, PluginName, PluginState, PluginStatus, Scope, SignaturePolicy};
use plugbay_fleet::{EngineState, volumes};
use plugbay_operations as operations;
use plugbay_operations::{BackupStream, EngineInfo, EngineReport, MissingLibraries};
use plugbay_registry::Caller;
use plugbay_wire::{Check, Health, HealthWord, PluginHealth, Readiness, System};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, Object, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use super::openapi::{ChangeProblems, LookProblems, OpenProblems};
use super::permit::{Admin, NoBody, Permit, Read, authenticate};
use super::problem::Problem;
use super::{App, body, view};

/// Tells that the process answers.
#[utoipa::path(get, path = "/healthz", operation_id = "checkAlive", tag = "system", security(()),
    responses((status = 200, description = "It answers", body = String, content_type = "text/plain"), OpenProblems))]
pub(super) async fn healthz(_body: NoBody) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// Tells how the service and the enabled plugins are. Without a token plugins are told only where nothing but this machine
/// can connect; a token for some plugins sees those.
#[utoipa::path(get, path = "/health", operation_id = "showHealth", tag = "system", security((), ("token" = [])),
    responses((status = 200, description = "How it is", body = Health), LookProblems))]
pub(super) async fn health(request: HttpRequest, _body: NoBody, app: Data<App>) -> Result<HttpResponse, Problem> {
    let has_token = request.headers().contains_key(AUTHORIZATION);
    let caller = if has_token { Some(authenticate(&request, Scope::Read)?) } else { None };
    let is_told = |name: &PluginName| caller.as_ref().map_or(app.is_local, |caller| caller.may_see(name));
    let ready = checks(&app).await.iter().all(|check| check.ok);
    let status = if ready { "healthy" } else { "degraded" };
    let enabled = operations::plugins_by_status(&app.service, PluginStatus::Enabled).await.unwrap_or_default();
    let unloaded = || PluginHealth { state: PluginState::Unloaded.to_string(), health: None };
    let mut plugins: BTreeMap<_, _> =
        enabled.into_iter().filter(&is_told).map(|name| (name.to_string(), unloaded())).collect();
    for (name, state, report) in operations::plugins_health(&app.service).into_iter().filter(|(name, ..)| is_told(name))
    {
        let health = report.map(|report| HealthWord { status: view::word(&report.health).to_owned() });
        plugins.insert(name.to_string(), PluginHealth { state: state.to_string(), health });
    }
    Ok(HttpResponse::Ok().json(Health { status: status.to_owned(), timestamp: app.service.now().to_string(), plugins }))
}

/// Tells whether the service can do its work, and what is missing.
#[utoipa::path(get, path = "/readyz", operation_id = "checkReady", tag = "system", security(()),
    responses((status = 200, description = "It can", body = Readiness),
        (status = 503, description = "Something is missing", body = Readiness), OpenProblems))]
pub(super) async fn readyz(_body: NoBody, app: Data<App>) -> HttpResponse {
    let checks = checks(&app).await;
    let ready = checks.iter().all(|check| check.ok);
    let checks = checks.into_iter().map(|check| (check.check, if check.ok { "ok".to_owned() } else { check.detail }));
    let body = Readiness { ready, checks: checks.collect() };
    if ready { HttpResponse::Ok().json(body) } else { HttpResponse::ServiceUnavailable().json(body) }
}

/// Tells what is running here.
#[utoipa::path(get, path = "/api/system", operation_id = "showSystem", tag = "system",
    responses((status = 200, description = "What is running", body = System), LookProblems))]
pub(super) async fn system(permit: Permit<Read>, _body: NoBody, app: Data<App>) -> HttpResponse {
    let config = app.service.config();
    HttpResponse::Ok().json(System {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        engine: app.service.fleet().engine_name().to_owned(),
        isolation: app.service.fleet().isolation().map(|isolation| isolation.to_string()),
        insecure_dev: config.insecure_dev,
        signatures: match config.security.signatures {
            SignaturePolicy::Required => "required".to_owned(),
            SignaturePolicy::Off => "off".to_owned(),
        },
        upload_mb: Some(config.limits.upload_bytes / body::MEBIBYTE),
        started_at: app.service.started_at().to_string(),
        doctor: {
            let mut doctor = checks(&app).await;
            doctor.extend(engines(&app).await);
            doctor.extend(ending_grants(&app, &permit.0).await);
            doctor.extend(shared_databases(&app));
            doctor.extend(absent_libraries(&app));
            doctor.extend(changed_rows(&app, &permit.0));
            doctor
        },
    })
}

/// What each engine can do here. Only the one in use is needed, and that is a check of its own.
async fn engines(app: &App) -> Vec<Check> {
    let check = |report: EngineReport| {
        let check = report.isolation.to_string();
        match report.found {
            Ok(info) => Check { check, ok: true, detail: engine_text(&info), how: None },
            Err((detail, how)) => Check { check, ok: false, detail, how: Some(how) },
        }
    };
    operations::examine_engines(&app.service).await.into_iter().map(check).collect()
}

fn engine_text(info: &EngineInfo) -> String {
    match info.cgroup_version {
        0 => format!("{}, without cgroups: nothing limits memory and processes", info.name),
        version => format!("{}, cgroup v{version}", info.name),
    }
}

/// The bytes of a tar, for the description alone.
pub(super) enum Archive {}

impl PartialSchema for Archive {
    fn schema() -> RefOr<Schema> {
        let binary = SchemaFormat::KnownFormat(KnownFormat::Binary);
        Object::builder().schema_type(Type::String).format(Some(binary)).into()
    }
}

impl ToSchema for Archive {}

/// Streams a backup: everything but keys and tokens, consistent, as a tar. One at a time.
#[utoipa::path(post, path = "/api/system/backup", operation_id = "createBackup", tag = "system",
    responses((status = 200, description = "The backup; complete when its last entry is manifest.json",
        body = inline(Archive), content_type = "application/x-tar"),
        ChangeProblems))]
pub(super) async fn backup(permit: Permit<Admin>, _body: NoBody, app: Data<App>) -> Result<HttpResponse, Problem> {
    let BackupStream { file_name, pieces } = operations::begin_backup(&app.service, &permit.0).await?;
    let pieces = futures_util::stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((piece, pieces))
    });
    Ok(HttpResponse::Ok()
        .content_type("application/x-tar")
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{file_name}\"")))
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(pieces))
}

/// Grants that end soon. Nothing is missing yet, so the check is fine and says what is to be done.
async fn ending_grants(app: &App, caller: &Caller) -> Option<Check> {
    let ends = operations::grants_that_end_soon(&app.service, caller).await.unwrap_or_default();
    let how = Some("approve them again to keep them: plugbay approve NAME".to_owned());
    (!ends.is_empty()).then(|| Check { check: "grants".to_owned(), ok: true, detail: ends.join("; "), how })
}

/// Databases that plugins and their owner hinder each other at. They work all the same.
fn shared_databases(app: &App) -> Option<Check> {
    let notices = operations::database_notices(&app.service);
    let how = Some("set it with the owner's program, once: sqlite3 FILE 'PRAGMA journal_mode = WAL'".to_owned());
    (!notices.is_empty()).then(|| Check { check: "databases".to_owned(), ok: true, detail: notices.join("; "), how })
}

/// Libraries of the machine that the process engine's plugins look for. Most of them need none.
fn absent_libraries(app: &App) -> Option<Check> {
    let is_process = app.service.fleet().isolation() == Some(Isolation::Process);
    let missing = is_process.then(MissingLibraries::find).flatten();
    let how = Some(MissingLibraries::HOW.to_owned());
    missing.map(|missing| Check { check: "libraries".to_owned(), ok: true, detail: missing.to_string(), how })
}

/// Rows that were not written by the service, found when it started. They may name plugins that the token is not for.
fn changed_rows(app: &App, caller: &Caller) -> Option<Check> {
    let how = Some("look at what changed them, and at `plugbay audit verify`; restore a backup from before".to_owned());
    let found = operations::audit_found(&app.service)?;
    let detail = if caller.plugins.is_none() { found } else { "rows were changed from outside".to_owned() };
    Some(Check { check: "audit".to_owned(), ok: false, detail, how })
}

/// What the service needs, and whether it is there.
async fn checks(app: &App) -> Vec<Check> {
    let check = |name: &str, result: Result<String, String>| Check {
        check: name.to_owned(),
        ok: result.is_ok(),
        detail: result.unwrap_or_else(|text| text),
        how: None,
    };
    let engine = match app.service.fleet().engine_state() {
        EngineState::Up(info) => Check { check: "engine".to_owned(), ok: true, detail: engine_text(&info), how: None },
        EngineState::Away { text, how, .. } => {
            Check { check: "engine".to_owned(), ok: false, detail: text, how: Some(how) }
        }
        EngineState::Unknown => {
            let detail = "the engine has not answered yet".to_owned();
            Check { check: "engine".to_owned(), ok: false, detail, how: None }
        }
    };
    let service = &app.service;
    let database = operations::check_database(service).await;
    let needed = operations::needed_mb(service);
    let disk = operations::free_mb(service).map_err(|error| Chain(&error).to_string()).and_then(|free| {
        let text = format!("{free} MiB free");
        if free >= needed { Ok(text) } else { Err(format!("{text}; installs need {needed} MiB: free some space")) }
    });
    let verified = if service.fleet().is_verified() {
        Ok("stored plugins are verified".to_owned())
    } else {
        Err("stored plugins are being verified; wait a moment".to_owned())
    };
    let data_quota = volumes::check_data_quota(service.fleet()).await;
    let how = data_quota.is_err().then(|| Code::HardQuotaMissing.how().to_owned());
    let data_quota = Check { how, ..check("data", data_quota) };
    vec![
        check("database", database.map(|()| "answers".to_owned()).map_err(|error| Chain(&error).to_string())),
        check("disk", disk),
        check("packages", verified),
        data_quota,
        engine,
    ]
}
