//! `plugbay pack --list`: what would travel and what would not, before anything is made.

use std::path::Path;

use serde_json::json;

use super::archive;
use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::package::{self, Sources};

/// Shows what would be packed with sizes, and what is left out with the rule. What `pack` refuses is refused here, too.
pub(super) fn list(folder: &Path, context: &Context) -> Result<(), Failure> {
    let manifest = archive::read_manifest(folder)?;
    let Sources { packed, left_out } = package::list(folder)?;
    let files: Vec<_> = packed.iter().filter_map(|source| Some((&source.path, source.file?.0))).collect();
    let mut lines: Vec<String> = files.iter().map(|(path, bytes)| format!("{bytes:>12}  {path}")).collect();
    let total = files.iter().fold(0_u64, |total, (_, bytes)| total.saturating_add(*bytes));
    lines.push(format!("{total:>12}  {} files together", files.len()));
    if !left_out.is_empty() {
        lines.push("left out:".to_owned());
        lines.extend(left_out.iter().map(|out| format!("  {}  ({})", out.path, out.reason())));
    }
    let files: Vec<_> = files.iter().map(|(path, bytes)| json!({ "path": path.as_str(), "size": bytes })).collect();
    let out = |out: &package::LeftOut| json!({ "path": out.path, "rule": out.rule, "file": out.file });
    let left_out: Vec<_> = left_out.iter().map(out).collect();
    context.output.result(&lines.join("\n"), &json!({ "files": files, "size": total, "left_out": left_out }));
    if manifest.needs_vendor() {
        context.output.message("`plugbay pack` puts the dependencies into vendor/, which is not listed here");
    }
    if manifest.build.is_some() {
        context.output.message("`plugbay pack` runs `build` first; what it makes is listed once it is there");
    }
    Ok(())
}
