//! Why the service does not start with this configuration.

use std::io;
use std::path::PathBuf;

use plugbay_domain::{Code, FieldError, Refusal};

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read the configuration file `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Values are wrong.
    #[error("{}", summary(file.as_ref(), fields))]
    Invalid {
        /// The file, if there is one.
        file: Option<PathBuf>,
        /// Every mistake.
        fields: Vec<FieldError>,
    },
}

fn summary(file: Option<&PathBuf>, fields: &[FieldError]) -> String {
    let source = file.map_or_else(|| "the configuration".to_owned(), |path| format!("`{}`", path.display()));
    match fields {
        [only] => format!("{source}: {only}"),
        [first, rest @ ..] => format!("{source} has {} mistakes; the first: {first}", rest.len() + 1),
        [] => format!("{source} is not valid"),
    }
}

impl Refusal for ConfigError {
    fn code(&self) -> Code {
        Code::ConfigInvalid
    }

    fn how(&self) -> Option<String> {
        match self {
            Self::Read { path, .. } => Some(format!("create `{}`, or name another file with --config", path.display())),
            Self::Invalid { .. } => Some("correct these places; docs/configuration.md lists every key".to_owned()),
        }
    }

    fn fields(&self) -> &[FieldError] {
        match self {
            Self::Read { .. } => &[],
            Self::Invalid { fields, .. } => fields,
        }
    }
}
