//! What a plugin answers, in the form callers see.

use serde::Deserialize;
use serde_json::value::RawValue;

/// A plugin's answer.
#[derive(Debug, Default)]
pub struct PluginAnswer {
    /// Whether it worked, as the plugin sees it.
    pub success: bool,
    /// What came of it.
    pub result: Option<Box<RawValue>>,
    /// What went wrong.
    pub error: Option<String>,
    /// The kind of exception, where one was raised.
    pub error_kind: Option<String>,
    /// A word for people.
    pub message: Option<String>,
}

/// Takes an answer of the usual form apart; any other is a result as a whole.
pub(crate) fn lift(raw: Box<RawValue>) -> PluginAnswer {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Form {
        success: bool,
        #[serde(default)]
        result: Option<Box<RawValue>>,
        #[serde(default)]
        error: Option<String>,
        #[serde(default)]
        message: Option<String>,
    }
    let text = raw.get();
    if text.starts_with('{')
        && text.contains("\"success\"")
        && let Ok(Form { success, result, error, message }) = serde_json::from_str(text)
    {
        return PluginAnswer { success, result, error, error_kind: None, message };
    }
    PluginAnswer { success: true, result: Some(raw), ..PluginAnswer::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifted(text: &str) -> PluginAnswer {
        lift(RawValue::from_string(text.to_owned()).unwrap())
    }

    #[test]
    fn an_answer_of_the_usual_form_is_taken_apart() {
        let answer = lifted(r#"{"success":false,"error":"no","message":"m"}"#);
        assert!(!answer.success && answer.result.is_none());
        assert_eq!((answer.error.as_deref(), answer.message.as_deref()), (Some("no"), Some("m")));
        assert_eq!(lifted(r#"{"success":true,"result":[1]}"#).result.unwrap().get(), "[1]");
    }

    #[test]
    fn any_other_answer_is_the_result() {
        for text in ["null", "\"success\"", r#"{"success":true,"more":1}"#, r#"{"success":"yes"}"#, "[]"] {
            let answer = lifted(text);
            assert!(answer.success, "{text}");
            assert_eq!(answer.result.unwrap().get(), text);
        }
    }
}
