//! Exit codes. Scripts rely on them, so each outcome has one and keeps it.

use std::process::ExitCode;

use crate::domain::{Code, ErrorKind};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It worked.
    Done,
    /// It failed, for a reason without a number of its own.
    Failed,
    /// The arguments are wrong, or name a path that does not exist.
    Usage,
    /// The server does not know it.
    Unknown,
    /// It was refused: by a rule, or by the present state.
    Refused,
    /// A signature or key is not good.
    Signature,
    /// The token is missing, not valid, or not enough.
    Token,
    /// The server cannot be reached.
    Unreachable,
    /// The plugin failed.
    Plugin,
    /// It took too long.
    Timeout,
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

impl Exit {
    /// The number the program ends with.
    pub const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unknown => 3,
            Self::Refused => 4,
            Self::Signature => 5,
            Self::Token => 6,
            Self::Unreachable => 7,
            Self::Plugin => 8,
            Self::Timeout => 124,
            Self::Interrupted => 130,
        }
    }

    /// The exit of a problem. Signatures, keys and plugins have their own; for all others it follows from who has to act.
    pub const fn of(code: Code) -> Self {
        match code {
            Code::SignatureMissing
            | Code::SignatureUntrusted
            | Code::SignatureInvalid
            | Code::SignatureScope
            | Code::KeyExpired
            | Code::KeyRevoked
            | Code::KeyWeak
            | Code::KeyInvalid
            | Code::SecretKeyInvalid => Self::Signature,
            Code::PluginStartFailed
            | Code::PluginCrashed
            | Code::PluginOutOfMemory
            | Code::PluginProtocol
            | Code::PluginUnresponsive
            | Code::UpdateRolledBack => Self::Plugin,
            _ => Self::of_kind(code.kind()),
        }
    }

    const fn of_kind(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Unauthenticated | ErrorKind::Forbidden => Self::Token,
            ErrorKind::NotFound => Self::Unknown,
            ErrorKind::Invalid
            | ErrorKind::Conflict
            | ErrorKind::PreconditionFailed
            | ErrorKind::PreconditionRequired
            | ErrorKind::TooLarge
            | ErrorKind::UnsupportedMedia
            | ErrorKind::Misdirected
            | ErrorKind::Refused => Self::Refused,
            ErrorKind::GatewayTimeout => Self::Timeout,
            ErrorKind::MethodNotAllowed
            | ErrorKind::TooSlow
            | ErrorKind::RateLimited
            | ErrorKind::Unavailable
            | ErrorKind::BadGateway
            | ErrorKind::StorageFull
            | ErrorKind::Internal => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.number().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_follow_from_codes() {
        assert_eq!(Exit::of(Code::ManifestInvalid).number(), 4);
        assert_eq!(Exit::of(Code::SignatureInvalid).number(), 5);
        assert_eq!(Exit::of(Code::TokenMissing).number(), 6);
        assert_eq!(Exit::of(Code::PluginUnknown).number(), 3);
        assert_eq!(Exit::of(Code::DownloadTimeout).number(), 124);
        assert_eq!(Exit::of(Code::DownloadFailed).number(), 1);
        assert_eq!(Exit::of(Code::PluginTimeout).number(), 124);
        assert_eq!(Exit::of(Code::PluginNotEnabled).number(), 4);
        assert_eq!(Exit::of(Code::EngineUnavailable).number(), 1);
    }

    #[test]
    fn a_plugin_that_fails_ends_with_eight() {
        for code in Code::ALL.iter().filter(|code| code.as_str().starts_with("plugin-")) {
            let is_fault = code.kind() == ErrorKind::BadGateway || *code == Code::UpdateRolledBack;
            assert_eq!(Exit::of(*code) == Exit::Plugin, is_fault, "{code}");
        }
    }
}
