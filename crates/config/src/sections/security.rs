//! `security`: whom plugins must be signed by, and how much is demanded of what they run in.

use crate::kind::Kind;
use crate::setting::section;
use crate::values::{Values, word};
use plugbay_domain::{Isolation, SignaturePolicy};

section! {
    /// `security`.
    #[derive(Clone, Copy, Debug)]
    pub struct SecurityConfig at "security" {
        "signatures" => signatures: SignaturePolicy {
            kind: Kind::Words(&["required", "off"]),
            default: "required",
            read: signatures,
            doc: "`required`: only archives that a trusted key has signed are installed, others get 422 `signature-missing` or `signature-untrusted`. `off`: only with `--insecure-dev` on a loopback address, where it is the default.",
        }
        sections {
            /// In what plugins must run at least.
            min_isolation: MinIsolation,
        }
    }
}

section! {
    /// `security.min_isolation`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MinIsolation at "security.min_isolation" {
        "unsigned" => unsigned: Isolation {
            kind: Kind::Words(&["process", "docker"]),
            default: "docker",
            read: isolation,
            doc: "The weakest isolation in which plugins without the signature of a trusted key run; in a weaker one they do not start: 409 `isolation-too-weak`. With `--insecure-dev` the default is `process`.",
        }
        "networked" => networked: Isolation {
            kind: Kind::Words(&["process", "docker"]),
            default: "process",
            read: isolation,
            doc: "The weakest isolation in which plugins with network access run: 409 `isolation-too-weak`.",
        }
        "all" => all: Isolation {
            kind: Kind::Words(&["process", "docker"]),
            default: "process",
            read: isolation,
            doc: "The weakest isolation in which any plugin runs: 409 `isolation-too-weak`.",
        }
    }
}

fn signatures(values: Values<'_>, path: &str) -> SignaturePolicy {
    if values.get(path) == "off" { SignaturePolicy::Off } else { SignaturePolicy::Required }
}

fn isolation(values: Values<'_>, path: &str) -> Isolation {
    // The rules of the setting leave nothing else; where they did not hold, the strongest.
    word(values, path).unwrap_or(Isolation::Docker)
}
