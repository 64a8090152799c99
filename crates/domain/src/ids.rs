//! Ids that callers see. Each has its own type, so that one cannot be taken for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{PluginName, escape};

/// The text is not an id of the wanted kind.
#[derive(Debug, thiserror::Error)]
#[error("expected {expected}, found `{found}`")]
pub struct IdError {
    expected: &'static str,
    found: String,
}

macro_rules! prefixed_uuid {
    ($type:ident, $prefix:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Uuid);

        impl $type {
            /// Makes a new id that sorts after the ones made before.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl FromStr for $type {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix($prefix)
                    .filter(|hex| {
                        hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
                    })
                    .and_then(|hex| Uuid::try_parse(hex).ok())
                    .map(Self)
                    .ok_or_else(|| IdError {
                        expected: concat!("`", $prefix, "` and 32 hex digits"),
                        found: escape(text),
                    })
            }
        }

        impl TryFrom<String> for $type {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(id: $type) -> Self {
                id.to_string()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0.simple())
            }
        }
    };
}

prefixed_uuid!(PluginId, "plugin_", "One installed plugin; a name that is installed again gets a new one.");
prefixed_uuid!(SessionId, "session_", "One running instance of a plugin.");
prefixed_uuid!(CallId, "call_", "One call of a plugin.");
prefixed_uuid!(StreamId, "stream_", "One answer that a plugin reads piece by piece.");
prefixed_uuid!(ConversationId, "conversation_", "One conversation of the chat.");
prefixed_uuid!(MessageId, "message_", "One message of a conversation.");
prefixed_uuid!(ExchangeId, "exchange_", "One request to the chat and its answer.");
prefixed_uuid!(TokenId, "token_", "A token, without its secret.");

/// What a caller may write to address a plugin: its id or its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginRef {
    /// By id.
    Id(PluginId),
    /// By name.
    Name(PluginName),
}

impl PluginRef {
    /// Reads an id or a name; anything else addresses no plugin.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().map(Self::Id).or_else(|_| text.parse().map(Self::Name)).ok()
    }
}

impl fmt::Display for PluginRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// The number minisign gives a key, written as it prints it: 16 upper-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(u64);

impl KeyId {
    /// Takes the eight bytes in the order key and signature files hold them.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    /// The eight bytes in the order key and signature files hold them.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }
}

impl FromStr for KeyId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Some(text)
            .filter(|hex| hex.len() == 16 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|hex| u64::from_str_radix(hex, 16).ok())
            .map(Self)
            .ok_or_else(|| IdError { expected: "16 hex digits", found: escape(text) })
    }
}

impl TryFrom<String> for KeyId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_form() {
        let id = PluginId::generate();
        assert_eq!(id.to_string().parse::<PluginId>().unwrap(), id);
        assert!(id.to_string().replace("plugin_", "token_").parse::<PluginId>().is_err());
    }

    #[test]
    fn a_reference_is_an_id_or_a_name() {
        let id = PluginId::generate();
        assert_eq!(PluginRef::parse(&id.to_string()), Some(PluginRef::Id(id)));
        assert!(matches!(PluginRef::parse("my_plugin"), Some(PluginRef::Name(_))));
        assert_eq!(PluginRef::parse("../x"), None);
    }

    #[test]
    fn key_ids_print_their_bytes_backwards_as_minisign_does() {
        let id = KeyId::from_bytes([0x18, 0x06, 0x5f, 0x0e, 0xd4, 0xc3, 0xb2, 0xa1]);
        assert_eq!(id.to_string(), "A1B2C3D40E5F0618");
        assert_eq!("a1b2c3d40e5f0618".parse::<KeyId>().unwrap(), id);
    }
}
