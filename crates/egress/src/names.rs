//! Answers the shim's questions about names. Nothing is resolved for them: which names are known is a matter of grants
//! alone, so no name that a plugin makes up ever leaves.

use std::time::Duration;

use tokio::time::Instant;

use super::incoming::Deadline;
use super::{Egress, EgressError, Exit, Incoming};
use plugbay_domain::{canonical_name, escape};

/// Longest line: a name of 253 bytes.
const MAX_LINE: usize = 256;

/// How long the shim may be silent; it asks when the plugin does.
const SILENCE: Duration = Duration::from_hours(24 * 365);

/// Ports that the shim is told of at most.
const MAX_PORTS: usize = 64;

/// The same question soon after is the same attempt: programs ask for IPv4 and IPv6, and ask again.
const SAME_ATTEMPT: Duration = Duration::from_secs(1);

impl Egress {
    /// Answers each line with a name by a line with its ports: `443 8443`, or `-` for a name that must not be known.
    pub(super) async fn serve_names(&self, exit: &Exit, mut incoming: Incoming) -> Result<(), EgressError> {
        let mut last: Option<(String, Instant)> = None;
        loop {
            let line = match incoming.line(Deadline::after(SILENCE), MAX_LINE).await {
                Ok(line) => line,
                Err(EgressError::Plugin(_)) => return Ok(()),
                Err(error) => return Err(error),
            };
            let name = canonical_name(&line).filter(|_| line.is_ascii());
            let ports = name.as_deref().map(|name| exit.ports_of(name)).unwrap_or_default();
            if ports.is_empty() {
                let is_new = last.as_ref().is_none_or(|(name, at)| *name != line || at.elapsed() > SAME_ATTEMPT);
                if is_new {
                    let but = ", so it has no address".to_owned();
                    let error = match name {
                        Some(wanted) => EgressError::NotGranted { wanted, but },
                        None => EgressError::BadTarget { found: escape(&line) },
                    };
                    self.note(exit, &error);
                }
                last = Some((line, Instant::now()));
                incoming.write(b"-\n").await?;
                continue;
            }
            let ports: Vec<String> = ports.iter().take(MAX_PORTS).map(u16::to_string).collect();
            incoming.write(format!("{}\n", ports.join(" ")).as_bytes()).await?;
        }
    }
}
