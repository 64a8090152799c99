//! A call as it is asked for: by a caller, by a plugin, or by the service, which tells of something in the chat. It is made
//! once, at the edge, and goes unchanged to the session.

use std::time::Duration;

use plugbay_domain::{Code, Origin, Plugin, PluginName, PluginRef, escape, is_of_chat};
use plugbay_protocol::{HygieneError, Payload};
use plugbay_registry::Caller;
use plugbay_session::{Delivery, Time};
use plugbay_store as store;
use plugbay_store::PluginStore;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::calls::EXECUTE;
use crate::{Fleet, FleetError, Member, PluginProblem};

/// Who makes the call. Decides which plugins the caller may see.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AskedBy<'a> {
    /// The holder of a token.
    Caller(&'a Caller),
    /// The service, which knows already whom it may call.
    Fleet,
    /// A plugin that may call it. What is read for it is read in its turn.
    Plugin(&'a PluginStore),
}

impl AskedBy<'_> {
    /// Whether the caller may call any of the plugin's methods.
    pub(crate) fn may_call(self, name: &PluginName) -> bool {
        match self {
            Self::Caller(caller) => caller.may_call(name),
            Self::Fleet | Self::Plugin(_) => true,
        }
    }

    /// Whether it is the service that tells a plugin of something in the chat.
    pub(crate) fn may_call_handler(self, method: &str) -> bool {
        matches!(self, Self::Fleet) && is_of_chat(method)
    }
}

/// How long an answer is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deadline {
    /// This long, or as long as the plugin's calls may take; more is refused.
    Exactly(Option<Duration>),
    /// This long, if the plugin's calls may take as long.
    AtMost(Option<Duration>),
    /// Until then, if the plugin's calls may take as long.
    Until(Instant),
    /// As long as its caller waits for its parts; it is begun within this time.
    Open(Duration),
    /// As long as it takes in what it is fed with, and this long without that.
    Fed(Duration),
}

impl Deadline {
    /// What the session is told of a call that must be answered within the time.
    pub(crate) fn time(self, began: Instant, timeout: Duration) -> Time {
        match self {
            Self::Exactly(_) | Self::AtMost(_) | Self::Until(_) => Time::Until(began + timeout),
            Self::Open(_) => Time::Open,
            Self::Fed(idle) => Time::Feed(idle),
        }
    }

    /// Whether the call lasts as long as there is something to say.
    pub(crate) fn is_stream(self) -> bool {
        matches!(self, Self::Open(_) | Self::Fed(_))
    }

    /// How long it is waited for a plugin that is being started.
    pub(crate) fn longest(self, began: Instant) -> Option<Duration> {
        match self {
            Self::Exactly(longest) | Self::AtMost(longest) => longest,
            Self::Open(longest) | Self::Fed(longest) => Some(longest),
            Self::Until(deadline) => Some(deadline.saturating_duration_since(began)),
        }
    }

    /// How long the call may take.
    pub(crate) fn timeout(self, member: &Member, began: Instant, most: Duration) -> Result<Duration, FleetError> {
        match self {
            Self::Exactly(Some(wanted)) if wanted > most => {
                let detail = format!(
                    "timeout_ms {} is more than the {} ms that calls of `{}` may take",
                    wanted.as_millis(),
                    most.as_millis(),
                    member.name
                );
                Err(PluginProblem::new(Code::TimeoutTooLong, detail).into())
            }
            _ => Ok(self.longest(began).unwrap_or(most).min(most)),
        }
    }
}

/// A call of a plugin, and for whom.
#[derive(Debug)]
pub struct CallRequest<'a> {
    pub(crate) by: AskedBy<'a>,
    pub(crate) wanted: &'a str,
    pub(crate) method: &'a str,
    /// Name and value of its one parameter; all of the parameters when the name is empty.
    pub(crate) params: (&'static str, Payload),
    pub(crate) deadline: Deadline,
    pub(crate) origin: Origin,
    pub(crate) trace: Option<&'a str>,
    pub(crate) delivery: Delivery,
    /// Whether an exception counts against the plugin. One that callers provoke by what they write must not open the
    /// breaker of what stands in the way of all.
    pub(crate) blames: bool,
}

