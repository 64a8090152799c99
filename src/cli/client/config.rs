//! `plugbay config`: what operators set for plugins. Secrets go in, by stdin or a question, and are never shown.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use reqwest::header::{ETAG, IF_MATCH};
use reqwest::{Method, RequestBuilder};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use super::connection::{Connection, plugin_path, segment};
use super::install::updated_text;
use crate::cli::Context;
use crate::cli::failure::{Failure, Local};
use crate::cli::output::table;
use crate::cli::shown::printable;
use crate::domain::escape;
use crate::wire::ConfigView;

/// Arguments of `config`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plugbay config get my-plugin\n  plugbay config set my-plugin endpoint=https://e.example port=8080\n  \
                  plugbay config set my-plugin api_key              asks for the secret\n  \
                  plugbay config set my-plugin api_key < key.txt    reads it\n  \
                  plugbay config set my-plugin --file config.json\n  plugbay config unset my-plugin port\n  \
                  plugbay config validate my-plugin --file config.json"
)]
pub(in crate::cli) struct ConfigArguments {
    #[command(subcommand)]
    action: ConfigAction,
}

#[derive(Debug, clap::Subcommand)]
enum ConfigAction {
    /// Show what is set, what may be set, and what is missing; never a secret
    Get {
        /// Plugin, by name or id
        name: String,
        /// Only this field
        field: Option<String>,
    },
    /// Set fields; those that are not named stay as they are
    Set {
        /// Plugin, by name or id
        name: String,
        /// Values to set, as JSON or plain text; one field without a value is asked for, or read from stdin
        #[arg(value_name = "FIELD=VALUE", required_unless_present = "file", conflicts_with = "file")]
        fields: Vec<String>,
        /// The whole configuration as a JSON object, `-` for stdin; secrets that it leaves out are kept
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Forget what is set for a field
    Unset {
        /// Plugin, by name or id
        name: String,
        /// The field
        field: String,
    },
    /// Check a configuration without setting it
    Validate {
        /// Plugin, by name or id
        name: String,
        /// The configuration as a JSON object, `-` for stdin
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
}

pub(in crate::cli) fn config(arguments: ConfigArguments, context: &Context) -> Result<(), Failure> {
    let connection = Connection::open(context)?;
    match arguments.action {
        ConfigAction::Get { name, field } => get(&connection, context, &name, field.as_deref()),
        ConfigAction::Set { name, fields, file } => {
            let (view, tag) = read(&connection, &name)?;
            let body = match file {
                Some(file) => with_kept_secrets(read_config_file(&file)?, &view),
                None => with_fields(&fields, &view, context)?,
            };
            let request = change(&connection, Method::PUT, &plugin_path(&name, "/config"), &tag).json(&body);
            let view: ConfigView = connection.send(request).map_err(|failure| failure.about(&name))?;
            show(&name, &view, context);
            Ok(())
        }
        ConfigAction::Unset { name, field } => {
            let (_, tag) = read(&connection, &name)?;
            let path = plugin_path(&name, &format!("/config/{}", segment(&field)));
            let view: ConfigView = connection.send(change(&connection, Method::DELETE, &path, &tag))?;
            show(&name, &view, context);
            Ok(())
        }
        ConfigAction::Validate { name, file } => {
            let (view, _) = read(&connection, &name)?;
            let body = with_kept_secrets(read_config_file(&file)?, &view);
            let view: ConfigView = connection.post(&plugin_path(&name, "/config/validate"), &body)?;
            let text = match view.missing.as_slice() {
                [] => format!("{name} accepts it"),
                missing => format!("{name} accepts it, and needs a value for {}", missing.join(", ")),
            };
            context.output.result(&text, &view);
            Ok(())
        }
    }
}

fn get(connection: &Connection, context: &Context, name: &str, field: Option<&str>) -> Result<(), Failure> {
    let (view, _) = read(connection, name)?;
    let Some(field) = field else {
        show(name, &view, context);
        return Ok(());
    };
    if let Some(secret) = view.secrets.get(field) {
        context.output.result(if secret.set { "(secret, set)" } else { "(secret, not set)" }, secret);
        return Ok(());
    }
    match view.config.get(field) {
        Some(value) => context.output.result(&printable(&plain(value)), value),
        None if known(&view, field) => context.output.result("(not set)", &Value::Null),
        None => return Err(no_field(name, field)),
    }
    Ok(())
}

/// The configuration, with the tag that a change of it names.
fn read(connection: &Connection, name: &str) -> Result<(ConfigView, String), Failure> {
    let request = connection.request(Method::GET, &plugin_path(name, "/config"));
    let (view, headers) = connection.send_with_headers(request)?;
    let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or("*");
    Ok((view, tag.to_owned()))
}

/// A change of what was read, and of nothing newer.
fn change(connection: &Connection, method: Method, path: &str, tag: &str) -> RequestBuilder {
    connection.request(method, path).header(IF_MATCH, tag)
}

/// A configuration in a file.
pub(in crate::cli) fn read_config_file(path: &Path) -> Result<Map<String, Value>, Failure> {
    let text = if path == Path::new("-") {
        read_stdin()?
    } else {
        std::fs::read_to_string(path).map_err(|error| Failure::read(path, &error))?
    };
    serde_json::from_str(&text).map_err(|error| {
        // The place alone: the text around it may be a secret.
        let detail =
            format!("`{}` is not a JSON object, line {}, column {}", path.display(), error.line(), error.column());
        Failure::local(Local::Usage, detail, r#"write it as {"field": "value"}"#)
    })
}

fn read_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(|error| Failure::io("read stdin", &error))?;
    Ok(text)
}

/// A file that leaves secrets out must not remove them.
fn with_kept_secrets(mut body: Map<String, Value>, view: &ConfigView) -> Map<String, Value> {
    for field in view.secrets.keys() {
        body.entry(field.clone()).or_insert(Value::Null);
    }
    body
}

/// What holds, with these fields changed. `null` for a secret keeps it.
fn with_fields(fields: &[String], view: &ConfigView, context: &Context) -> Result<Map<String, Value>, Failure> {
    let mut body = view.config.clone();
    let without_value = fields.iter().filter(|field| !field.contains('=')).count();
    if without_value > 1 && !io::stdin().is_terminal() {
        let detail = "stdin holds one value, and several fields have none";
        return Err(Failure::local(Local::Usage, detail, "set them one by one, or all of them with --file"));
    }
    for given in fields {
        let (field, value) = match given.split_once('=') {
            Some((field, value)) => {
                if is_secret(view, field) {
                    let text = format!(
                        "`{}` is secret, and what stands on a command line is kept by shells and seen by other users; \
                         leave the value out to be asked for it",
                        escape(field)
                    );
                    context.output.warning(&text);
                }
                (field, SecretString::from(value))
            }
            None => (given.as_str(), ask(given)?),
        };
        body.insert(field.to_owned(), value_of(view, field, value.expose_secret()));
    }
    Ok(body)
}

/// Asks without showing what is typed; reads stdin where nobody can be asked.
fn ask(field: &str) -> Result<SecretString, Failure> {
    if io::stdin().is_terminal() {
        let prompt = format!("{}: ", escape(field));
        let value = rpassword::prompt_password(prompt).map_err(|error| Failure::io("read the value", &error))?;
        return Ok(SecretString::from(value));
    }
    // The line break is the file's, not the value's.
    let text = SecretString::from(read_stdin()?);
    let value = text.expose_secret();
    let value = value.strip_suffix('\n').unwrap_or(value);
    Ok(SecretString::from(value.strip_suffix('\r').unwrap_or(value)))
}

fn property<'a>(view: &'a ConfigView, field: &str) -> Option<&'a Value> {
    let schemas = [view.schema.as_ref(), view.pending.as_ref().and_then(|pending| pending.schema.as_ref())];
    schemas.into_iter().flatten().find_map(|schema| schema.get("properties")?.get(field))
}

