//! What a container may have of the processors, while it runs. It is made with its usual share, so that what was planned is
//! what is proved, and gets more before it is started.

use bollard::models::ContainerUpdateBody;

use super::DockerEngine;
use super::client::QUICK;
use super::config::numbers;
use crate::inside::processors;
use crate::{Pace, SandboxError, SandboxSpec};

impl DockerEngine {
    pub(super) async fn set_pace(&self, id: &str, spec: &SandboxSpec, pace: Pace) -> Result<(), SandboxError> {
        let (nano, shares) = numbers(processors(spec, self.machine().await?.cpus, pace));
        let body =
            ContainerUpdateBody { nano_cpus: Some(nano), cpu_shares: Some(shares), ..ContainerUpdateBody::default() };
        let updated = self.client.ask(QUICK, async |docker| docker.update_container(id, body).await).await;
        updated.map_err(self.failed("give the container its share of the processors"))
    }
}
