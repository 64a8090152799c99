//! The table of routes.

use actix_web::web::{ServiceConfig, delete, get, post, put};
use actix_web::{HttpRequest, HttpResponse, Resource, Route, guard, web};
use plugbay_runtime::metrics::HttpMeters;

use super::problem::Problem;
use super::{
    audit, called, chat, config, docs, execute, fronts, install, keys, metrics, pages, permissions, plugins, problems,
    running, scans, system, tokens, tools, update,
};

/// The address that nearly all requests are for.
const EXECUTE: &str = "/api/plugins/{id}/execute";

/// Adds every route.
pub(super) fn configure(config: &mut ServiceConfig, meters: &HttpMeters) {
    let at = |path, allow| at(path, allow).app_data(meters.route(path));
    config
        // Below, addresses are tried one after the other, each with a regular expression, which would take a tenth of a
        // call.
        .service(
            web::scope("/api/plugins")
                .guard(guard::Post())
                .guard(guard::fn_guard(|request| called::plain_id(request.head().uri.path()).is_some()))
                .app_data(meters.route(EXECUTE))
                .default_service(web::to(execute::execute)),
        )
        .service(at(EXECUTE, "POST").route(post().to(execute::execute)))
        .service(at("/healthz", "GET, HEAD").route(look().to(system::healthz)))
        .service(at("/health", "GET, HEAD").route(look().to(system::health)))
        .service(at("/metrics", "GET, HEAD").route(look().to(metrics::metrics)))
        .service(at("/readyz", "GET, HEAD").route(look().to(system::readyz)))
        .service(at("/problems/{code}", "GET, HEAD").route(look().to(problems::show)))
        .service(at("/api/system", "GET, HEAD").route(look().to(system::system)))
        .service(at("/api/system/backup", "POST").route(post().to(system::backup)))
        .configure(|config| of_plugins(config, meters))
        .service(at("/api/events", "GET").route(get().to(running::events)))
        .service(
            at("/api/chat/conversations", "GET, HEAD, POST")
                .route(look().to(chat::conversations))
                .route(post().to(chat::begin)),
        )
        .service(
            at("/api/chat/conversations/{id}/messages", "GET, HEAD, POST")
                .route(look().to(chat::messages))
                .route(post().to(chat::post)),
        )
        .configure(|config| of_models(config, meters))
        .service(at("/api/keys", "GET, HEAD, POST").route(look().to(keys::list)).route(post().to(keys::add)))
        .service(at("/api/keys/{key_id}", "DELETE").route(delete().to(keys::revoke)))
        .service(at("/api/advisories", "POST").route(post().to(scans::import)))
        .service(at("/api/tools", "GET, HEAD").route(look().to(tools::list)))
        .service(at("/api/tokens", "GET, HEAD, POST").route(look().to(tokens::list)).route(post().to(tokens::create)))
        .service(at("/api/tokens/{id}", "DELETE").route(delete().to(tokens::revoke)))
        .service(at("/api/audit", "GET, HEAD").route(look().to(audit::list)))
        .service(at("/api/audit/verify", "GET, HEAD").route(look().to(audit::verify)))
        .service(at("/", "GET, HEAD").route(look().to(pages::welcome)))
        .service(at("/api/openapi.json", "GET, HEAD").route(look().to(pages::description)))
        .service(at("/docs/", "GET, HEAD").route(look().to(docs::page)))
        .service(at("/docs/{file}", "GET, HEAD").route(look().to(docs::file)))
        .service(web::redirect("/docs", "/docs/"))
        .default_service(web::to(nothing_here));
}

/// Adds the routes by which models are asked.
fn of_models(config: &mut ServiceConfig, meters: &HttpMeters) {
    let at = |path, allow| at(path, allow).app_data(meters.route(path));
    config
        .service(at("/chat", "POST").route(post().to(fronts::chat::chat)))
        .service(at("/plugins", "GET, HEAD").route(look().to(fronts::listed::plugins)))
        .service(at("/plugins/metrics", "GET, HEAD").route(look().to(fronts::listed::metrics)))
        .service(at("/v1/chat/completions", "POST").route(post().to(fronts::openai::complete)))
        .service(at("/v1/messages", "POST").route(post().to(fronts::anthropic::create)))
        .service(at("/v1/messages/count_tokens", "POST").route(post().to(fronts::anthropic::count)))
        .service(at("/v1/models", "GET, HEAD").route(look().to(fronts::openai::models)))
        .service(at("/v1/models/{id:.+}", "GET, HEAD").route(look().to(fronts::openai::model)))
        .service(at("/api/chat/exchanges", "GET, HEAD").route(look().to(fronts::chat::exchanges)))
        .service(at("/api/chat/exchanges/{id}", "GET, HEAD").route(look().to(fronts::chat::exchange)));
}

