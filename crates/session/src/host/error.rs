//! Why a host function did not do as asked, as the plugin is told.

use serde_json::{Value, json};

use plugbay_domain::{Code, Permission};
use plugbay_protocol::{HOST_FAILED, HOST_REFUSED, INVALID_PARAMS, METHOD_NOT_FOUND, PERMISSION_DENIED};
use plugbay_runtime::metrics::HostOutcome;
use plugbay_store::StoreError;

/// Why a host function did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// There is no such function.
    #[error("there is no host function `{function}`")]
    Unknown {
        /// Its name.
        function: String,
    },
    /// The parameters have another form.
    #[error("the parameters do not fit: {rule}")]
    Invalid {
        /// What does not.
        rule: String,
    },
    /// Nobody granted it.
    #[error("`{wanted}` is not granted")]
    Denied {
        /// The permission.
        permission: Permission,
        /// The same with the one resource that was asked for.
        wanted: String,
        /// What grants it.
        how: String,
    },
    /// A limit would be broken.
    #[error("{rule}")]
    Refused {
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        rule: String,
    },
    /// A request to the outside was not made, or its answer not taken.
    #[error("{text}")]
    Outgoing {
        /// Which rule spoke, or what failed.
        rule: &'static str,
        /// What happened.
        text: String,
        /// What helps.
        how: String,
    },
    /// Its time was over.
    #[error("`{function}` was not done within the time of its call")]
    TooLate {
        /// Its name.
        function: String,
    },
    /// The database did not do as asked.
    #[error("the service could not do it; its log says why")]
    Store(#[from] StoreError),
}

impl HostError {
    /// The number of JSON-RPC.
    pub fn number(&self) -> i64 {
        match self {
            Self::Unknown { .. } => METHOD_NOT_FOUND,
            Self::Invalid { .. } => INVALID_PARAMS,
            Self::Denied { .. } => PERMISSION_DENIED,
            Self::Refused { .. } | Self::Outgoing { .. } | Self::TooLate { .. } => HOST_REFUSED,
            Self::Store(_) => HOST_FAILED,
        }
    }

    /// The word that it is counted under.
    pub(super) fn outcome(&self) -> HostOutcome {
        match self {
            Self::Denied { .. } => HostOutcome::Denied,
            Self::Unknown { .. } | Self::Invalid { .. } | Self::Refused { .. } | Self::Outgoing { .. } => {
                HostOutcome::Refused
            }
            Self::TooLate { .. } => HostOutcome::Late,
            Self::Store(_) => HostOutcome::Failed,
        }
    }

    /// Particulars for programs.
    pub fn data(&self) -> Option<Value> {
        match self {
            Self::Denied { permission, how, .. } => Some(json!({"permission": permission, "how": how})),
            Self::Refused { code, .. } => Some(json!({"code": code.as_str()})),
            Self::Outgoing { rule, how, .. } => Some(json!({"code": rule, "how": how})),
            Self::TooLate { .. } => Some(json!({"code": "timeout"})),
            Self::Unknown { .. } | Self::Invalid { .. } | Self::Store(_) => None,
        }
    }
}