impl<'a> CallRequest<'a> {
    /// Of a method (`execute` when absent) by the holder of a token, who waits as long as the plugin's calls may take.
    pub fn of_caller(
        caller: &'a Caller,
        wanted: &'a str,
        method: Option<&'a str>,
        context: Option<&RawValue>,
    ) -> Result<Self, FleetError> {
        let context = match context {
            Some(raw) => Payload::new(raw).map_err(|error| Self::payload_problem("`context`", &error))?,
            None => Payload::of(&serde_json::json!({})),
        };
        let method = method.unwrap_or(EXECUTE);
        Ok(Self::new(AskedBy::Caller(caller), wanted, method, ("context", context), Deadline::Exactly(None)))
    }

    /// By the service, which tells a plugin of something and waits at most so long.
    pub fn of_service(plugin: &'a PluginName, method: &'a str, params: &Value, timeout: Option<Duration>) -> Self {
        let payload = ("", Payload::of(params));
        Self::new(AskedBy::Fleet, plugin.as_str(), method, payload, Deadline::AtMost(timeout))
    }

    /// By another plugin, which may.
    pub fn of_plugin(
        store: &'a PluginStore,
        plugin: &'a PluginName,
        method: Option<&'a str>,
        context: Payload,
        until: Instant,
    ) -> Self {
        let method = method.unwrap_or(EXECUTE);
        Self::new(AskedBy::Plugin(store), plugin.as_str(), method, ("context", context), Deadline::Until(until))
    }

    fn new(
        by: AskedBy<'a>,
        wanted: &'a str,
        method: &'a str,
        params: (&'static str, Payload),
        deadline: Deadline,
    ) -> Self {
        Self {
            by,
            wanted,
            method,
            params,
            deadline,
            origin: Origin::default(),
            trace: None,
            delivery: Delivery::Whole,
            blames: true,
        }
    }

    /// The caller waits this long; more than the plugin's calls may take is refused.
    #[must_use]
    pub fn with_timeout(self, timeout: Option<Duration>) -> Self {
        Self { deadline: Deadline::Exactly(timeout), ..self }
    }

    /// Where the call comes from.
    #[must_use]
    pub fn with_origin(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// The caller's traceparent.
    #[must_use]
    pub fn with_trace(self, trace: Option<&'a str>) -> Self {
        Self { trace, ..self }
    }

    /// Bytes of what is sent.
    pub fn bytes(&self) -> usize {
        self.params.1.as_str().len()
    }

    /// An exception in it counts nothing against the plugin.
    #[must_use]
    pub fn without_blame(self) -> Self {
        Self { blames: false, ..self }
    }

    /// Lasts as long as its caller waits for its parts, once it has begun within this time.
    #[must_use]
    pub fn without_deadline(self, begin: Duration) -> Self {
        Self { deadline: Deadline::Open(begin), delivery: Delivery::Stream, ..self }
    }

    /// Lasts as long as it takes in what it is fed with. This long may pass without that.
    #[must_use]
    pub fn fed(self, idle: Duration) -> Self {
        Self { deadline: Deadline::Fed(idle), delivery: Delivery::Stream, ..self }
    }

    /// Whether chunks are wanted as they come.
    #[must_use]
    pub fn with_delivery(self, delivery: Delivery) -> Self {
        Self { delivery, ..self }
    }

    /// What is told of a payload that is not passed on.
    pub fn payload_problem(what: &str, error: &HygieneError) -> FleetError {
        PluginProblem::new(Code::PayloadInvalid, format!("{what}: {error}")).into()
    }
}

pub(crate) async fn find_plugin_of(fleet: &Fleet, by: AskedBy<'_>, wanted: &str) -> Result<Plugin, FleetError> {
    let unknown = || FleetError::PluginUnknown { wanted: escape(wanted) };
    let reference = || PluginRef::parse(wanted).ok_or_else(unknown);
    let found = match by {
        AskedBy::Caller(caller) => {
            let plugin = fleet.registry.find_for(caller, wanted).await?;
            return plugin.filter(|plugin| caller.may_call(&plugin.name)).ok_or_else(unknown);
        }
        AskedBy::Fleet => store::plugins::find(&mut *fleet.store.reader().await?, &reference()?).await?,
        AskedBy::Plugin(store) => store::plugins::find(&mut *store.reader().await?, &reference()?).await?,
    };
    found.ok_or_else(unknown)
}
