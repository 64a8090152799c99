//! What goes wrong with a member.

/// Why a member did not do what it is there for. All of them are failures under one rule.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// A problem's code, or a word for what went wrong inside the plugin.
    pub(crate) code: &'static str,
    /// What went wrong.
    pub(crate) text: String,
}

impl Trouble {
    pub(crate) fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// What the member answered is no answer.
    pub(crate) fn answer(text: impl Into<String>) -> Self {
        Self::new("answer-invalid", text)
    }
}
