//! `plugbay list --tools`: what models and other programs may call.

use serde_json::json;

use super::connection::{Connection, query};
use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::table;
use crate::cli::shown::printable;
use crate::wire::{ToolList, ToolView};

pub(super) fn list(connection: &Connection, context: &Context) -> Result<(), Failure> {
    let mut tools: Vec<ToolView> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let query = query(&[("limit", Some("1000")), ("cursor", cursor.as_deref())]);
        let page: ToolList = connection.get(&format!("/api/tools{query}"))?;
        tools.extend(page.tools);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if tools.is_empty() {
        context.output.message("no tools that this token may use; an enabled plugin is one, or declares `tools`");
    }
    let row = |tool: &ToolView| {
        let description = tool.mcp.as_ref().and_then(|mcp| mcp.description.as_deref()).unwrap_or_default();
        let description = printable(description).replace(['\n', '\t'], " ");
        let reads = if tool.read_only { "yes" } else { "-" };
        [tool.name.clone(), tool.plugin.clone(), tool.method.clone(), reads.to_owned(), description]
    };
    let rows: Vec<_> = tools.iter().map(row).collect();
    let head = ["NAME", "PLUGIN", "METHOD", "READ ONLY", "DESCRIPTION"];
    context.output.result(&table(head, &rows), &json!({"total": tools.len(), "tools": tools}));
    Ok(())
}
