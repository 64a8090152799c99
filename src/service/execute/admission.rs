//! A call that the breaker let through, and what it says about the plugin.

use std::sync::Arc;

use crate::domain::Code;
use crate::service::fleet::{Member, Pass, Verdict};
use crate::service::{PluginProblem, ServiceError};

/// Tells the breaker how the call ended, however that comes about.
#[derive(Debug)]
pub(super) struct Admitted {
    member: Arc<Member>,
    pass: Pass,
    pub(super) verdict: Verdict,
}

impl Admitted {
    pub(super) fn new(member: &Arc<Member>) -> Result<Self, ServiceError> {
        match member.admit() {
            Ok(pass) => Ok(Self { member: Arc::clone(member), pass, verdict: Verdict::None }),
            Err(wait) => {
                let name = &member.name;
                let failures = member.breaker_view().failures;
                let detail = format!("`{name}` failed {failures} times in a row; it is tried again after a while");
                let how = format!(
                    "wait as long as Retry-After says; plugbay logs {name} shows why it fails; \
                     plugbay enable {name} lets calls through at once"
                );
                Err(PluginProblem::new(Code::BreakerOpen, detail).with_how(how).retry_after(wait).into())
            }
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.member.settle(self.pass, self.verdict);
    }
}
