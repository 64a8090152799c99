//! Who takes part in an exchange, and in which order. Pure: it is made of what is installed and granted.

use std::sync::Arc;
use std::time::Duration;

use plugbay_domain::{
    ChatHalf, ChatKind, ContentKind, DEFAULT_HOLD, Effect, Hook, HookName, Manifest, OnFailure, PluginId, PluginName,
    Priority, Sees, Window, words,
};

use crate::trouble::Trouble;

words! {
    /// A place in the order of an exchange.
    Stage {
        /// Middleware, on the way to the backend.
        ProcessRequest = "process_request",
        /// Hooks, when an exchange begins.
        RequestStart = "on_request_start",
        /// Hooks, with the messages of the request.
        BeforeMessage = "on_before_message",
        /// Processors of messages of the request.
        Request = "request",
        /// Extensions.
        Extend = "extend",
        /// Hooks, before another model is asked.
        BeforeModelLoad = "on_before_model_load",
        /// Hooks, when another backend or model is asked than before.
        ModelSwitch = "on_model_switch",
        /// Hooks, after the first answer of a model.
        AfterModelLoad = "on_after_model_load",
        /// Hooks, before a backend is asked again.
        Retry = "on_retry",
        /// The backend.
        Backend = "backend",
        /// Hooks, with each part of the answer.
        StreamChunk = "on_stream_chunk",
        /// Processors of the answer.
        Response = "response",
        /// Hooks, with the answer.
        AfterMessage = "on_after_message",
        /// Middleware, on the way back.
        ProcessResponse = "process_response",
        /// Hooks, when an exchange was answered.
        RequestComplete = "on_request_complete",
        /// Hooks, when an exchange ended without an answer.
        RequestError = "on_request_error",
        /// Hooks, with what was raised in a plugin.
        Error = "on_error",
        /// Hooks that hear what people say, by whatever way.
        Message = "on_message",
        /// Hooks, when another plugin has become active.
        PluginLoad = "on_plugin_load",
        /// Hooks, when another plugin has stopped.
        PluginUnload = "on_plugin_unload",
    }
}

impl Stage {
    /// The stage of a hook, if the chat calls it.
    fn of_hook(hook: HookName) -> Option<Self> {
        Some(match hook {
            HookName::OnRequestStart => Self::RequestStart,
            HookName::OnBeforeMessage => Self::BeforeMessage,
            HookName::OnBeforeModelLoad => Self::BeforeModelLoad,
            HookName::OnModelSwitch => Self::ModelSwitch,
            HookName::OnAfterModelLoad => Self::AfterModelLoad,
            HookName::OnRetry => Self::Retry,
            HookName::OnStreamChunk => Self::StreamChunk,
            HookName::OnAfterMessage => Self::AfterMessage,
            HookName::OnRequestComplete => Self::RequestComplete,
            HookName::OnRequestError => Self::RequestError,
            HookName::OnError => Self::Error,
            HookName::OnMessage => Self::Message,
            HookName::OnPluginLoad => Self::PluginLoad,
            HookName::OnPluginUnload => Self::PluginUnload,
            // A session tells of its own beginning and end.
            HookName::OnFileUpload | HookName::OnCommand | HookName::OnStartup | HookName::OnShutdown => return None,
        })
    }
}

/// Why a member is not asked. That is a failure like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Off {
    /// An administrator disabled it.
    Disabled,
    /// It holds no `chat_access` now.
    NotPermitted,
}

impl Off {
    /// The same as what goes wrong with a member.
    pub(crate) fn trouble(self, plugin: &PluginName) -> Trouble {
        match self {
            Self::Disabled => Trouble::new("disabled", format!("`{plugin}` is disabled")),
            Self::NotPermitted => Trouble::new("permission-denied", format!("`{plugin}` does not hold `chat_access`")),
        }
    }
}

