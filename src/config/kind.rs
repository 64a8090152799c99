//! What the values of the configuration may be, and how they are read.

use serde_json::{Value, json};

use crate::domain::AllowedHost;
use crate::domain::yaml::Place;

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
    /// A whole number.
    Whole(u64, u64),
    /// A number.
    Number(f64, f64),
    /// One of these.
    Words(&'static [&'static str]),
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
            Self::Whole(least, most) => place.whole(least..=most).map(Value::from),
            Self::Number(least, most) => place.number(least..=most).map(Value::from),
            Self::Words(words) => place.one_of(words).map(Value::from),
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
            crate::domain::escape(text)
        ));
        return None;
    }
    Some(numeric)
}

fn automatic(place: &Place<'_>) -> Option<String> {
    let text = place.text()?;
    if text.is_empty() { Some(String::new()) } else { place.line().map(str::to_owned) }
}
