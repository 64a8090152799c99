//! Puts flags, environment, file and defaults together.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::settings::{SETTINGS, Setting, word};
use super::{
    Config, ConfigError, Environment, InstallConfig, LoggingConfig, Overrides, SandboxConfig, SecurityConfig,
    ServerConfig, StorageConfig, substitute,
};
use crate::domain::yaml::{self, Limits, Mistakes, Node, Place, Scalar, Style};
use crate::domain::{
    AllowedHost, ArchiveLimits, FieldError, ResourceCeiling, ResourceLimits, SignaturePolicy, nearest,
};

/// Bytes of a configuration file.
const MAX_FILE_BYTES: usize = 256 * 1024;

/// What every variable that sets a key begins with.
const PREFIX: &str = "PLUGBAY__";

/// Where a file is looked for when none is named.
const FILES: [&str; 2] = ["./plugbay.yaml", "/etc/plugbay/plugbay.yaml"];

/// Reads everything and reports every mistake.
pub(super) fn load(overrides: Overrides, environment: &Environment) -> Result<Config, ConfigError> {
    let file = find_file(&overrides, environment);
    let mut sources = Sources::default();
    if let Some(path) = &file {
        let bytes = read_file(path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
        sources.file(&bytes, environment);
    }
    sources.environment(environment);
    sources.finish(overrides, file)
}

/// The defaults with these flags, which are taken as they are.
pub(super) fn defaults(overrides: Overrides) -> Config {
    let mut config = assemble(&Sources::default().values);
    apply(&mut config, overrides);
    config
}

fn find_file(overrides: &Overrides, environment: &Environment) -> Option<PathBuf> {
    let named = || environment.get("PLUGBAY_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    let usual = || FILES.iter().map(PathBuf::from).find(|path| path.is_file());
    overrides.config.clone().or_else(named).or_else(usual)
}

/// One byte more than is allowed is enough to refuse it.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The name of the variable that sets a key.
pub(super) fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.to_uppercase().replace('.', "__"))
}

/// Values by path, and everything found wrong on the way.
struct Sources {
    values: BTreeMap<&'static str, Value>,
    mistakes: Vec<FieldError>,
}

impl Default for Sources {
    fn default() -> Self {
        let values = SETTINGS.iter().map(|setting| (setting.path, (setting.default)())).collect();
        Self { values, mistakes: Vec::new() }
    }
}

impl Sources {
    fn file(&mut self, bytes: &[u8], environment: &Environment) {
        let is_blank = |line: &[u8]| line.trim_ascii().is_empty() || line.trim_ascii().starts_with(b"#");
        if bytes.split(|byte| *byte == b'\n').all(is_blank) {
            return;
        }
        let mut node = match yaml::read(bytes, Limits::bytes(MAX_FILE_BYTES)) {
            Ok(node) => node,
            Err(error) => return self.mistakes.push(error),
        };
        let mistakes = Mistakes::default();
        substitute::fill(&mut node, environment, &mistakes);
        self.section(&Place::root(&node, &mistakes), "");
        let mut mistakes: Vec<_> = mistakes.into_sorted().into_iter().map(|mistake| mistake.error).collect();
        // A variable that is not set is the cause of what is wrong with the text in its place.
        mistakes.dedup_by_key(|error| (error.pointer.clone(), error.line, error.column));
        self.mistakes.extend(mistakes);
    }

    /// Reads one level of the file; `prefix` is empty or ends with a dot.
    fn section(&mut self, place: &Place<'_>, prefix: &str) {
        let below = SETTINGS.iter().filter_map(|setting| setting.path.strip_prefix(prefix));
        let mut keys: Vec<&'static str> = below.map(|path| path.split('.').next().unwrap_or(path)).collect();
        keys.dedup();
        let Some(fields) = place.fields(keys.iter().copied()) else { return };
        for key in keys {
            let Some(inner) = fields.get(key) else { continue };
            let path = format!("{prefix}{key}");
            let Some(setting) = SETTINGS.iter().find(|setting| setting.path == path) else {
                self.section(&inner, &format!("{path}."));
                continue;
            };
            if let Some(value) = setting.kind.read(&inner) {
                self.values.insert(setting.path, value);
            }
        }
    }

