//! Whether what stands between a plugin and the machine is enough for it, by the operator's `security.min_isolation`.

use plugbay_config::{EngineChoice, MinIsolation};
use plugbay_domain::{Code, Isolation, SignatureStatus};

use crate::{Fleet, FleetError, Member, PluginProblem, Subject, engine};

/// What decides how much a plugin needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Nature {
    is_signed: bool,
    is_networked: bool,
}

/// Refuses to start a plugin in something weaker than the operator allows.
pub(crate) async fn check_isolation(fleet: &Fleet, member: &Member, subject: &Subject) -> Result<(), FleetError> {
    if fleet.isolation().is_none() {
        // Chooses one, if there is any. What is wrong otherwise, the start itself tells.
        engine::probe_engine(fleet).await;
    }
    let Some(isolation) = fleet.isolation() else { return Ok(()) };
    let nature = Nature {
        is_signed: subject.version.signature_status == SignatureStatus::Valid,
        is_networked: subject.reach.grants.load().network().is_some(),
    };
    let Some((rule, wanted)) = too_weak(isolation, nature, fleet.config.security.min_isolation) else {
        return Ok(());
    };
    let name = &member.name;
    let detail = format!(
        "`{name}` would run with isolation `{isolation}`, and `security.min_isolation.{rule}` demands `{wanted}`"
    );
    let how = match fleet.config.sandbox.engine {
        EngineChoice::Process => {
            format!("set sandbox.engine: docker, or security.min_isolation.{rule}: {isolation}")
        }
        EngineChoice::Auto | EngineChoice::Docker => {
            format!("start Docker and restart the service, or set security.min_isolation.{rule}: {isolation}")
        }
    };
    Err(PluginProblem { how: Some(how), ..PluginProblem::new(Code::IsolationTooWeak, detail) }.into())
}

impl Fleet {
    /// What plugins run in; `None` until an engine is chosen.
    pub fn isolation(&self) -> Option<Isolation> {
        self.engine.isolation()
    }

    /// What runs plugins, in one word.
    pub fn engine_name(&self) -> &'static str {
        self.isolation().map_or(self.config.sandbox.engine.as_str(), Isolation::as_str)
    }
}

/// The rule that is broken, with what it demands.
fn too_weak(isolation: Isolation, nature: Nature, least: MinIsolation) -> Option<(&'static str, Isolation)> {
    let rules = [
        (!nature.is_signed, "unsigned", least.unsigned),
        (nature.is_networked, "networked", least.networked),
        (true, "all", least.all),
    ];
    let broken = rules.into_iter().find(|(applies, _, wanted)| *applies && isolation < *wanted);
    broken.map(|(_, rule, wanted)| (rule, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_refuses_what_is_weaker_and_nothing_else() {
        const OPEN: MinIsolation =
            MinIsolation { unsigned: Isolation::Process, networked: Isolation::Process, all: Isolation::Process };
        let broken = |isolation, is_signed, is_networked, least| {
            too_weak(isolation, Nature { is_signed, is_networked }, least).map(|(rule, _)| rule)
        };
        let unsigned = MinIsolation { unsigned: Isolation::Docker, ..OPEN };
        let networked = MinIsolation { networked: Isolation::Docker, ..OPEN };
        let all = MinIsolation { all: Isolation::Docker, ..OPEN };
        assert_eq!(broken(Isolation::Process, false, true, OPEN), None);
        assert_eq!(broken(Isolation::Process, false, false, unsigned), Some("unsigned"));
        assert_eq!(broken(Isolation::Process, true, true, unsigned), None);
        assert_eq!(broken(Isolation::Process, true, true, networked), Some("networked"));
        assert_eq!(broken(Isolation::Process, true, false, networked), None);
        assert_eq!(broken(Isolation::Process, true, false, all), Some("all"));
        for least in [OPEN, unsigned, networked, all] {
            assert_eq!(broken(Isolation::Docker, false, true, least), None);
        }
    }
}
