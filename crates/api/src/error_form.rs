//! Whose clients come to a path: they read refusals in one form, and say in one header who they are.

/// Whose errors the clients of a path read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorForm {
    OpenAi,
    Anthropic,
}

impl ErrorForm {
    /// The form for a path; nothing where problems stay what they are.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let is_below =
            |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match () {
            () if is_below("/v1/messages") => Some(Self::Anthropic),
            () if is_below("/v1") => Some(Self::OpenAi),
            () => None,
        }
    }
}
