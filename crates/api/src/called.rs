//! Which plugin a call is for, by its address.

use std::future::{Ready, ready};

use actix_web::web::Path;
use actix_web::{FromRequest, HttpRequest};

/// What comes before and after a plugin in the address of its calls.
const ADDRESS: (&str, &str) = ("/api/plugins/", "/execute");

/// The plugin of an address that has no escapes or other surprises in it.
pub(super) fn plain_id(path: &str) -> Option<&str> {
    let id = path.strip_prefix(ADDRESS.0)?.strip_suffix(ADDRESS.1)?;
    let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    (is_plain && !id.is_empty()).then_some(id)
}

/// The plugin to call: its id or name.
#[derive(Debug)]
pub(super) struct Called(pub(super) String);

impl FromRequest for Called {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut actix_web::dev::Payload) -> Self::Future {
        match plain_id(request.path()) {
            Some(id) => ready(Ok(Self(id.to_owned()))),
            None => ready(Path::<String>::from_request(request, payload).into_inner().map(|id| Self(id.into_inner()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_without_surprises_are_plain() {
        assert_eq!(plain_id("/api/plugins/my-plugin_2/execute"), Some("my-plugin_2"));
        for path in [
            "/api/plugins//execute",
            "/api/plugins/execute",
            "/api/plugins/a/b/execute",
            "/api/plugins/%65cho/execute",
            "/api/plugins/echo/execute/",
            "/api/plugins/../execute",
        ] {
            assert_eq!(plain_id(path), None, "{path}");
        }
    }
}
