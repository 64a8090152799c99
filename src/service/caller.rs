//! Who asks, and what for.

use super::ServiceError;
use crate::domain::{Grants, NamePattern, Permission, PluginName, RequestRate, Scope, ScopeSet, TokenId};
use crate::registry::Actor;

/// The holder of a token, for the length of one request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The token.
    pub token: TokenId,
    /// What it allows.
    pub scopes: ScopeSet,
    /// The plugins it is for; all when absent.
    pub plugins: Option<Vec<NamePattern>>,
    /// Its requests per second; as configured when absent.
    pub rate: Option<RequestRate>,
    /// The request.
    pub request_id: String,
}

impl Caller {
    /// Tells whether the token is for this plugin.
    pub fn may_see(&self, name: &PluginName) -> bool {
        self.plugins.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(name)))
    }

    /// Refuses a token that lacks a scope, or is for some plugins where the scope concerns all.
    pub fn require(&self, scope: Scope) -> Result<(), ServiceError> {
        if !self.scopes.allows(scope) {
            return Err(ServiceError::ScopeMissing { scope });
        }
        // Keys and tokens concern every plugin: with them, a token for some could be turned into one for all.
        if matches!(scope, Scope::Trust | Scope::Admin) && self.plugins.is_some() {
            return Err(ServiceError::ForAllPlugins { wanted: scope.as_str() });
        }
        Ok(())
    }

    /// Refuses a token that is for other plugins.
    pub fn require_plugin(&self, name: &PluginName) -> Result<(), ServiceError> {
        if self.may_see(name) { Ok(()) } else { Err(ServiceError::PluginOutOfReach { name: name.clone() }) }
    }

    /// Refuses a token that would let a plugin reach other plugins than the token itself: callers of that plugin would
    /// reach them through it.
    pub fn require_reach(&self, grants: &Grants) -> Result<(), ServiceError> {
        if self.plugins.is_some() && grants.admin() {
            return Err(ServiceError::ForAllPlugins { wanted: Permission::AdminAccess.as_str() });
        }
        grants.edges().iter().try_for_each(|name| self.require_plugin(name))
    }
}

impl From<&Caller> for Actor {
    fn from(caller: &Caller) -> Self {
        Self::Token { id: caller.token, request: caller.request_id.clone() }
    }
}
