//! What answers a plugin's requests while its author tries it (`plugbay test`): answers from a file, and refusals that tell
//! how to give one. Only a service that was started for a trial has it; no setting and no request brings it in.
//!
//! What a request must look like and what must be granted for it is checked as ever. Without an answer from the file,
//! `kv.*` and `chat.*` do what they always do: they work on the database of the trial, which is thrown away.

mod check;
mod file;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Asked, Host, HostError};
use plugbay_domain::{Code, escape};

/// Requests that are noted. A plugin may make any number; the author reads the first ones.
const MOST_NOTED: usize = 1_000;

/// Bytes of parameters that are noted.
const MAX_NOTED_BYTES: usize = 4 * 1024;

/// The rule by which a request is refused that has no answer.
const RULE: &str = "stand-in";

/// Answers from a file, and what was asked so far.
#[derive(Debug, Default)]
pub struct StandIn {
    canned: Mutex<BTreeMap<&'static str, Canned>>,
    noted: Mutex<Vec<NotedRequest>>,
}

/// What the file says about one function.
#[derive(Debug)]
enum Canned {
    /// The same to every request.
    Always(CannedAnswer),
    /// One after another, each once.
    InTurn { left: VecDeque<CannedAnswer>, given: usize },
}

#[derive(Clone, Debug)]
enum CannedAnswer {
    Result(Box<RawValue>),
    Refusal { code: Code, text: String },
}

/// A request of the plugin.
#[derive(Clone, Debug, Serialize)]
pub struct NotedRequest {
    /// The function.
    pub function: String,
    /// Its parameters, where they are not too long to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub params: Option<Value>,
    /// `file` or `plugbay`; nothing when it was refused before anything answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<&'static str>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl StandIn {
    /// Takes what was asked since it was last taken.
    pub fn take_noted(&self) -> Vec<NotedRequest> {
        std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next answer to a function, if the file has any.
    fn next(&self, function: &str) -> Option<Result<CannedAnswer, HostError>> {
        let mut canned = self.canned.lock().unwrap_or_else(PoisonError::into_inner);
        Some(match canned.get_mut(function)? {
            Canned::Always(answer) => Ok(answer.clone()),
            Canned::InTurn { left, given } => {
                *given += usize::from(!left.is_empty());
                left.pop_front().ok_or_else(|| {
                    let text =
                        format!("`{function}` is asked more often than the file of --fake-host answers: {given}");
                    refused(text, format!("add an answer to `{function}`, or write one without a list"))
                })
            }
        })
    }

    fn note(&self, asked: Asked<'_>, by: Option<&'static str>, answer: &Result<Box<RawValue>, HostError>) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() >= MOST_NOTED {
            return;
        }
        let is_short = asked.params.len() <= MAX_NOTED_BYTES;
        let mut params: Option<Value> = if is_short { serde_json::from_str(asked.params).ok() } else { None };
        if let Some(Value::Object(params)) = &mut params {
            params.remove("call");
        }
        noted.push(NotedRequest {
            function: escape(asked.function),
            params,
            answered_by: by,
            refused: answer.as_ref().err().map(ToString::to_string),
        });
    }
}

impl Host {
    /// Answers a request of a plugin that is being tried.
    pub(super) async fn answer_in_trial(
        &self,
        stand_in: &StandIn,
        asked: Asked<'_>,
    ) -> Result<Box<RawValue>, HostError> {
        let (by, answer) = match check::check(self, asked) {
            Err(refused) => (None, Err(refused)),
            Ok(()) => match stand_in.next(asked.function) {
                Some(canned) => (Some("file"), canned.and_then(|canned| self.give(canned))),
                None if is_real(asked.function) => (Some("plugbay"), self.act(asked).await),
                None => (None, Err(unanswered(asked.function))),
            },
        };
        stand_in.note(asked, by, &answer);
        answer
    }

    fn give(&self, canned: CannedAnswer) -> Result<Box<RawValue>, HostError> {
        match canned {
            CannedAnswer::Result(answer) => self.fitting(answer),
            CannedAnswer::Refusal { code, text } => Err(HostError::Refused { code, rule: text }),
        }
    }
}

/// Tells whether a function works in a trial as it does in a service.
fn is_real(function: &str) -> bool {
    function.starts_with("kv.") || function.starts_with("chat.")
}

fn unanswered(function: &str) -> HostError {
    let text = format!("`{function}` is not answered in `plugbay test`: give its answer with --fake-host FILE");
    refused(text, format!("plugbay test DIR --fake-host FILE, with `{function}: {}` in it", file::example(function)))
}

fn refused(text: String, how: String) -> HostError {
    HostError::Outgoing { rule: RULE, text, how }
}

#[cfg(test)]
mod tests;