fn known(view: &ConfigView, field: &str) -> bool {
    property(view, field).is_some()
}

fn is_secret(view: &ConfigView, field: &str) -> bool {
    view.secrets.contains_key(field) || property(view, field).is_some_and(|property| property["writeOnly"] == true)
}

/// A text for a field of type string, else JSON. What is no JSON is a text, which the service refuses with a reason.
fn value_of(view: &ConfigView, field: &str, text: &str) -> Value {
    let is_text = property(view, field).is_some_and(|property| property["type"] == "string");
    if is_text || is_secret(view, field) {
        return text.into();
    }
    serde_json::from_str(text).unwrap_or_else(|_plain| text.into())
}

fn no_field(name: &str, field: &str) -> Failure {
    let detail = format!("{name} has no field `{}`", escape(field));
    Failure::local(Local::Failed, detail, format!("plugbay config get {name} lists the fields"))
}

fn show(name: &str, view: &ConfigView, context: &Context) {
    if let Some(update) = &view.update {
        context.output.message(&updated_text(name, update));
    }
    if let Some(pending) = &view.pending {
        let errors: Vec<_> =
            pending.errors.iter().map(|error| format!("{} ({})", error.pointer, error.message)).collect();
        let text = format!("{name} {} waits for another configuration: {}", pending.version, errors.join(", "));
        context.output.warning(&printable(&text));
    }
    context.output.result(&text(name, view), view);
}

