//! Why a plugin.yaml is not accepted.

use crate::yaml::{Mistake, Mistakes};
use crate::{Code, FieldError, Refusal};

/// Mistakes that are told: a hostile manifest must not make an answer of megabytes.
const MAX_TOLD: usize = 100;

const FILE: &str = "plugin.yaml";

/// Every mistake in one plugin.yaml, or in the config.yaml beside it.
#[derive(Debug)]
pub struct ManifestError {
    code: Code,
    file: &'static str,
    fields: Vec<FieldError>,
}

impl ManifestError {
    /// A code of its own stands only where nothing else is wrong: otherwise correcting it would not be enough.
    pub(super) fn new(mistakes: Mistakes) -> Self {
        let found: Vec<Mistake> = mistakes.into_sorted();
        let mut codes = found.iter().map(|mistake| mistake.code.unwrap_or(Code::ManifestInvalid));
        let first = codes.next().unwrap_or(Code::ManifestInvalid);
        let code = if codes.all(|code| code == first) { first } else { Code::ManifestInvalid };
        let total = found.len();
        let mut fields: Vec<FieldError> = found.into_iter().map(|mistake| mistake.error).collect();
        if total > MAX_TOLD {
            fields.truncate(MAX_TOLD);
            fields.push(FieldError::at("", format!("and {} more mistakes", total - MAX_TOLD)));
        }
        Self { code, file: FILE, fields }
    }
}

impl ManifestError {
    /// The same mistakes, told of another file of the package.
    pub(super) fn in_file(self, file: &'static str) -> Self {
        Self { file, ..self }
    }
}

impl From<FieldError> for ManifestError {
    fn from(error: FieldError) -> Self {
        Self { code: Code::ManifestInvalid, file: FILE, fields: vec![error] }
    }
}

impl std::fmt::Display for ManifestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.fields.as_slice() {
            [only] => write!(f, "{}: {only}", self.file),
            [first, rest @ ..] => write!(f, "{} has {} mistakes; the first: {first}", self.file, rest.len() + 1),
            [] => write!(f, "{} is not valid", self.file),
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
