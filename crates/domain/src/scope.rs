//! What a token allows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::escape;

/// One thing a token may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look at plugins, health, logs.
    Read,
    /// Call plugins.
    Execute,
    /// Ask models by way of the chat.
    Chat,
    /// Enable, disable, configure.
    Operate,
    /// Install, update, uninstall.
    Install,
    /// Decide on permissions.
    Approve,
    /// Register and revoke signing keys.
    Trust,
    /// Read the audit log.
    Audit,
    /// Everything, tokens included.
    Admin,
}

/// The text is not a scope.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{found}` is not a scope: expected one of read, execute, chat, operate, install, approve, trust, audit, admin"
)]
pub struct ScopeError {
    found: String,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::Execute,
        Self::Chat,
        Self::Operate,
        Self::Install,
        Self::Approve,
        Self::Trust,
        Self::Audit,
        Self::Admin,
    ];

    /// The scope as callers write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Execute => "execute",
            Self::Chat => "chat",
            Self::Operate => "operate",
            Self::Install => "install",
            Self::Approve => "approve",
            Self::Trust => "trust",
            Self::Audit => "audit",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| ScopeError { found: escape(text) })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The scopes of one token: sorted, each once, never none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeSet(Vec<Scope>);

impl ScopeSet {
    /// Makes a set of at least one scope.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Option<Self> {
        let mut scopes: Vec<Scope> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        (!scopes.is_empty()).then_some(Self(scopes))
    }

    /// Tells whether the token may be used for `wanted`; `admin` covers all.
    pub fn allows(&self, wanted: Scope) -> bool {
        self.0.iter().any(|scope| *scope == wanted || *scope == Scope::Admin)
    }

    /// The scopes in order.
    pub fn as_slice(&self) -> &[Scope] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_allows_everything_and_others_only_themselves() {
        let admin = ScopeSet::new([Scope::Admin]).unwrap();
        let reader = ScopeSet::new([Scope::Read, Scope::Read]).unwrap();
        for scope in Scope::ALL {
            assert!(admin.allows(scope));
            assert_eq!(reader.allows(scope), scope == Scope::Read);
        }
        assert!(ScopeSet::new([]).is_none());
    }
}