/// One row per field: its value, or that it is secret, and what it is for.
fn text(name: &str, view: &ConfigView) -> String {
    let properties = view.schema.as_ref().and_then(|schema| schema.get("properties")?.as_object());
    let mut fields: Vec<&String> = properties.into_iter().flat_map(Map::keys).collect();
    let known = fields.clone();
    fields.extend(view.config.keys().filter(|field| !known.contains(field)));
    if fields.is_empty() {
        return format!("{name} has no configuration");
    }
    let rows: Vec<_> = fields
        .into_iter()
        .map(|field| {
            let value = match (view.secrets.get(field), view.config.get(field)) {
                (Some(secret), _) if secret.set => "(secret, set)".to_owned(),
                (_, _) if view.missing.contains(field) => "(missing)".to_owned(),
                (Some(_), _) => "(secret, not set)".to_owned(),
                (None, Some(value)) => plain(value),
                (None, None) => "-".to_owned(),
            };
            let about = property(view, field).and_then(|property| property.get("description")?.as_str());
            [field.as_str(), &value, about.unwrap_or_default()].map(|cell| printable(cell).replace(['\n', '\t'], " "))
        })
        .collect();
    table(["FIELD", "VALUE", "DESCRIPTION"], &rows)
}

/// A value without the quotes of JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn view() -> ConfigView {
        serde_json::from_value(json!({
            "config": {"endpoint": "https://e.example", "api_key": null},
            "secrets": {"api_key": {"set": true}},
            "schema": {"properties": {
                "endpoint": {"type": "string", "description": "Where"}, "port": {"type": "integer"},
                "api_key": {"type": "string", "writeOnly": true},
            }},
            "missing": ["port"],
        }))
        .unwrap()
    }

    #[test]
    fn values_are_texts_where_the_schema_says_so_and_json_elsewhere() {
        let view = view();
        assert_eq!(value_of(&view, "endpoint", "8080"), json!("8080"));
        assert_eq!(value_of(&view, "api_key", "null"), json!("null"));
        assert_eq!(value_of(&view, "port", "8080"), json!(8080));
        assert_eq!(value_of(&view, "port", "many"), json!("many"));
        assert_eq!(value_of(&view, "other", "[1]"), json!([1]));
    }

    #[test]
    fn a_file_keeps_the_secrets_that_it_leaves_out() {
        let Value::Object(file) = json!({"port": 1}) else { panic!("an object") };
        assert_eq!(Value::Object(with_kept_secrets(file, &view())), json!({"port": 1, "api_key": null}));
    }

    #[test]
    fn what_is_shown_tells_what_is_missing_and_no_secret() {
        let text = text("my-plugin", &view());
        assert!(text.contains("(secret, set)") && text.contains("(missing)") && text.contains("Where"), "{text}");
    }
}
