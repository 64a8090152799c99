//! Tools as models and MCP clients take them.

use plugbay_domain::{Annotations, mcp_name, model_name};
use plugbay_operations::ToolView;
use plugbay_wire as wire;
use plugbay_wire::ToolForm;

/// A tool, in one form or in both.
pub(crate) fn tool(view: &ToolView, form: Option<ToolForm>) -> wire::ToolView {
    let ToolView { plugin, tool } = view;
    let description = &tool.description;
    let openai = || wire::OpenAiTool {
        kind: "function".to_owned(),
        function: wire::OpenAiFunction {
            name: model_name(plugin, &tool.name),
            description: description.clone(),
            parameters: tool.input.as_json().clone(),
        },
    };
    let mcp = || wire::McpTool {
        name: mcp_name(plugin, &tool.name),
        description: description.clone(),
        input_schema: tool.input.as_json().clone(),
        output_schema: tool.output.as_ref().map(|output| output.as_json().clone()),
        annotations: hints(tool.annotations),
    };
    wire::ToolView {
        name: mcp_name(plugin, &tool.name),
        plugin: plugin.to_string(),
        tool: tool.name.clone(),
        method: tool.method.clone(),
        read_only: tool.is_read_only(),
        openai: (form != Some(ToolForm::Mcp)).then(openai),
        mcp: (form != Some(ToolForm::OpenAi)).then(mcp),
    }
}

fn hints(annotations: Annotations) -> Option<wire::McpAnnotations> {
    let Annotations { read_only, destructive, idempotent, open_world } = annotations;
    (annotations != Annotations::default()).then_some(wire::McpAnnotations {
        read_only_hint: read_only,
        destructive_hint: destructive,
        idempotent_hint: idempotent,
        open_world_hint: open_world,
    })
}