    fn environment(&mut self, environment: &Environment) {
        let known: Vec<(String, &Setting)> = SETTINGS.iter().map(|setting| (variable(setting.path), setting)).collect();
        for (name, text) in environment.with_prefix(PREFIX) {
            let Some((_, setting)) = known.iter().find(|(variable, _)| variable == name) else {
                let meant = nearest(name, known.iter().map(|(variable, _)| variable.as_str()));
                let hint = meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
                let shown = crate::domain::escape(name);
                self.mistakes
                    .push(FieldError::at("", format!("the environment variable `{shown}` sets no known key{hint}")));
                continue;
            };
            let node = setting.kind.free(text);
            let mistakes = Mistakes::default();
            if let Some(value) = setting.kind.read(&Place::root(&node, &mistakes)) {
                self.values.insert(setting.path, value);
            }
            for mistake in mistakes.into_sorted() {
                let message = format!("the environment variable `{name}`: {}", mistake.error.message);
                self.mistakes.push(FieldError::at(pointer(setting.path), message));
            }
        }
    }

    fn finish(mut self, overrides: Overrides, file: Option<PathBuf>) -> Result<Config, ConfigError> {
        let allow_plain_http = overrides.allow_plain_http;
        let mut config = assemble(&self.values);
        apply(&mut config, overrides);
        config.file.clone_from(&file);
        check(&config, allow_plain_http, &mut self.mistakes);
        if self.mistakes.is_empty() { Ok(config) } else { Err(ConfigError::Invalid { file, fields: self.mistakes }) }
    }
}

impl super::settings::Kind {
    /// The text of a variable as a value. A list is written with commas.
    fn free(self, text: &str) -> Node {
        let scalar = |text: &str| Node {
            mark: None,
            value: yaml::Value::Scalar(Scalar { text: text.trim().to_owned(), style: Style::Free }),
        };
        match self {
            Self::Hosts => {
                let items = text.split(',').filter(|item| !item.trim().is_empty()).map(scalar).collect();
                Node { mark: None, value: yaml::Value::List(items) }
            }
            _ => scalar(text),
        }
    }
}

fn pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}

fn apply(config: &mut Config, overrides: Overrides) {
    config.insecure_dev = overrides.insecure_dev;
    config.server.listen = overrides.listen.unwrap_or(config.server.listen);
    if let Some(data_dir) = overrides.data_dir {
        config.server.data_dir = data_dir;
    }
}

/// Rules between values.
fn check(config: &Config, allow_plain_http: bool, mistakes: &mut Vec<FieldError>) {
    let mut fail = |path: &str, message: String| mistakes.push(FieldError::at(pointer(path), message));
    let listen = config.server.listen;
    let is_loopback = listen.ip().is_loopback();
    if config.insecure_dev && !is_loopback {
        fail(
            "server.listen",
            format!(
                "--insecure-dev is for loopback addresses only, and {listen} is none; leave it out, or listen on 127.0.0.1"
            ),
        );
    } else if !is_loopback && !allow_plain_http {
        fail(
            "server.listen",
            format!(
                "{listen} can be reached from other machines, and tokens would travel in the clear; put TLS in front and start with --allow-plain-http, or listen on 127.0.0.1"
            ),
        );
    }
    if config.security.signatures == SignaturePolicy::Off && !config.insecure_dev {
        fail("security.signatures", "`off` lets anyone's code run here; it is allowed with --insecure-dev on a loopback address only, otherwise set `required`".to_owned());
    }
    for above in config.sandbox.defaults.above(&config.sandbox.ceiling) {
        let key = above.pointer.trim_start_matches("/resources/");
        fail(
            &format!("sandbox.defaults.{key}"),
            above.message.replace("the operator's ceiling", &format!("`sandbox.ceiling.{key}`")),
        );
    }
    if config.limits.file_bytes > config.limits.unpacked_bytes {
        fail(
            "limits.file_mb",
            "one file may not weigh more than all together; lower it, or raise `limits.unpacked_mb`".to_owned(),
        );
    }
}

