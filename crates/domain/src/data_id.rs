//! Names for the copies of what a plugin keeps.

use std::fmt;
use std::str::FromStr;

use super::{IdError, PluginId};

/// One copy of what a plugin keeps, in `/data` and as small values. An update works on a copy, the next generation; a row
/// of the plugin says which is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataId {
    /// The plugin.
    pub plugin: PluginId,
    /// Counts from 0.
    pub generation: u32,
}

/// The text names no copy of what a plugin keeps.
#[derive(Debug, thiserror::Error)]
pub enum DataIdError {
    /// It begins with no plugin.
    #[error(transparent)]
    Plugin(#[from] IdError),
    /// A generation follows that is not a number above 0.
    #[error("`{0}` is not the number of a generation")]
    Generation(String),
}

impl FromStr for DataId {
    type Err = DataIdError;

    fn from_str(text: &str) -> Result<Self, DataIdError> {
        let Some((plugin, generation)) = text.split_once('.') else {
            return Ok(Self { plugin: text.parse()?, generation: 0 });
        };
        let number = generation.parse().ok().filter(|number: &u32| *number > 0 && number.to_string() == generation);
        let generation = number.ok_or_else(|| DataIdError::Generation(generation.to_owned()))?;
        Ok(Self { plugin: plugin.parse()?, generation })
    }
}

/// As its files are named.
impl fmt::Display for DataId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            0 => write!(f, "{}", self.plugin),
            generation => write!(f, "{}.{generation}", self.plugin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let plugin = PluginId::generate();
        for generation in [0, 1, u32::MAX] {
            let id = DataId { plugin, generation };
            assert_eq!(id.to_string().parse::<DataId>().unwrap(), id);
        }
        for text in [String::new(), format!("{plugin}.0"), format!("{plugin}.01"), format!("{plugin}.x"), "x.1".into()]
        {
            text.parse::<DataId>().unwrap_err();
        }
    }
}
