//! HTTP: routes, tokens, problems, the OpenAPI document. The only user of actix-web and utoipa.

mod answers;
mod audit;
mod body;
mod called;
mod chat;
mod config;
mod connections;
mod docs;
mod error_form;
mod execute;
mod fronts;
mod host;
mod install;
mod keys;
mod metrics;
mod openapi;
mod pages;
mod paging;
mod permissions;
mod permit;
mod plugins;
mod problem;
mod problems;
mod rate;
mod request;
mod request_id;
mod routes;
mod running;
mod scans;
mod server;
mod stream;
mod system;
mod tokens;
mod tools;
mod update;
mod view;
mod vocabulary;

use std::sync::Arc;

use plugbay_chat::Chat;
use plugbay_operations::Service;
use plugbay_runtime::metrics::HttpMeters;

pub use openapi::document;
pub use server::{Bound, ServerError, bind};

/// What every handler is given.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) service: Arc<Service>,
    pub(crate) chat: Chat,
    pub(crate) hosts: Arc<host::AllowedHosts>,
    pub(crate) rates: Arc<rate::Rates>,
    pub(crate) meters: Arc<HttpMeters>,
    pub(crate) answers: Arc<answers::Answers>,
    pub(crate) intake: Arc<fronts::intake::Intake>,
    /// Whether nobody but this machine can connect.
    pub(crate) is_local: bool,
}
