//! Commands that talk to a service. They speak REST and nothing else.

mod advisories;
mod approve;
mod audit;
mod backup;
mod config;
mod connection;
mod consent;
mod decisions;
mod doctor;
mod enable;
mod exec;
mod install;
mod keys;
mod limits;
mod logs;
mod plan;
mod plugins;
mod rollback;
mod scan;
mod sse;
mod stats;
mod summary;
mod tokens;
mod tools;
mod upload;

pub(super) use advisories::{AdvisoryArguments, advisories};
pub(super) use approve::{ApproveArguments, RevokeArguments, approve, item as permission_item, revoke};
pub(super) use audit::{AuditArguments, audit};
pub(super) use backup::{BackupArguments, backup};
pub(super) use config::{ConfigArguments, config, read_config_file};
pub(super) use connection::{Connection, plugin_path};
pub(super) use doctor::{DoctorArguments, doctor};
pub(super) use enable::{DisableArguments, EnableArguments, disable, enable};
pub(super) use exec::{
    ExecArguments, exec, failed, follow, progress_text, read as read_event, read_context, result_text,
};
pub(super) use install::{InstallArguments, UpdateArguments, install, update};
pub(super) use keys::{KeyArguments, key};
pub(super) use limits::{LimitsArguments, limits};
pub(super) use logs::{LogsArguments, line_text, logs};
pub(super) use plan::{PlanArguments, plan};
pub(super) use plugins::{ListArguments, ShowArguments, UninstallArguments, list, show, uninstall};
pub(super) use rollback::{RollbackArguments, rollback};
pub(super) use scan::scan_installed;
pub(super) use sse::Event;
pub(super) use stats::{StatsArguments, stats};
pub(super) use summary::flag_text;
pub(super) use tokens::{TokenArguments, token};
pub(super) use upload::Source;
