//! The whole service over HTTP, one file for each thing it manages.
#![expect(clippy::unwrap_used, reason = "a failed step should stop the test")]

#[path = "../support/mod.rs"]
mod support;

mod approval;
mod approved_updates;
mod audit;
mod backup;
mod backup_beside;
mod backup_forged;
mod chat;
mod config;
mod connections;
mod data_dir;
mod databases;
mod download;
mod event_streams;
mod fixtures;
mod idempotency;
mod install;
mod keys;
mod metrics;
mod openapi;
mod plugins;
mod problems;
mod reach;
mod requires;
mod scan;
mod tokens;
mod tools;
mod update;
mod verification;
