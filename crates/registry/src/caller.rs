//! Who asks, and what for.

use plugbay_domain::{
    Code, Grants, NamePattern, Permission, PluginName, Refusal, RequestRate, Scope, ScopeSet, TokenId, Tool,
    ToolPattern,
};

use crate::Actor;

/// Why a token is not enough.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotAllowed {
    /// It does not allow this.
    #[error("the token lacks the scope `{scope}`")]
    ScopeMissing {
        /// The scope it would need.
        scope: Scope,
    },
    /// It is for some plugins, and what is wanted concerns all.
    #[error("the token is for some plugins, and `{wanted}` concerns all of them")]
    ForAllPlugins {
        /// A scope, or a permission.
        wanted: &'static str,
    },
    /// It is for tools, and what is wanted is none.
    #[error("the token is for tools alone, and this calls plugins in other ways")]
    ForTools,
    /// It is for other plugins.
    #[error("the token is not for `{name}`")]
    PluginOutOfReach {
        /// The plugin.
        name: PluginName,
    },
}

impl Refusal for NotAllowed {
    fn code(&self) -> Code {
        Code::ScopeMissing
    }

    fn how(&self) -> Option<String> {
        Some(match self {
            Self::ScopeMissing { scope } => {
                format!("use a token with that scope: plugbay token create --label LABEL --scopes {scope}")
            }
            Self::ForAllPlugins { .. } => "use a token without `plugins`".to_owned(),
            Self::ForTools => "use a token without `tools` and `read_only`".to_owned(),
            Self::PluginOutOfReach { .. } => "use a token whose `plugins` cover that name".to_owned(),
        })
    }
}

/// The holder of a token, for the length of one request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The token.
    pub token: TokenId,
    /// What it allows.
    pub scopes: ScopeSet,
    /// The plugins it is for; all when absent.
    pub plugins: Option<Vec<NamePattern>>,
    /// The tools it is for; every method when absent.
    pub tools: Option<Vec<ToolPattern>>,
    /// It may only call tools that change nothing.
    pub read_only: bool,
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

    /// Tells whether the token is for some tools alone.
    pub fn is_for_tools(&self) -> bool {
        self.tools.is_some() || self.read_only
    }

    /// Tells whether the token may be for any tool of the plugin. What it cannot call does not exist for its holder.
    pub fn may_call(&self, name: &PluginName) -> bool {
        self.may_see(name)
            && self.tools.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.may_match(name)))
    }

    /// Tells whether the token is for this tool.
    pub fn may_use(&self, plugin: &PluginName, tool: &Tool) -> bool {
        self.may_see(plugin)
            && (!self.read_only || tool.is_read_only())
            && self.tools.as_ref().is_none_or(|tools| tools.iter().any(|pattern| pattern.matches(plugin, &tool.name)))
    }

    /// Refuses a token for tools alone.
    pub fn require_every_method(&self) -> Result<(), NotAllowed> {
        if self.is_for_tools() { Err(NotAllowed::ForTools) } else { Ok(()) }
    }

    /// Refuses a token that lacks a scope, or is for some plugins where the scope concerns all.
    pub fn require(&self, scope: Scope) -> Result<(), NotAllowed> {
        if !self.scopes.allows(scope) {
            return Err(NotAllowed::ScopeMissing { scope });
        }
        // Keys and tokens concern every plugin: with them, a token for some could be turned into one for all.
        if matches!(scope, Scope::Trust | Scope::Admin) && self.plugins.is_some() {
            return Err(NotAllowed::ForAllPlugins { wanted: scope.as_str() });
        }
        // With any other scope the holder could make itself a way around.
        if !matches!(scope, Scope::Read | Scope::Execute) {
            self.require_every_method()?;
        }
        Ok(())
    }

    /// Refuses a token that is for other plugins.
    pub fn require_plugin(&self, name: &PluginName) -> Result<(), NotAllowed> {
        if self.may_see(name) { Ok(()) } else { Err(NotAllowed::PluginOutOfReach { name: name.clone() }) }
    }

    /// Refuses a token that would let a plugin reach other plugins than the token itself: callers of that plugin would
    /// reach them through it.
    pub fn require_reach(&self, grants: &Grants) -> Result<(), NotAllowed> {
        if self.plugins.is_some() && grants.admin() {
            return Err(NotAllowed::ForAllPlugins { wanted: Permission::AdminAccess.as_str() });
        }
        grants.edges().iter().try_for_each(|name| self.require_plugin(name))
    }
}

impl From<&Caller> for Actor {
    fn from(caller: &Caller) -> Self {
        Self::Token { id: caller.token, request: caller.request_id.clone() }
    }
}