/// A plugin at one place.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: PluginId,
    pub(crate) plugin: PluginName,
    pub(crate) stage: Stage,
    pub(crate) method: &'static str,
    pub(crate) effect: Effect,
    pub(crate) priority: Priority,
    /// Its own time; without it the member shares the chain's.
    pub(crate) timeout: Option<Duration>,
    pub(crate) on_failure: OnFailure,
    pub(crate) sees: Sees,
    /// Kinds of content that it is not shown.
    pub(crate) not: Vec<ContentKind>,
    /// Characters that it may hold back of an answer that it is fed.
    pub(crate) max_hold: usize,
    /// The pieces that it sees.
    pub(crate) window: Option<Window>,
    pub(crate) off: Option<Off>,
}

impl Member {
    /// Whether nothing may pass that it has not allowed.
    pub(crate) fn is_guard(&self) -> bool {
        self.effect == Effect::Decide || self.on_failure == OnFailure::Block
    }

    /// The method that it is fed an answer by.
    pub(crate) fn stream_method(&self) -> &'static str {
        if self.stage == Stage::StreamChunk { self.method } else { "process_stream" }
    }

    /// Whether it is shown content of this kind. What is no guard gets what is said and nothing else.
    pub(crate) fn is_shown(&self, kind: ContentKind) -> bool {
        if self.is_guard() { !self.not.contains(&kind) } else { kind == ContentKind::Content }
    }
}

/// A plugin as far as the chat is concerned.
#[derive(Clone, Debug)]
pub(crate) struct Participant {
    pub(crate) id: PluginId,
    pub(crate) name: PluginName,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) off: Option<Off>,
}

/// All members, by stage and in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    members: Vec<Arc<Member>>,
}

impl Plan {
    /// The order of these plugins: by priority, then by name; on the way back the other way round.
    pub(crate) fn of(participants: &[Participant]) -> Self {
        let mut members: Vec<Member> = participants.iter().flat_map(members_of).collect();
        members.sort_by(|left, right| {
            let order = (left.priority, &left.plugin).cmp(&(right.priority, &right.plugin));
            let order = if left.stage == Stage::ProcessResponse { order.reverse() } else { order };
            left.stage.cmp(&right.stage).then(order)
        });
        Self { members: members.into_iter().map(Arc::new).collect() }
    }

    /// The members of a stage, in their order.
    pub(crate) fn at(&self, stage: Stage) -> &[Arc<Member>] {
        let begin = self.members.partition_point(|member| member.stage < stage);
        let end = self.members.partition_point(|member| member.stage <= stage);
        &self.members[begin..end]
    }
}

