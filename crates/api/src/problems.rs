//! What the `type` of a problem points to: a page about its code. `docs/problems.md` lists the same.

use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use plugbay_domain::Code;

use super::openapi::PageProblems;
use super::permit::NoBody;
use super::problem::Problem;

/// Explains a problem code.
#[utoipa::path(get, path = "/problems/{code}", operation_id = "showProblem", tag = "system", security(()),
    params(("code" = String, Path, description = "Stable code, such as `plugin-unknown`")),
    responses((status = 200, description = "What it means and what to do", body = String, content_type = "text/plain"), PageProblems))]
pub(super) async fn show(_body: NoBody, code: Path<String>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let code = Code::find(&code).ok_or_else(|| Problem::not_found(request.path()))?;
    let status = Problem::status_of(code).as_u16();
    let text = format!("{code} (HTTP {status})\n\n{}.\n\nWhat to do: {}\n", code.title(), code.how());
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/problems.md");

    const PREFACE: &str = "# Problems

<!-- Generated from crates/domain/src/code.rs; run the tests with PLUGBAY_BLESS=1 to write it again. -->

Every error of the REST API is a problem (RFC 9457, `application/problem+json`): `title` and `how` are those of its `code`,
`detail` says what happened this time, `errors` names single values that are wrong, and `instance` is the id of the
request, which the service's log knows too. Some answers bring a `how` that is more exact than the one below. Codes are
stable: they keep their name, their meaning and their status. A running service explains each one at
`/problems/{code}`, to which the problem's `type` points.

A request whose head is no HTTP, or too large, is answered 400 or 431 without a body, and the connection is closed.

| code | status | what happened | what to do |
| --- | --- | --- | --- |
";

    fn document() -> String {
        let row = |code: &Code| {
            let status = Problem::status_of(*code).as_u16();
            format!("| `{code}` | {status} | {} | {} |\n", code.title(), code.how().replace('|', "\\|"))
        };
        Code::ALL.iter().map(row).fold(PREFACE.to_owned(), |text, row| text + &row)
    }

    #[test]
    fn the_committed_list_of_problems_is_complete() {
        #[expect(
            clippy::disallowed_methods,
            reason = "tests are told on the command line to rewrite what is committed"
        )]
        let bless = std::env::var("PLUGBAY_BLESS").is_ok();
        if bless {
            std::fs::write(PATH, document()).unwrap();
        }
        let committed = std::fs::read_to_string(PATH).unwrap_or_default();
        assert!(committed == document(), "docs/problems.md is stale: PLUGBAY_BLESS=1 cargo test --lib problems");
    }
}
