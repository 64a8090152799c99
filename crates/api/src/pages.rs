//! The page that people open first, what this is, and the description of the API as a document.

use std::sync::LazyLock;

use actix_web::http::header::{ACCEPT, LOCATION};
use actix_web::{HttpRequest, HttpResponse};

use super::permit::NoBody;

const WELCOME: &str = concat!(
    "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>plugbay</title>\n",
    "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:3em auto;padding:0 1em}",
    "code{background:#8882;padding:.1em .3em}</style>\n",
    "<h1>plugbay ",
    env!("CARGO_PKG_VERSION"),
    "</h1>\n<p>Runs signed plugins that nobody should have to trust, each in a locked-down sandbox.</p>\n",
    "<ul>\n<li><a href=\"/docs/\">The API, to read and to try</a>; as a document: ",
    "<a href=\"/api/openapi.json\">openapi.json</a></li>\n",
    "<li><a href=\"/health\">How the service is</a></li>\n</ul>\n",
    "<p>Every request needs a token: <code>Authorization: Bearer pbt_…</code>. The first one is in the file ",
    "<code>admin.token</code> of the data directory; <code>plugbay token create</code> makes narrower ones.</p>\n",
    "<p>On the command line: <code>plugbay list</code>, <code>plugbay install FILE</code>, ",
    "<code>plugbay doctor</code>, <code>plugbay --help</code>.</p>\n</html>\n",
);

/// Tells a person what answers here, and leads programs to the description.
pub(super) async fn welcome(_body: NoBody, request: HttpRequest) -> HttpResponse {
    let accepted = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    if accepted.is_some_and(|accepted| accepted.contains("text/html")) {
        return HttpResponse::Ok().content_type("text/html; charset=utf-8").body(WELCOME);
    }
    HttpResponse::Found().insert_header((LOCATION, "/api/openapi.json")).finish()
}

/// The description as a document. Made once: it is the same for every caller.
pub(super) async fn description(_body: NoBody) -> HttpResponse {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| super::openapi::document().to_json().expect("the description serialises"));
    HttpResponse::Ok().content_type("application/json").body(TEXT.as_str())
}
