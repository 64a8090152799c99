//! Why a plugin.yaml is not accepted.

use crate::domain::yaml::{Mistake, Mistakes};
use crate::domain::{Code, FieldError, Refusal};

/// Every mistake in one plugin.yaml.
#[derive(Debug)]
pub struct ManifestError {
    code: Code,
    fields: Vec<FieldError>,
}

impl ManifestError {
    /// A code of its own stands only where nothing else is wrong: otherwise correcting it would not be enough.
    pub(super) fn new(mistakes: Mistakes) -> Self {
        let found: Vec<Mistake> = mistakes.into_sorted();
        let mut codes = found.iter().map(|mistake| mistake.code.unwrap_or(Code::ManifestInvalid));
        let first = codes.next().unwrap_or(Code::ManifestInvalid);
        let code = if codes.all(|code| code == first) { first } else { Code::ManifestInvalid };
        Self { code, fields: found.into_iter().map(|mistake| mistake.error).collect() }
    }
}

impl From<FieldError> for ManifestError {
    fn from(error: FieldError) -> Self {
        Self { code: Code::ManifestInvalid, fields: vec![error] }
    }
}

impl std::fmt::Display for ManifestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.fields.as_slice() {
            [only] => write!(f, "plugin.yaml: {only}"),
            [first, rest @ ..] => write!(f, "plugin.yaml has {} mistakes; the first: {first}", rest.len() + 1),
            [] => f.write_str("plugin.yaml is not valid"),
        }
    }
}

impl std::error::Error for ManifestError {}

impl Refusal for ManifestError {
    fn code(&self) -> Code {
        self.code
    }

    fn fields(&self) -> &[FieldError] {
        &self.fields
    }
}
