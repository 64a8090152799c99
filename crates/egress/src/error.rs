//! Why a connection was not made, or ended by its rules.

use std::io;
use std::time::Duration;

use super::policy::Refused;
use plugbay_domain::Chain;
use plugbay_runtime::denials::Denial;

/// Why bytes of a plugin did not leave, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// Not a host and a port.
    #[error("`{found}` is not a host and a port")]
    BadTarget {
        /// The text, escaped.
        found: String,
    },
    /// Not an address of the web that has one reading.
    #[error("the address `{found}` {problem}")]
    BadAddress {
        /// The text, escaped, without what may be secret.
        found: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A redirect that is not followed.
    #[error("the redirect to `{to}` is not followed: {problem}")]
    Redirect {
        /// Scheme, host and port.
        to: String,
        /// Why.
        problem: String,
    },
    /// No decision lets the plugin go there.
    #[error("`{wanted}` is not granted{but}")]
    NotGranted {
        /// Host and port, or a name that was looked up.
        wanted: String,
        /// What is granted instead, or nothing.
        but: String,
    },
    /// An address that nobody allowed.
    #[error("`{target}` is {kind} (`{address}`), which is refused")]
    PrivateAddress {
        /// Host and port.
        target: String,
        /// Where the name leads.
        address: std::net::IpAddr,
        /// What that is.
        kind: Refused,
    },
    /// TLS for somebody else, or with a hidden name.
    #[error("the connection to `{target}` {problem}")]
    Tls {
        /// Host and port.
        target: String,
        /// What is wrong with the first bytes.
        problem: String,
    },
    /// HTTP that can be read in two ways, or is for somebody else.
    #[error("the request {problem}")]
    Http {
        /// What is wrong with it.
        problem: String,
    },
    /// More connections than allowed.
    #[error("more than {most} connections at one time")]
    TooMany {
        /// `egress.max_tunnels`.
        most: usize,
    },
    /// More answers are handed on than allowed.
    #[error("more than {most} answers are handed on at one time")]
    TooManyRelays {
        /// `egress.max_relays`.
        most: usize,
    },
    /// More answers are read piece by piece than allowed.
    #[error("more than {most} answers are read piece by piece at one time")]
    TooManyStreams {
        /// `egress.max_streams`.
        most: usize,
    },
    /// The name has no address, or nobody said.
    #[error("`{name}` could not be resolved")]
    Unresolved {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No name server answered in time.
    #[error("`{name}` was not resolved within {} s", limit.as_secs())]
    ResolveTimeout {
        /// The name.
        name: String,
        /// `egress.connect_timeout_seconds`.
        limit: Duration,
    },
    /// No name server answered in time a moment ago.
    #[error("`{name}` was not resolved in time a moment ago, and is not asked for again for {seconds} s")]
    StillSilent {
        /// The name.
        name: String,
        /// How long.
        seconds: u64,
    },
    /// The host does not take the connection.
    #[error("`{target}` could not be connected to")]
    Unreachable {
        /// Host and port.
        target: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The host does not answer.
    #[error("`{target}` did not answer within {} s", limit.as_secs())]
    ConnectTimeout {
        /// Host and port.
        target: String,
        /// `egress.connect_timeout_seconds`.
        limit: Duration,
    },
    /// The host is not who it should be, or does not speak TLS.
    #[error("no TLS with `{target}` that can be believed")]
    Certificate {
        /// Host and port.
        target: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An answer that cannot be passed on.
    #[error("the answer of `{target}` {problem}")]
    Answer {
        /// Host and port.
        target: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An answer with more than is taken.
    #[error("the answer of `{target}` has a body of more than {most} bytes")]
    AnswerTooLong {
        /// Host and port.
        target: String,
        /// `egress.fetch_kb` in bytes.
        most: usize,
    },
    /// The plugin did not say in time what it wants.
    #[error("nothing that can be checked was sent within {} s", limit.as_secs())]
    Silent {
        /// How long was waited.
        limit: Duration,
    },
    /// A limit ended the connection.
    #[error("the connection to `{target}` ended: {limit}")]
    Ended {
        /// Host and port.
        target: String,
        /// Which limit.
        limit: &'static str,
    },
    /// The plugin's side broke.
    #[error("the plugin's connection broke")]
    Plugin(#[source] io::Error),
}

impl EgressError {
    /// What the plugin gets to read. Where the operator's names lead is for the operator's log alone.
    pub fn for_plugin(&self) -> String {
        match self {
            Self::PrivateAddress { target, .. } => format!("`{target}` is not a public host"),
            other => Chain(other).to_string(),
        }
    }

    /// Tells whether a rule refused it, so that an administrator should learn of it.
    pub fn is_denial(&self) -> bool {
        match self {
            Self::BadTarget { .. }
            | Self::BadAddress { .. }
            | Self::Redirect { .. }
            | Self::NotGranted { .. }
            | Self::PrivateAddress { .. }
            | Self::Tls { .. }
            | Self::Http { .. }
            | Self::TooMany { .. }
            | Self::TooManyRelays { .. }
            | Self::TooManyStreams { .. } => true,
            Self::Unresolved { .. }
            | Self::ResolveTimeout { .. }
            | Self::StillSilent { .. }
            | Self::Unreachable { .. }
            | Self::ConnectTimeout { .. }
            | Self::Certificate { .. }
            | Self::Answer { .. }
            | Self::AnswerTooLong { .. }
            | Self::Silent { .. }
            | Self::Ended { .. }
            | Self::Plugin(_) => false,
        }
    }

    /// How it is told and written down.
    pub fn denial(&self, plugin: &str) -> Denial {
        let (text, how) = (Chain(self).to_string(), self.how(plugin));
        Denial { rule: self.rule(), text, how, is_by_rule: self.is_denial() }
    }

    /// Which rule spoke; stable.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::BadTarget { .. } => "target",
            Self::BadAddress { .. } => "address",
            Self::Redirect { .. } => "redirect",
            Self::NotGranted { .. } => "not-granted",
            Self::PrivateAddress { .. } => "private-address",
            Self::Tls { .. } => "server-name",
            Self::Http { .. } => "request",
            Self::TooMany { .. } => "max-tunnels",
            Self::TooManyRelays { .. } => "max-relays",
            Self::TooManyStreams { .. } => "max-streams",
            Self::Unresolved { .. } => "unresolved",
            Self::ResolveTimeout { .. } | Self::StillSilent { .. } => "resolve-timeout",
            Self::Unreachable { .. } => "unreachable",
            Self::ConnectTimeout { .. } => "connect-timeout",
            Self::Certificate { .. } => "certificate",
            Self::Answer { .. } => "answer",
            Self::AnswerTooLong { .. } => "answer-too-large",
            Self::Silent { .. } => "silent",
            Self::Ended { .. } => "limit",
            Self::Plugin(_) => "plugin",
        }
    }

    /// What helps.
    pub fn how(&self, plugin: &str) -> String {
        match self {
            Self::BadTarget { .. } => {
                "write the host's name and a port, such as `api.example.com:443`, and nothing else".to_owned()
            }
            Self::BadAddress { .. } => {
                "write `https://`, the host's name, and a path in which everything special is percent-encoded"
                    .to_owned()
            }
            Self::Redirect { .. } => "ask for the address that it leads to, over https".to_owned(),
            Self::NotGranted { wanted, .. } => format!("plugbay approve {plugin} --grant network_access:{wanted}"),
            Self::PrivateAddress { kind: Refused::Service, .. } => {
                "call other plugins and what else the service offers by the functions of the host; its API is for its callers"
                    .to_owned()
            }
            Self::PrivateAddress { target, .. } => {
                format!("name `{target}` under egress.allow_private in plugbay.yaml, and grant it by name")
            }
            Self::Tls { target, .. } => {
                format!("use TLS with the host's name and without ECH, or grant `http://{target}` or `tcp://{target}`")
            }
            Self::Http { .. } => "send one plain HTTP/1.1 request whose Host is the host that is asked for".to_owned(),
            Self::TooMany { .. } => "close connections, or raise egress.max_tunnels in plugbay.yaml".to_owned(),
            Self::TooManyRelays { .. } => "wait for others to end, or raise egress.max_relays in plugbay.yaml".to_owned(),
            Self::TooManyStreams { .. } => {
                "read streams to their end or close them, or raise egress.max_streams in plugbay.yaml".to_owned()
            }
            Self::Unresolved { .. } | Self::ResolveTimeout { .. } | Self::StillSilent { .. } => {
                "check the name, and the name servers of the machine plugbay runs on".to_owned()
            }
            Self::Unreachable { .. } | Self::ConnectTimeout { .. } => {
                "check that the host answers on this port to the machine plugbay runs on".to_owned()
            }
            Self::Certificate { .. } => {
                "check the host's certificate; one of a private authority is trusted by egress.ca_file in plugbay.yaml"
                    .to_owned()
            }
            Self::Answer { .. } => "check what the host answers".to_owned(),
            Self::AnswerTooLong { .. } => "ask for less, or raise egress.fetch_kb in plugbay.yaml".to_owned(),
            Self::Silent { .. } => "send the request as soon as the connection is open".to_owned(),
            Self::Ended { .. } => "use the connection within the limits of `egress` in plugbay.yaml".to_owned(),
            Self::Plugin(_) => "connect again".to_owned(),
        }
    }

    /// The status of the proxy's answer, with its words.
    pub(super) fn status(&self) -> &'static str {
        match self {
            Self::BadTarget { .. } | Self::BadAddress { .. } | Self::Http { .. } => "400 Bad Request",
            Self::NotGranted { .. } | Self::PrivateAddress { .. } | Self::Tls { .. } | Self::Redirect { .. } => {
                "403 Forbidden"
            }
            Self::TooMany { .. } | Self::TooManyRelays { .. } | Self::TooManyStreams { .. } => {
                "503 Service Unavailable"
            }
            Self::Unreachable { .. } | Self::Certificate { .. } | Self::Answer { .. } | Self::AnswerTooLong { .. } => {
                "502 Bad Gateway"
            }
            Self::Unresolved { .. }
            | Self::ResolveTimeout { .. }
            | Self::StillSilent { .. }
            | Self::ConnectTimeout { .. } => "504 Gateway Timeout",
            Self::Silent { .. } | Self::Ended { .. } | Self::Plugin(_) => "408 Request Timeout",
        }
    }
}
