//! `db.query` and `db.execute`: the operator's databases, each by the name the operator gave it. What a statement may do
//! is judged where it runs, in a process of its own.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::need::{Granted, Params};
use super::{Host, HostError};
use plugbay_databases::{DatabaseError, Statement, Work};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    name: String,
    sql: String,
    #[serde(default)]
    params: Option<Box<RawValue>>,
    #[serde(rename = "call", default)]
    _call: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Execute {
    name: String,
    #[serde(default)]
    sql: Option<String>,
    #[serde(default)]
    params: Option<Box<RawValue>>,
    #[serde(default)]
    statements: Option<Vec<Statement>>,
    #[serde(rename = "call", default)]
    _call: Option<IgnoredAny>,
}

impl Params<'_> for Query {
    fn resource(&self) -> Option<&str> {
        Some(&self.name)
    }
}

impl Params<'_> for Execute {
    fn resource(&self) -> Option<&str> {
        Some(&self.name)
    }
}

pub(super) async fn query(host: &Host, query: Granted<Query>, deadline: Instant) -> Result<Box<RawValue>, HostError> {
    let Query { name, sql, params, .. } = query.params();
    run(host, &name, Work::Query(Statement { sql, params }), deadline).await
}

pub(super) async fn execute(
    host: &Host,
    execute: Granted<Execute>,
    deadline: Instant,
) -> Result<Box<RawValue>, HostError> {
    let Execute { name, sql, params, statements, .. } = execute.params();
    let work = match (sql, params, statements) {
        (Some(sql), params, None) => Work::Execute(Statement { sql, params }),
        (None, None, Some(statements)) => Work::Transaction(statements),
        _ => {
            let rule = "expected `sql` with `params`, or `statements`, a list of such".to_owned();
            return Err(HostError::Invalid { rule });
        }
    };
    run(host, &name, work, deadline).await
}

async fn run(host: &Host, name: &str, work: Work, deadline: Instant) -> Result<Box<RawValue>, HostError> {
    let done = host.parts.databases.run(host.asker.id, name, work, deadline).await;
    done.map_err(|error| match error {
        DatabaseError::Invalid { text } => HostError::Invalid { rule: text },
        error => HostError::Refused { code: error.code(), rule: error.to_string() },
    })
}
