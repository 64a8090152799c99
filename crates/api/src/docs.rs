//! The browsable description of the API: a page of ours and the files of Swagger UI, which are part of the program. Anybody
//! may ask for them without a token, and the largest has a megabyte and a half, so an answer holds no copy of its file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use plugbay_domain::Digest;
use sha2::{Digest as _, Sha256};

use super::permit::NoBody;
use super::problem::Problem;

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>plugbay: the API</title>
<link rel="stylesheet" href="swagger-ui.css">
<link rel="stylesheet" href="index.css">
<div id="swagger-ui"></div>
<script src="swagger-ui-bundle.js"></script>
<script src="swagger-ui-standalone-preset.js"></script>
<script src="swagger-initializer.js"></script>
</html>
"#;

/// What the page loads, and what browsers ask for beside it.
const NAMES: [&str; 7] = [
    "swagger-ui.css",
    "index.css",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "swagger-initializer.js",
    "favicon-16x16.png",
    "favicon-32x32.png",
];

/// A file as it is sent.
#[derive(Debug)]
struct File {
    bytes: Bytes,
    media_type: String,
    etag: String,
}

/// Read once: the same for every caller.
static FILES: LazyLock<BTreeMap<&'static str, File>> =
    LazyLock::new(|| NAMES.into_iter().filter_map(|name| Some((name, File::read(name)?))).collect());

impl File {
    fn read(name: &str) -> Option<Self> {
        let config = Arc::new(utoipa_swagger_ui::Config::new(["/api/openapi.json"]));
        let file = utoipa_swagger_ui::serve(name, config).ok()??;
        let bytes = match file.bytes {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            // The one file that names the description.
            Cow::Owned(bytes) => Bytes::from(bytes),
        };
        let digest = Digest::from_bytes(Sha256::digest(&bytes).into());
        Some(Self { etag: format!("\"{}\"", digest.to_hex()), media_type: file.content_type, bytes })
    }
}

/// The page.
pub(super) async fn page(_body: NoBody) -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(PAGE)
}

/// What the page loads. Browsers keep it and ask whether it is still the same.
pub(super) async fn file(_body: NoBody, name: Path<String>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let file = FILES.get(name.as_str()).ok_or_else(|| Problem::not_found(request.path()))?;
    let known = request.headers().get_all(IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    let mut tags = known.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
    let is_known = tags.any(|tag| tag == file.etag);
    let mut answer = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer.insert_header((ETAG, file.etag.as_str())).insert_header((CACHE_CONTROL, "no-cache"));
    if is_known {
        return Ok(answer.finish());
    }
    Ok(answer.insert_header((CONTENT_TYPE, file.media_type.as_str())).body(file.bytes.clone()))
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody as _;
    use actix_web::test::TestRequest;

    use super::*;

    async fn answer(name: &str) -> HttpResponse {
        let request = TestRequest::default().to_http_request();
        file(NoBody, Path::from(name.to_owned()), request).await.unwrap()
    }

    #[tokio::test]
    async fn every_answer_holds_the_same_bytes_and_no_copy() {
        for name in NAMES {
            let [one, other] = [answer(name).await, answer(name).await].map(HttpResponse::into_body);
            let (one, other) = (one.try_into_bytes().unwrap(), other.try_into_bytes().unwrap());
            assert!(!one.is_empty() && one.as_ptr() == other.as_ptr(), "{name} was copied");
        }
    }

    #[test]
    fn the_page_loads_only_what_is_served() {
        let named = |line: &'static str| line.split_once("src=\"").or(line.split_once("href=\""));
        let loaded: Vec<_> = PAGE.lines().filter_map(named).filter_map(|(_, rest)| rest.split('"').next()).collect();
        assert_eq!(loaded.len(), 5);
        assert!(loaded.iter().all(|name| FILES.contains_key(name)), "{loaded:?}");
    }
}
