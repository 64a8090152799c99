//! What is known of an exchange when its answer begins, or when there will be none.

use std::time::Duration;

use plugbay_dialects::UpstreamFailure;
use plugbay_domain::{Code, ExchangeId, PluginName, Refusal};

use crate::ask;
use crate::course::{Course, Stopped};
use crate::record::Step;

/// What is known of an exchange once its answer begins.
#[derive(Clone, Debug)]
pub struct Head {
    /// Its id.
    pub exchange: ExchangeId,
    /// The plugin that answers.
    pub backend: Option<PluginName>,
    /// How often a backend was asked.
    pub attempts: u32,
    /// What its members did so far.
    pub steps: Vec<Step>,
    /// What plugbay and its plugins took until now, without the backend.
    pub overhead: Duration,
}

/// Why an exchange was not answered.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct Unanswered {
    /// What is known of the exchange.
    pub head: Head,
    /// The code.
    pub code: Code,
    /// The same for people. It names the plugin, and of a guard nothing else.
    pub text: String,
    /// More of it, for those who may look at plugins.
    pub cause: Option<String>,
    /// The plugin that refused it.
    pub plugin: Option<PluginName>,
    /// What the backend said.
    pub failure: Option<UpstreamFailure>,
    /// When to ask again.
    pub retry_after: Option<Duration>,
}

impl Refusal for Unanswered {
    fn code(&self) -> Code {
        self.code
    }
}

impl Unanswered {
    /// The task is gone: the service is being stopped.
    pub(crate) fn gone() -> Self {
        let head = Head {
            exchange: ExchangeId::generate(),
            backend: None,
            attempts: 0,
            steps: Vec::new(),
            overhead: Duration::ZERO,
        };
        Self {
            head,
            code: Code::PluginStopping,
            text: "the service is being stopped".to_owned(),
            cause: None,
            plugin: None,
            failure: None,
            retry_after: None,
        }
    }

    pub(crate) fn of(course: &Course, stopped: Stopped) -> Self {
        let code = ask::code_of(&stopped);
        let (text, cause, plugin, failure, retry_after) = match stopped {
            Stopped::Blocked { plugin, reason } => (format!("`{plugin}`: {reason}"), None, Some(plugin), None, None),
            Stopped::Guard { plugin, code, text } => {
                let told = format!("`{plugin}` must look at every message, and could not");
                (told, Some(format!("{code}: {text}")), Some(plugin), None, None)
            }
            Stopped::Model { text } => (text, None, None, None, None),
            Stopped::TooLarge { bytes, most } => (
                format!("a message has {bytes} bytes; at most {most} fit a message to a plugin"),
                None,
                None,
                None,
                None,
            ),
            Stopped::Backend { plugin, failure, retry_after, .. } => {
                (format!("`{plugin}`: {}", failure.message), None, Some(plugin), Some(failure), retry_after)
            }
        };
        Self { head: head_of(course), code, text, cause, plugin, failure, retry_after }
    }
}

pub(crate) fn head_of(course: &Course) -> Head {
    Head {
        exchange: course.id,
        backend: course.backend.clone(),
        attempts: course.attempts,
        steps: course.steps.clone(),
        overhead: course.overhead(),
    }
}
