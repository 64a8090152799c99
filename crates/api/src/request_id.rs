//! The id of a request, which its answer, its lines in the log and its rows in the audit log carry.

use actix_web::http::header::{HeaderMap, HeaderName};

/// The header that carries it, both ways.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id taken from a caller.
const MAX_ID_BYTES: usize = 128;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The id of a request, as a caller gave it or as we drew it.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// The caller's, or a new one.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self(given_id(headers).unwrap_or_else(|| uuid::Uuid::now_v7().to_string()))
    }

    /// Its text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Answers the request under its id.
    pub(super) async fn during<T>(self, answer: impl Future<Output = T>) -> T {
        CURRENT.scope(self, answer).await
    }
}

/// The id of the request that this task answers.
pub(super) fn current_id() -> String {
    CURRENT.try_with(|id| id.0.clone()).unwrap_or_default()
}

/// An id of the caller's, if it can go into logs and headers as it is.
fn given_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(&REQUEST_ID)?.to_str().ok()?;
    let fits = (1..=MAX_ID_BYTES).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    fits.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn only_harmless_request_ids_are_taken_over() {
        let id = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_static(text));
            given_id(&headers)
        };
        assert_eq!(id("ci-42.a_b").as_deref(), Some("ci-42.a_b"));
        assert_eq!(id("a b"), None);
        assert_eq!(id("\"quoted\""), None);
    }
}