fn assemble(values: &BTreeMap<&'static str, Value>) -> Config {
    let get = |path: &str| values.get(path).expect("every path below is in the table of settings");
    let text = |path: &str| get(path).as_str().unwrap_or_default();
    let whole = |path: &str| get(path).as_u64().unwrap_or_default();
    let number = |path: &str| get(path).as_f64().unwrap_or_default();
    let mib = |path: &str| whole(path) << 20;
    let hosts = |path: &str| -> Vec<AllowedHost> {
        let texts = get(path).as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.filter_map(|text| text.parse().ok()).collect()
    };
    Config {
        file: None,
        insecure_dev: false,
        server: ServerConfig {
            listen: text("server.listen").parse().unwrap_or_else(|_unread| SocketAddr::from(([127, 0, 0, 1], 8000))),
            data_dir: PathBuf::from(text("server.data_dir")),
            allowed_hosts: hosts("server.allowed_hosts"),
            max_connections: usize::try_from(whole("server.max_connections")).unwrap_or(usize::MAX),
            max_uploads: usize::try_from(whole("server.max_uploads")).unwrap_or(usize::MAX),
            body_timeout: Duration::from_secs(whole("server.body_timeout_seconds")),
            min_body_rate: whole("server.min_body_rate"),
            keep_alive: Duration::from_secs(whole("server.keep_alive_seconds")),
            requests_per_second: u32::try_from(whole("server.requests_per_second")).unwrap_or(u32::MAX),
        },
        sandbox: SandboxConfig {
            defaults: ResourceLimits {
                memory_mb: whole("sandbox.defaults.memory_mb"),
                cpus: number("sandbox.defaults.cpus"),
                cpu_shares: whole("sandbox.defaults.cpu_shares"),
                pids: whole("sandbox.defaults.pids"),
                tmp_mb: whole("sandbox.defaults.tmp_mb"),
                data_mb: whole("sandbox.defaults.data_mb"),
                timeout_seconds: whole("sandbox.defaults.timeout_seconds"),
                max_concurrency: whole("sandbox.defaults.max_concurrency"),
            },
            ceiling: ResourceCeiling {
                memory_mb: whole("sandbox.ceiling.memory_mb"),
                cpus: number("sandbox.ceiling.cpus"),
                pids: whole("sandbox.ceiling.pids"),
                tmp_mb: whole("sandbox.ceiling.tmp_mb"),
                data_mb: whole("sandbox.ceiling.data_mb"),
                timeout_seconds: whole("sandbox.ceiling.timeout_seconds"),
                max_concurrency: whole("sandbox.ceiling.max_concurrency"),
            },
        },
        security: SecurityConfig {
            signatures: if text("security.signatures") == "off" {
                SignaturePolicy::Off
            } else {
                SignaturePolicy::Required
            },
        },
        limits: ArchiveLimits {
            upload_bytes: mib("limits.upload_mb"),
            unpacked_bytes: mib("limits.unpacked_mb"),
            file_bytes: mib("limits.file_mb"),
            entries: whole("limits.entries"),
            ratio: whole("limits.ratio"),
        },
        install: InstallConfig {
            allow_hosts: hosts("install.allow_hosts"),
            timeout: Duration::from_secs(whole("install.timeout_seconds")),
        },
        storage: StorageConfig { min_free_bytes: mib("storage.min_free_mb") },
        logging: LoggingConfig {
            level: word(get("logging.level")).unwrap_or(super::LogLevel::Info),
            format: word(get("logging.format")).unwrap_or(super::LogFormat::Auto),
        },
    }
}
