//! Pages of long lists. A cursor is the key of the last element seen, which callers pass back as it is.

use actix_web::HttpRequest;
use actix_web::error::QueryPayloadError;
use actix_web::web::Query;
use data_encoding::BASE64URL_NOPAD;
use plugbay_domain::{Code, FieldError};
use serde::Deserialize;

use super::problem::Problem;

/// Elements on a page unless the caller says otherwise.
pub(super) const DEFAULT_LIMIT: usize = 100;

/// Most elements on a page.
pub(super) const MAX_LIMIT: usize = 1000;

/// Where a page begins and how long it is.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) limit: usize,
    pub(super) after: Option<String>,
}

impl Page {
    /// Reads `limit` and `cursor` of a query.
    pub(super) fn parse(limit: Option<usize>, cursor: Option<&str>) -> Result<Self, Problem> {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(invalid("limit", format!("expected 1 to {MAX_LIMIT}, found {limit}")));
        }
        let after = match cursor {
            None => None,
            Some(text) => Some(
                read_cursor(text)
                    .ok_or_else(|| invalid("cursor", "expected a `next_cursor` of an earlier answer".to_owned()))?,
            ),
        };
        Ok(Self { limit, after })
    }

    /// The cursor that continues after this key.
    pub(super) fn cursor(key: &str) -> String {
        BASE64URL_NOPAD.encode(key.as_bytes())
    }
}

fn read_cursor(text: &str) -> Option<String> {
    BASE64URL_NOPAD.decode(text.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok())
}

/// A query parameter that cannot be read: the address is malformed, so 400.
pub(super) fn invalid(parameter: &str, message: String) -> Problem {
    let error = FieldError::at(format!("?{parameter}"), message);
    Problem::new(Code::BadRequest, error.to_string())
}

/// Reads a query string into a struct that refuses unknown parameters.
pub(super) fn query<T: for<'de> Deserialize<'de>>(request: &HttpRequest) -> Result<T, Problem> {
    Query::<T>::from_query(request.query_string()).map(Query::into_inner).map_err(|error| {
        let text = match error {
            QueryPayloadError::Deserialize(error) => error.to_string(),
            other => other.to_string(),
        };
        let code = if text.starts_with("unknown field") { Code::UnknownField } else { Code::BadRequest };
        Problem::new(code, plugbay_domain::escape(&text))
    })
}
