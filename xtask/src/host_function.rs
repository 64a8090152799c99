//! Makes the places of a host function: `docs/development/adding-a-host-function.md`.

use crate::edits::Edits;
use crate::mark;
use crate::name::{camel, snake, split};

const TABLE: &str = "crates/domain/src/host_function.rs";
const HOST: &str = "crates/session/src/host/mod.rs";
const CHECK: &str = "crates/session/src/host/stand_in/check.rs";
const SHAPES: &str = "crates/session/src/host/stand_in/file.rs";
const SDK: &str = "sdk/python/plugbay/host.py";
const SDK_WORDS: &str = "sdk/python/README.md";
const PROTOCOL: &str = "docs/protocol.md";
const AUTHORS: &str = "docs/authors.md";
const CHANGES: &str = "CHANGELOG.md";

pub(crate) fn make(edits: &mut Edits, name: &str) -> Result<String, String> {
    let (family, verb) = split(name, "the name of a host function such as `weather.forecast`")?;
    if family.contains('.') {
        return Err(format!("`{name}` is not the name of a host function: it has more than one dot"));
    }
    let (module, variant, marked) = (snake(name), camel(name), mark::of(name));
    let table = edits.text(TABLE)?;
    if table.contains(&format!("{name:?}")) || table.contains(&format!(" {variant} = ")) {
        return Err(format!("{TABLE}: `{name}` is there already"));
    }
    let row = format!(
        "    // {marked}: what must be granted. This is the strongest.\n    {variant} = {name:?} needs HostNeed::Admin;\n"
    );
    edits.at_end(TABLE, "host_functions! {", "}", &row)?;
    let work = format!("crates/session/src/host/{module}.rs");
    edits.create(&work, work_of(name, &variant, &work))?;
    edits.module(HOST, &module)?;
    let arm =
        format!("            HostFunction::{variant} => {module}::answer(self, self.admit(function, params)?),\n");
    edits.before(HOST, "HostFunction::Unknown =>", &arm)?;
    let arm = format!("        HostFunction::{variant} => admit::<{module}::{variant}>(host, function, params),\n");
    edits.before(CHECK, "HostFunction::Unknown =>", &arm)?;
    edits.import(CHECK, "super::super", &module)?;
    let shape = format!(
        "    // {marked}: what an answer must have.\n    Shape {{ function: {name:?}, needs: &[], example: \"{{}}\" }},\n"
    );
    edits.at_end(SHAPES, "const SHAPES: &[Shape] = &[", "];", &shape)?;
    sdk(edits, name, family, verb)?;
    let row = format!("| `{name}` | {marked}: parameters | {marked}: result |\n");
    edits.row(PROTOCOL, "| function | parameters | result |", &row)?;
    edits.row(SDK_WORDS, "| function | permission |", &format!("| `{name}()` | {marked}: permission |\n"))?;
    let words = format!("{marked}: what it is for, with an example.\n\n");
    edits.before(AUTHORS, "In tests without a service the harness of the SDK answers", &words)?;
    let line = format!("- {marked}: what plugins can do now.\n");
    edits.at_end(CHANGES, "## Unreleased", "- ", &line)?;
    Ok(format!(
        "Fails until they are written: cargo test -p plugbay-session --lib {module}\n\
         Not made: bounds, and tests with a sandbox (tests/docker/, tests/hostile/shares.rs).\n\
         See docs/development/adding-a-host-function.md\n"
    ))
}

/// The file of the function.
fn work_of(name: &str, variant: &str, path: &str) -> String {
    let marked = mark::of(name);
    let places = [TABLE, path, SHAPES, SDK, SDK_WORDS, PROTOCOL, AUTHORS, CHANGES];
    let test = mark::test(name, &snake(name), "../..", &places);
    let test: String =
        test.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") }).collect();
    format!(
        "\
//! `{name}`: {marked}, what it does, and what bounds it.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use serde_json::value::RawValue;

use super::need::{{Granted, Params}};
use super::{{Host, HostError}};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct {variant} {{
    // {marked}: parameters.
    #[serde(rename = \"call\", default)]
    _call: Option<IgnoredAny>,
}}

impl Params<'_> for {variant} {{}}

pub(super) fn answer(host: &Host, request: Granted<{variant}>) -> Result<Box<RawValue>, HostError> {{
    let {variant} {{ .. }} = request.params();
    // {marked}: the work, within its bounds.
    host.fitting(super::json(&json!({{}})))
}}

#[cfg(test)]
mod tests {{
{test}}}
"
    )
}

/// The method, in the class of its family, which is made where it is the first one.
fn sdk(edits: &mut Edits, name: &str, family: &str, verb: &str) -> Result<(), String> {
    let marked = mark::of(name);
    let method = format!(
        "    def {verb}(self) -> HostCall[Any]:\n        \"\"\"{marked}: what it gives.\"\"\"\n        \
         return self._call({name:?}, _as_is)\n"
    );
    let text = edits.text(SDK)?;
    let member = format!("self.{family} = ");
    let known = text.lines().find_map(|line| line.trim_start().strip_prefix(&member)?.strip_suffix("(channel)"));
    if let Some(class) = known.map(str::to_owned) {
        // Two empty lines follow on a class.
        return edits.at_end(SDK, &format!("class {class}(_Functions):"), "\n\n", &format!("\n{method}"));
    }
    let class = camel(family);
    if text.contains(&format!("class {class}")) {
        return Err(format!("{SDK}: `{class}` is the name of another class; choose another family"));
    }
    let made = format!(
        "class {class}(_Functions):\n    \"\"\"{marked}: what these functions are about, and what they need.\"\"\"\n\n{method}\n\n"
    );
    edits.before(SDK, "class Host:", &made)?;
    edits.at_end(SDK, "self.plugins = Plugins(channel)", "", &format!("        {member}{class}(channel)\n"))
}
