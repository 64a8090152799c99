//! Makes the places of a route: `docs/development/adding-a-route.md`.

use crate::edits::Edits;
use crate::mark;
use crate::name::{camel, snake, split};

const WIRE: &str = "crates/wire/src";
const OPERATIONS: &str = "crates/operations/src";
const API: &str = "crates/api/src";
const TESTS: &str = "tests/it";
const CHANGES: &str = "CHANGELOG.md";

pub(crate) fn make(edits: &mut Edits, name: &str) -> Result<String, String> {
    let (family, _) = split(name, "the name of a route such as `weather.report`")?;
    if family.contains('.') {
        return Err(format!("`{name}` is not the name of a route: it has more than one dot"));
    }
    let (module, view, marked) = (snake(name), camel(name), mark::of(name));
    let address = format!("/api/plugins/{{id}}/{}", module.replace('_', "-"));
    let file = |folder: &str| format!("{folder}/{module}.rs");
    let lib = |folder: &str| format!("{folder}/lib.rs");

    edits.create(&file(WIRE), wire_of(&view, &marked))?;
    edits.module(&lib(WIRE), &module)?;
    edits.before(&lib(WIRE), "pub use audit::{", &format!("pub use {module}::{view};\n"))?;

    edits.create(&file(OPERATIONS), use_case_of(&module, &marked))?;
    edits.module(&lib(OPERATIONS), &module)?;
    edits.before(&lib(OPERATIONS), "pub use approve::expiry::", &format!("pub use {module}::{module};\n"))?;

    let places = [file(API), file(WIRE), file(OPERATIONS), file(TESTS), CHANGES.to_owned()];
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    let test = mark::test(name, &module, "../..", &places);
    edits.create(&file(API), handler_of(&module, &view, &address, &marked, &test))?;
    edits.module(&lib(API), &module)?;
    let routes = format!("{API}/routes.rs");
    let row = format!("        .service(at({address:?}, \"GET, HEAD\").route(look().to({module}::answer)))\n");
    edits.before(&routes, ".service(at(\"/api/events\", \"GET\")", &row)?;
    edits.import(&routes, "super", &module)?;
    let document = format!("{API}/openapi.rs");
    edits.before(&document, "audit::list, audit::verify,", &format!("        {module}::answer,\n"))?;
    edits.import(&document, "super", &module)?;

    edits.create(&file(TESTS), test_of(&module, &address, &marked))?;
    edits.module(&format!("{TESTS}/main.rs"), &module)?;
    edits.at_end(CHANGES, "## Unreleased", "- ", &format!("- {marked}: what callers can do now.\n"))?;
    Ok(format!(
        "Answers GET {address} with scope read. Address, method and scope are yours to choose.\n\
         Fails until they are written: cargo test -p plugbay-api --lib {module}\n\
         Then: PLUGBAY_BLESS=1 cargo test --test it openapi writes openapi/plugbay.json.\n\
         Not made: the command, and the example. See docs/development/adding-a-route.md\n"
    ))
}

/// What travels.
fn wire_of(view: &str, marked: &str) -> String {
    format!(
        "\
//! {marked}: what travels.

use serde::{{Deserialize, Serialize}};
use utoipa::ToSchema;

/// {marked}: what is answered.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct {view} {{
    /// {marked}: its fields.
    pub name: String,
}}
"
    )
}

/// The use case.
fn use_case_of(module: &str, marked: &str) -> String {
    format!(
        "\
//! {marked}: the use case.

use plugbay_registry::Caller;

use crate::{{Service, ServiceError, find}};

/// {marked}: what it does. A change goes through `Registry::change`.
pub async fn {module}(service: &Service, caller: &Caller, wanted: &str) -> Result<String, ServiceError> {{
    Ok(find::find_plugin(service, caller, wanted).await?.name.to_string())
}}
"
    )
}

/// The handler, with the test that looks for marks.
fn handler_of(module: &str, view: &str, address: &str, marked: &str, test: &str) -> String {
    let (first, rest) = view.split_at(1);
    let operation = first.to_ascii_lowercase() + rest;
    let test: String =
        test.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") }).collect();
    format!(
        "\
//! {marked}: what callers ask for.

use actix_web::HttpResponse;
use actix_web::web::{{Data, Path}};
use plugbay_operations as operations;
use plugbay_wire::{view};

use super::App;
use super::openapi::LookProblems;
use super::permit::{{NoBody, Permit, Read}};
use super::problem::Problem;

/// {marked}: one sentence for the description.
#[utoipa::path(get, path = {address:?}, operation_id = {operation:?}, tag = \"plugins\", params((\"id\" = String, Path, description = \"Id or name\")),
    responses((status = 200, description = \"{marked}\", body = {view}), LookProblems))]
pub(super) async fn answer(
    permit: Permit<Read>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {{
    let name = operations::{module}(&app.service, &permit.0, &id).await?;
    Ok(HttpResponse::Ok().json({view} {{ name }}))
}}

#[cfg(test)]
mod tests {{
{test}}}
"
    )
}

/// The test over HTTP.
fn test_of(module: &str, address: &str, marked: &str) -> String {
    let unknown = address.replace("{id}", "gone");
    format!(
        "\
//! {marked}: what is answered, and to whom.

use crate::support::app::TestApp;

#[tokio::test]
async fn {module}_is_refused_for_a_plugin_that_is_not_there() {{
    // {marked}: the good answer, the scope, what its content is refused for.
    let app = TestApp::start().await;
    app.get({unknown:?}).await.expect_problem(404, \"plugin-unknown\");
}}
"
    )
}
