//! Commands that talk to a service. They speak REST and nothing else.

mod audit;
mod connection;
mod doctor;
mod install;
mod keys;
mod plugins;
mod tokens;
mod upload;

pub(super) use audit::{AuditArguments, audit};
pub(super) use doctor::{DoctorArguments, doctor};
pub(super) use install::{InstallArguments, UpdateArguments, install, update};
pub(super) use keys::{KeyArguments, key};
pub(super) use plugins::{ListArguments, ShowArguments, UninstallArguments, list, show, uninstall};
pub(super) use tokens::{TokenArguments, token};
