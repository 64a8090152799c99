//! HTTP: routes, tokens, problems, the OpenAPI document. The only user of actix-web and utoipa.

mod answers;
mod audit;
mod body;
mod chat;
mod config;
mod connections;
mod docs;
mod execute;
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
mod routes;
mod running;
mod server;
mod stream;
mod system;
mod tokens;
mod update;
mod view;
mod vocabulary;

use std::sync::Arc;

use crate::chat::Chat;
use crate::metrics::HttpMeters;
use crate::service::Service;

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
    /// Whether nobody but this machine can connect.
    pub(crate) is_local: bool,
}