/// Adds the routes of plugins.
fn of_plugins(config: &mut ServiceConfig, meters: &HttpMeters) {
    let at = |path, allow| at(path, allow).app_data(meters.route(path));
    config
        .service(at("/api/plugins", "GET, HEAD").route(look().to(plugins::list)))
        .service(at("/api/plugins/install", "POST").route(post().to(install::install)))
        .service(
            at("/api/plugins/{id}", "GET, HEAD, DELETE")
                .route(look().to(plugins::show))
                .route(delete().to(plugins::uninstall)),
        )
        .service(at("/api/plugins/{id}/manifest", "GET, HEAD").route(look().to(plugins::manifest)))
        .service(at("/api/plugins/{id}/versions", "GET, HEAD").route(look().to(plugins::versions)))
        .service(at("/api/plugins/{id}/update", "POST").route(post().to(update::update)))
        .service(at("/api/plugins/{id}/rollback", "POST").route(post().to(update::rollback)))
        .service(at("/api/plugins/{id}/enable", "POST").route(post().to(running::enable)))
        .service(at("/api/plugins/{id}/breaker/reset", "POST").route(post().to(running::reset_breaker)))
        .service(at("/api/plugins/{id}/disable", "POST").route(post().to(running::disable)))
        .service(
            at("/api/plugins/{id}/limits", "GET, HEAD, PUT")
                .route(look().to(running::limits))
                .route(put().to(running::set_limits)),
        )
        .service(
            at("/api/plugins/{id}/config", "GET, HEAD, PUT")
                .route(look().to(config::show))
                .route(put().to(config::replace)),
        )
        .service(
            // A field may be called `validate`, too.
            at("/api/plugins/{id}/config/{field}", "DELETE, POST")
                .route(post().guard(guard::fn_guard(config::is_validate)).to(config::validate))
                .route(delete().to(config::unset)),
        )
        .service(at("/api/plugins/{id}/permissions", "GET, HEAD").route(look().to(permissions::show)))
        .service(at("/api/plugins/{id}/permissions/approve", "POST").route(post().to(permissions::approve)))
        .service(at("/api/plugins/{id}/permissions/revoke", "POST").route(post().to(permissions::revoke)))
        .service(
            at("/api/plugins/{id}/scan", "GET, HEAD, POST")
                .route(look().to(scans::show))
                .route(post().to(scans::again)),
        )
        .service(at("/api/plugins/{id}/health", "GET, HEAD").route(look().to(running::health)))
        .service(at("/api/plugins/{id}/stats", "GET, HEAD").route(look().to(running::stats)))
        .service(at("/api/plugins/{id}/metrics", "GET, HEAD").route(look().to(running::metrics)))
        .service(at("/api/plugins/{id}/calls", "GET, HEAD").route(look().to(running::calls)))
        .service(at("/api/plugins/{id}/logs", "GET").route(get().to(running::logs)))
        .service(at("/api/plugins/{id}/sandbox", "GET, HEAD").route(look().to(running::sandbox)))
        .service(at("/api/plugins/{id}/sandbox/plan", "GET, HEAD").route(look().to(running::plan)));
}

/// A route that only looks: programs that probe a service ask with HEAD, which is answered like GET without the body.
fn look() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// An address whose other methods answer 405 and say which are allowed.
fn at(path: &'static str, allow: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move |request: HttpRequest| async move {
        Err::<HttpResponse, _>(Problem::method_not_allowed(request.method().as_str(), allow))
    }))
}

async fn nothing_here(request: HttpRequest) -> Result<HttpResponse, Problem> {
    Err(Problem::not_found(request.path()))
}
