//! What the values of the configuration may be, and how they are read.

use serde_json::{Map, Value, json};

use plugbay_domain::yaml::Place;
use plugbay_domain::{AddressRange, AllowedHost, Operation, operator_name};

/// What a value must be.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A path or other text.
    Text,
    /// A path, or empty where it is found by itself.
    Automatic,
    /// An IP address and port.
    Listen,
    /// Names or addresses of hosts.
    Hosts,
    /// Ranges of addresses.
    Ranges,
    /// Names of Python modules.
    Modules,
    /// Programs, each with a name, its command, and the image in which it runs.
    Programs,
    /// A whole number.
    Whole(u64, u64),
    /// A number.
    Number(f64, f64),
    /// True or false.
    Boolean,
    /// One of these.
    Words(&'static [&'static str]),
    /// Resources by the name the operator gives them, each with these fields.
    Resources(&'static [ResourceField]),
}

/// One field of a resource.
#[derive(Clone, Copy)]
pub(super) struct ResourceField {
    pub(super) name: &'static str,
    pub(super) kind: FieldKind,
    pub(super) required: bool,
}

/// What a field of a resource must be.
#[derive(Clone, Copy)]
pub(super) enum FieldKind {
    /// An absolute path.
    Path,
    /// `sqlite://` and an absolute path.
    DatabaseUrl,
    /// An http or https address.
    HttpUrl,
    /// Any line.
    Text,
    /// Methods with paths, such as `GET /v1/messages/*`.
    Operations,
}

impl Kind {
    /// Reads a value by these rules; mistakes are noted at its place.
    pub(super) fn read(self, place: &Place<'_>) -> Option<Value> {
        match self {
            Self::Text => place.line().map(Value::from),
            Self::Automatic => automatic(place).map(Value::from),
            Self::Listen => listen_address(place).map(Value::from),
            Self::Hosts => {
                let hosts: Vec<Option<AllowedHost>> = place.list().iter().map(Place::parse).collect();
                Some(json!(hosts.into_iter().flatten().collect::<Vec<_>>()))
            }
            Self::Ranges => {
                let ranges: Vec<Option<AddressRange>> = place.list().iter().map(Place::parse).collect();
                Some(json!(ranges.into_iter().flatten().collect::<Vec<_>>()))
            }
            Self::Modules => {
                let modules: Vec<Option<String>> = place.list().iter().map(module_name).collect();
                Some(json!(modules.into_iter().flatten().collect::<Vec<_>>()))
            }
            Self::Programs => Some(place.list().iter().filter_map(program).collect()),
            Self::Whole(least, most) => place.whole(least..=most).map(Value::from),
            Self::Number(least, most) => place.number(least..=most).map(Value::from),
            Self::Boolean => place.boolean().map(Value::from),
            Self::Words(words) => place.one_of(words).map(Value::from),
            Self::Resources(fields) => Some(Value::Object(read_resources(place, fields))),
        }
    }
}

fn listen_address(place: &Place<'_>) -> Option<String> {
    let text = place.line()?;
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    if numeric.parse::<std::net::SocketAddr>().is_err() {
        place.fail(format!(
            "`{}` is not an address and port; expected such as `127.0.0.1:8000` or `[::1]:8000`",
            plugbay_domain::escape(text)
        ));
        return None;
    }
    Some(numeric)
}

/// Words of a command line.
const MAX_WORDS: usize = 64;

fn program(place: &Place<'_>) -> Option<Value> {
    let fields = place.fields(["name", "command", "image"])?;
    let name = fields.required("name").and_then(|name| {
        let text = name.line()?;
        operator_name(text).map_err(|error| name.fail(error)).ok()?;
        Some(text)
    });
    let command: Vec<_> = fields.list("command").iter().filter_map(Place::line).map(str::to_owned).collect();
    if command.is_empty() || command.len() > MAX_WORDS {
        place.fail(format!("`command` has 1 to {MAX_WORDS} words, such as `[bandit, -r, -f, sarif, /plugin]`"));
        return None;
    }
    let image = fields.get("image").and_then(|image| image.line());
    Some(json!({"name": name?, "command": command, "image": image}))
}

fn module_name(place: &Place<'_>) -> Option<String> {
    let text = place.line()?;
    let is_name = |part: &str| {
        let mut characters = part.chars();
        let is_first = |first: char| first.is_alphabetic() || first == '_';
        characters.next().is_some_and(is_first) && characters.all(|other| other.is_alphanumeric() || other == '_')
    };
    if !text.split('.').all(is_name) {
        place.fail(format!(
            "`{}` is not the name of a Python module; expected such as `ctypes` or `os.path`",
            plugbay_domain::escape(text)
        ));
        return None;
    }
    Some(text.to_owned())
}

fn automatic(place: &Place<'_>) -> Option<String> {
    let text = place.text()?;
    if text.is_empty() { Some(String::new()) } else { place.line().map(str::to_owned) }
}

fn read_resources(place: &Place<'_>, fields: &'static [ResourceField]) -> Map<String, Value> {
    let mut found = Map::new();
    for (name, inner) in place.map() {
        if let Err(error) = operator_name(name) {
            place.fail_key(name, error);
        }
        let Some(present) = inner.fields(fields.iter().map(|field| field.name)) else { continue };
        let mut resource = Map::new();
        for field in fields {
            let value = if field.required { present.required(field.name) } else { present.get(field.name) };
            if let Some(value) = value.and_then(|value| field.kind.read(&value)) {
                resource.insert(field.name.to_owned(), value);
            }
        }
        found.insert(name.to_owned(), Value::Object(resource));
    }
    found
}

impl FieldKind {
    fn read(self, place: &Place<'_>) -> Option<Value> {
        if matches!(self, Self::Operations) {
            let operations = place.list();
            let operations = operations.iter().filter_map(Place::parse::<Operation>);
            return Some(json!(operations.map(|operation| operation.to_string()).collect::<Vec<_>>()));
        }
        let text = place.line()?;
        let expected = match self {
            Self::Path => (!text.starts_with('/')).then_some("an absolute path such as `/srv/docs`"),
            Self::DatabaseUrl => (!text.starts_with("sqlite:///"))
                .then_some("the address of a database such as `sqlite:///var/lib/chat/chat.db`"),
            Self::HttpUrl => {
                let is_http = url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
                let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"@?#\\".contains(&byte));
                (!is_http || !is_plain)
                    .then_some("an address such as `https://api.example.com/v1`, without user, query and fragment")
            }
            Self::Text | Self::Operations => None,
        };
        if let Some(expected) = expected {
            place.fail(format!("expected {expected}"));
            return None;
        }
        Some(text.into())
    }
}