/// The places of one plugin.
fn members_of(participant: &Participant) -> Vec<Member> {
    let manifest = &participant.manifest;
    let mut found: Vec<Member> = manifest.hooks.iter().filter_map(|hook| of_hook(participant, hook)).collect();
    let Some(role) = &manifest.chat else { return found };
    let stages: &[(Stage, &'static str)] = match role.kind {
        ChatKind::MessageProcessor => &[(Stage::Request, "process_message"), (Stage::Response, "process_message")],
        ChatKind::FeatureExtension => &[(Stage::Extend, "extend")],
        ChatKind::Middleware => {
            &[(Stage::ProcessRequest, "process_request"), (Stage::ProcessResponse, "process_response")]
        }
        ChatKind::BackendProvider => &[],
    };
    let takes = |stage: Stage| match stage {
        Stage::Request => role.is_of(ChatHalf::Request),
        Stage::Response => role.is_of(ChatHalf::Response),
        _ => true,
    };
    found.extend(stages.iter().filter(|(stage, _)| takes(*stage)).map(|(stage, method)| Member {
        id: participant.id,
        plugin: participant.name.clone(),
        stage: *stage,
        method,
        effect: role.effect,
        priority: role.priority,
        timeout: role.timeout_ms.map(Duration::from_millis),
        on_failure: role.on_failure,
        sees: role.sees,
        not: role.not.clone(),
        max_hold: usize::try_from(role.max_hold).unwrap_or(usize::MAX),
        window: role.window,
        off: participant.off,
    }));
    found
}

fn of_hook(participant: &Participant, hook: &Hook) -> Option<Member> {
    Some(Member {
        id: participant.id,
        plugin: participant.name.clone(),
        stage: Stage::of_hook(hook.name)?,
        method: hook.name.as_str(),
        effect: hook.effect,
        priority: hook.priority,
        timeout: hook.timeout_ms.map(Duration::from_millis),
        on_failure: hook.on_failure,
        sees: Sees::Complete,
        not: Vec::new(),
        max_hold: usize::try_from(DEFAULT_HOLD).unwrap_or(usize::MAX),
        window: None,
        off: participant.off,
    })
}

#[cfg(test)]
mod tests {
    use plugbay_domain::Word as _;

    use super::*;

    fn participant(name: &str, more: &str) -> Participant {
        let text = format!("name: {name}\nversion: 1.0.0\nmain: main.py\npermissions: [chat_access]\n{more}");
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        let name = manifest.name.clone();
        Participant { id: PluginId::generate(), name, manifest: Arc::new(manifest), off: None }
    }

    fn names(plan: &Plan, stage: Stage) -> Vec<&str> {
        plan.at(stage).iter().map(|member| member.plugin.as_str()).collect()
    }

    #[test]
    fn members_stand_by_priority_then_by_name_and_on_the_way_back_the_other_way_round() {
        let participants: Vec<Participant> = Priority::ALL
            .iter()
            .rev()
            .flat_map(|priority| {
                ["b", "a"].map(|letter| {
                    let name = format!("{letter}-{}", priority.as_str().to_ascii_lowercase());
                    participant(&name, &format!("chat: {{ kind: middleware, priority: {priority} }}\n"))
                })
            })
            .collect();
        let plan = Plan::of(&participants);
        let forth = [
            "a-critical",
            "b-critical",
            "a-high",
            "b-high",
            "a-normal",
            "b-normal",
            "a-low",
            "b-low",
            "a-monitoring",
            "b-monitoring",
        ];
        assert_eq!(names(&plan, Stage::ProcessRequest), forth);
        assert_eq!(names(&plan, Stage::ProcessResponse), forth.into_iter().rev().collect::<Vec<_>>());
    }

    #[test]
    fn every_hook_of_an_exchange_has_its_stage_at_every_priority() {
        let of_exchange: Vec<HookName> =
            HookName::ALL.iter().copied().filter(|hook| Stage::of_hook(*hook).is_some()).collect();
        let participants: Vec<Participant> = Priority::ALL
            .iter()
            .map(|priority| {
                let entry = |hook: &HookName| format!("{{ name: {hook}, priority: {priority} }}");
                let hooks: Vec<String> = of_exchange.iter().map(entry).collect();
                let name = priority.as_str().to_ascii_lowercase();
                participant(&name, &format!("hooks: [{}]\n", hooks.join(", ")))
            })
            .collect();
        let plan = Plan::of(&participants);
        for hook in of_exchange {
            let stage = Stage::of_hook(hook).unwrap();
            assert_eq!(names(&plan, stage), ["critical", "high", "normal", "low", "monitoring"], "{hook}");
            assert!(plan.at(stage).iter().all(|member| member.method == hook.as_str()));
        }
    }

    #[test]
    fn a_processor_stands_where_it_is_of_and_guards_see_all_kinds_but_those_they_leave_out() {
        let both = "chat: { kind: message_processor, of: [request, response], effect: decide, not: [tool] }\n";
        let plan =
            Plan::of(&[participant("guard", both), participant("filter", "chat: { kind: message_processor }\n")]);
        assert_eq!(names(&plan, Stage::Request), ["filter", "guard"]);
        assert_eq!(names(&plan, Stage::Response), ["guard"]);
        let [filter, guard] = plan.at(Stage::Request) else { panic!("two") };
        assert!(guard.is_guard() && !guard.is_shown(ContentKind::Tool) && guard.is_shown(ContentKind::Reasoning));
        assert!(
            !filter.is_guard() && !filter.is_shown(ContentKind::Reasoning) && filter.is_shown(ContentKind::Content)
        );
    }
}
