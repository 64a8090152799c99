//! Why a request is not accepted.

/// The request is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FrontError {
    /// What is wrong.
    pub message: String,
    /// The member that is.
    pub param: Option<String>,
}

impl FrontError {
    pub(crate) fn new(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), param: Some(param.into()) }
    }

    pub(crate) fn whole(message: impl Into<String>) -> Self {
        Self { message: message.into(), param: None }
    }
}
