//! A call as it is made: by a caller, by a plugin, or because of something in the chat.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{EXECUTE, Execution};
use crate::domain::{Code, Origin, Plugin, PluginName, PluginRef, escape};
use crate::protocol::Payload;
use crate::service::fleet::Member;
use crate::service::{Caller, Delivery, PluginProblem, Service, ServiceError};
use crate::store::{self, PluginStore};

/// Whose call it is, which decides about the plugins it may be told of.
#[derive(Clone, Copy, Debug)]
pub(super) enum AskedBy<'a> {
    /// The holder of a token.
    Caller(&'a Caller),
    /// The service, which knows already whom it may call.
    Service,
    /// A plugin that may call it. What is read for it is read in its turn.
    Plugin(&'a PluginStore),
}

impl AskedBy<'_> {
    pub(super) fn may_see(self, name: &PluginName) -> bool {
        match self {
            Self::Caller(caller) => caller.may_see(name),
            Self::Service | Self::Plugin(_) => true,
        }
    }
}

/// How long an answer is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// This long, or as long as the plugin's calls may take; more is refused.
    Exactly(Option<Duration>),
    /// This long, if the plugin's calls may take as long.
    AtMost(Option<Duration>),
    /// Until then, if the plugin's calls may take as long.
    Until(Instant),
}

impl Patience {
    /// How long it is waited for a plugin that is being started.
    pub(super) fn longest(self, began: Instant) -> Option<Duration> {
        match self {
            Self::Exactly(longest) | Self::AtMost(longest) => longest,
            Self::Until(deadline) => Some(deadline.saturating_duration_since(began)),
        }
    }

    /// How long the call may take.
    pub(super) fn timeout(self, member: &Member, began: Instant, most: Duration) -> Result<Duration, ServiceError> {
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

/// A call to be made.
#[derive(Clone, Copy, Debug)]
pub(in crate::service) struct Making<'a> {
    pub(super) by: AskedBy<'a>,
    pub(super) wanted: &'a str,
    pub(super) method: &'a str,
    pub(super) params: (&'a str, &'a Payload),
    pub(super) patience: Patience,
    pub(super) trace: Option<&'a str>,
    pub(super) delivery: Delivery,
    pub(super) origin: Origin,
}

impl<'a> Making<'a> {
    /// A call that another plugin asked for, and may.
    pub(in crate::service) fn of_plugin(
        store: &'a PluginStore,
        plugin: &'a PluginName,
        method: Option<&'a str>,
        context: &'a Payload,
        (origin, deadline): (Origin, Instant),
    ) -> Self {
        Self {
            by: AskedBy::Plugin(store),
            wanted: plugin.as_str(),
            method: method.unwrap_or(EXECUTE),
            params: ("context", context),
            patience: Patience::Until(deadline),
            trace: None,
            delivery: Delivery::Whole,
            origin,
        }
    }
}

/// Something that a plugin is told of.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Whom.
    pub plugin: &'a PluginName,
    /// The method that is called.
    pub method: &'a str,
    /// What it is given.
    pub params: &'a Value,
    /// How long an answer is waited for, if the plugin's calls may take as long.
    pub timeout: Option<Duration>,
    /// Where the call comes from.
    pub origin: Origin,
    /// The caller's traceparent.
    pub trace: Option<&'a str>,
}

impl Service {
    /// Tells a plugin of something and waits for what it has to say.
    pub async fn tell(self: &std::sync::Arc<Self>, event: Event<'_>) -> Result<Execution, ServiceError> {
        let payload = Payload::of(event.params);
        let making = Making {
            by: AskedBy::Service,
            wanted: event.plugin.as_str(),
            method: event.method,
            params: ("", &payload),
            patience: Patience::AtMost(event.timeout),
            trace: event.trace,
            delivery: Delivery::Whole,
            origin: event.origin,
        };
        self.make(making).await?.answer().await
    }

    pub(super) async fn find_plugin_of(&self, by: AskedBy<'_>, wanted: &str) -> Result<Plugin, ServiceError> {
        let unknown = || ServiceError::PluginUnknown { wanted: escape(wanted) };
        let reference = || PluginRef::parse(wanted).ok_or_else(unknown);
        let found = match by {
            AskedBy::Caller(caller) => return self.find_plugin(caller, wanted).await,
            AskedBy::Service => store::plugins::find(&mut *self.store.reader().await?, &reference()?).await?,
            AskedBy::Plugin(store) => store::plugins::find(&mut *store.reader().await?, &reference()?).await?,
        };
        found.ok_or_else(unknown)
    }
}
