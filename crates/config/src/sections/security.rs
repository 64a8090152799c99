//! `security`: whom plugins must be signed by, and how much is demanded of what they run in.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::kind::Kind;
use crate::setting::section;
use crate::values::{Values, lines, word};
use plugbay_domain::{Isolation, SignaturePolicy, VerdictPolicy};

section! {
    /// `security`.
    #[derive(Clone, Debug)]
    pub struct SecurityConfig at "security" {
        "signatures" => signatures: SignaturePolicy {
            kind: Kind::Words(&["required", "off"]),
            default: "required",
            read: signatures,
            doc: "`required`: only archives that a trusted key has signed are installed, others get 422 `signature-missing` or `signature-untrusted`. `off`: only with `--insecure-dev` on a loopback address, where it is the default.",
        }
        "external_scanners" => external_scanners: Vec<ExternalScanner> {
            kind: Kind::Programs,
            default: json!([]),
            read: programs,
            doc: "Programs that look at every package beside plugbay's own scan, and print SARIF 2.1.0: `[{name: bandit, command: [bandit, -q, -r, -f, sarif, /plugin], image: scanners/bandit}]`. Each runs in a sandbox of plugbay's own, with the package as `/plugin`, without network, 60 seconds at most; without `image` in that of Python plugins. An `error` of its results is `suspicious`, all else `notes`; they add to a verdict and never lower it. One that fails is `suspicious`.",
        }
        sections {
            /// In what plugins must run at least.
            min_isolation: MinIsolation,
            /// What the look of a package's code leads to.
            scan: ScanConfig,
        }
    }
}

section! {
    /// `security.scan`.
    #[derive(Clone, Debug)]
    pub struct ScanConfig at "security.scan" {
        "suspicious" => suspicious: VerdictPolicy {
            kind: Kind::Words(&["warn", "confirm", "refuse"]),
            default: "confirm",
            read: policy,
            doc: "What follows when the scan of a package says `suspicious`. `warn`: it is told. `confirm`: the plugin does not run until an administrator accepts the risk `scan-suspicious` by name: 409 `permissions-pending`. `refuse`: the package is not installed: 422 `scan-refused`.",
        }
        "malicious" => malicious: VerdictPolicy {
            kind: Kind::Words(&["confirm", "refuse"]),
            default: "refuse",
            read: policy,
            doc: "The same for `malicious`, which cannot be let through with a word.",
        }
        "allowed_imports" => allowed_imports: Vec<String> {
            kind: Kind::Modules,
            default: json!([]),
            read: lines,
            doc: "Python modules that plugins may import beside Python's own library, their own files and `vendor/`; an import of another one is `suspicious`. Empty: every module.",
        }
        "denied_imports" => denied_imports: Vec<String> {
            kind: Kind::Modules,
            default: json!([]),
            read: lines,
            doc: "Python modules that plugins may not import, such as `[ctypes]`; an import is `suspicious`.",
        }
        beside {
            /// What is started as `plugbay scan-worker`: this program. Only a test, which is another program, names it.
            program: PathBuf = PathBuf::from("/proc/self/exe"),
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

/// A program of the operator's that looks at packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalScanner {
    /// What its results are shown under.
    pub name: String,
    /// The program with its arguments.
    pub command: Vec<String>,
    /// What it runs in, where that is not what Python plugins run in.
    pub image: Option<String>,
}

fn programs(values: Values<'_>, path: &str) -> Vec<ExternalScanner> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let program = |program: &Value| ExternalScanner {
        name: text(&program["name"]).unwrap_or_default(),
        command: program["command"].as_array().into_iter().flatten().filter_map(text).collect(),
        image: text(&program["image"]),
    };
    values.get(path).as_array().into_iter().flatten().map(program).collect()
}

fn signatures(values: Values<'_>, path: &str) -> SignaturePolicy {
    if values.get(path) == "off" { SignaturePolicy::Off } else { SignaturePolicy::Required }
}

fn policy(values: Values<'_>, path: &str) -> VerdictPolicy {
    // As above.
    word(values, path).unwrap_or(VerdictPolicy::Refuse)
}

fn isolation(values: Values<'_>, path: &str) -> Isolation {
    // The rules of the setting leave nothing else; where they did not hold, the strongest.
    word(values, path).unwrap_or(Isolation::Docker)
}
