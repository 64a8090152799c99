//! The processors of a sandbox at both ends of its life; see [`Pace`].

use std::pin::pin;
use std::time::Duration;

use super::start_failure::Refused;
use plugbay_domain::Chain;
use plugbay_sandbox::{Pace, Sandbox, SandboxSpec};

/// How long a start is hurried. A plugin that only computes must not take from others for longer.
const LONGEST: Duration = Duration::from_secs(5);

/// How long a plugin may take to end before it is hurried: on a machine with time to spare it is gone by then.
const PATIENCE: Duration = Duration::from_millis(50);

/// A sandbox whose share changes.
pub(super) struct Paced<'a> {
    pub(super) engine: &'a dyn Sandbox,
    pub(super) sandbox: &'a str,
    pub(super) spec: &'a SandboxSpec,
}

impl Paced<'_> {
    /// Has the usual pace after the start, or after the longest time. Without it the plugin would keep what it must not.
    pub(super) async fn while_it_starts<T>(
        &self,
        starting: impl Future<Output = Result<T, Refused>>,
    ) -> Result<T, Refused> {
        let mut starting = pin!(starting);
        let usual = async || self.engine.pace(self.sandbox, self.spec, Pace::Usual).await.map_err(Refused::Unpaced);
        match tokio::time::timeout(LONGEST, &mut starting).await {
            Ok(started) => {
                let started = started?;
                usual().await?;
                Ok(started)
            }
            Err(_elapsed) => {
                let paced = usual().await;
                // Why it did not start says more.
                let started = starting.await?;
                paced?;
                Ok(started)
            }
        }
    }

    /// Hurries what does not end by itself at once. It is killed in the end, so nothing depends on this.
    pub(super) async fn while_it_ends<T>(&self, ending: impl Future<Output = T>) -> T {
        let mut ending = pin!(ending);
        if let Ok(ended) = tokio::time::timeout(PATIENCE, &mut ending).await {
            return ended;
        }
        tokio::select! {
            biased;
            ended = &mut ending => return ended,
            hurried = self.engine.pace(self.sandbox, self.spec, Pace::Hurried) => {
                if let Err(error) = hurried {
                    tracing::debug!(sandbox = self.sandbox, error = %Chain(&error), "A sandbox ends without hurry");
                }
            }
        }
        ending.await
    }
}
