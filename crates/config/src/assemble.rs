//! The configuration from the values of its keys.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;

use super::choices::{EngineChoice, LogFormat, LogLevel};
use super::kind::word;
use super::{
    ApiConfig, BreakerConfig, CallLimits, Config, DatabaseConfig, DatabaseLimits, EgressConfig, FolderConfig,
    HealthConfig, ImagesConfig, InstallConfig, LoggingConfig, MinIsolation, ProcessConfig, ResourcesConfig,
    SandboxConfig, SecurityConfig, ServerConfig, StorageConfig, UpdateConfig,
};
use plugbay_domain::{
    AddressRange, AllowedHost, ArchiveLimits, Isolation, Operation, ResourceCeiling, ResourceLimits, SignaturePolicy,
};

/// The value of every key by its path; each was read by the rules of its setting.
#[derive(Clone, Copy)]
struct Values<'a>(&'a BTreeMap<&'static str, Value>);

impl<'a> Values<'a> {
    fn get(self, path: &str) -> &'a Value {
        self.0.get(path).expect("every path here is in the table of settings")
    }

    fn text(self, path: &str) -> &'a str {
        self.get(path).as_str().unwrap_or_default()
    }

    fn whole(self, path: &str) -> u64 {
        self.get(path).as_u64().unwrap_or_default()
    }

    fn size(self, path: &str) -> usize {
        usize::try_from(self.whole(path)).unwrap_or(usize::MAX)
    }

    fn small(self, path: &str) -> u32 {
        u32::try_from(self.whole(path)).unwrap_or(u32::MAX)
    }

    fn number(self, path: &str) -> f64 {
        self.get(path).as_f64().unwrap_or_default()
    }

    fn mib(self, path: &str) -> u64 {
        self.whole(path) << 20
    }

    fn seconds(self, path: &str) -> Duration {
        Duration::from_secs(self.whole(path))
    }

    fn named<T>(self, path: &str, read: impl Fn(&Value) -> T) -> BTreeMap<String, T> {
        let entries = self.get(path).as_object().into_iter().flatten();
        entries.map(|(name, fields)| (name.clone(), read(fields))).collect()
    }

    fn hosts(self, path: &str) -> Vec<AllowedHost> {
        self.texts(path).filter_map(|text| text.parse().ok()).collect()
    }

    fn ranges(self, path: &str) -> Vec<AddressRange> {
        self.texts(path).filter_map(|text| text.parse().ok()).collect()
    }

    fn texts(self, path: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.get(path).as_array().into_iter().flatten().filter_map(Value::as_str)
    }
}

/// The configuration of these values, with what was left empty still empty.
pub(super) fn assemble(values: &BTreeMap<&'static str, Value>) -> Config {
    let values = Values(values);
    Config {
        file: None,
        insecure_dev: false,
        server: server(values),
        sandbox: sandbox(values),
        security: SecurityConfig {
            signatures: if values.text("security.signatures") == "off" {
                SignaturePolicy::Off
            } else {
                SignaturePolicy::Required
            },
            min_isolation: MinIsolation {
                unsigned: isolation(values, "security.min_isolation.unsigned"),
                networked: isolation(values, "security.min_isolation.networked"),
                all: isolation(values, "security.min_isolation.all"),
            },
        },
        limits: ArchiveLimits {
            upload_bytes: values.mib("limits.upload_mb"),
            unpacked_bytes: values.mib("limits.unpacked_mb"),
            file_bytes: values.mib("limits.file_mb"),
            entries: values.whole("limits.entries"),
            ratio: values.whole("limits.ratio"),
        },
        calls: CallLimits {
            message_bytes: values.size("limits.message_bytes"),
            queue: values.size("limits.queue"),
            start: values.seconds("limits.start_seconds"),
            in_flight: values.size("limits.in_flight"),
            answer_bytes: usize::try_from(values.mib("limits.answers_mb")).unwrap_or(usize::MAX),
        },
        breaker: BreakerConfig {
            failures: values.small("breaker.failures"),
            open: values.seconds("breaker.open_seconds"),
        },
        update: UpdateConfig {
            watch: values.seconds("update.watch_seconds"),
            max_error_rate: values.number("update.max_error_rate"),
            keep_versions: values.size("update.keep_versions"),
        },
        health: HealthConfig { interval: values.seconds("health.interval_seconds") },
        install: InstallConfig {
            allow_hosts: values.hosts("install.allow_hosts"),
            timeout: values.seconds("install.timeout_seconds"),
        },
        egress: EgressConfig {
            allow_private: values.hosts("egress.allow_private"),
            deny: values.ranges("egress.deny"),
            service: None,
            max_tunnels: values.size("egress.max_tunnels"),
            connect_timeout: values.seconds("egress.connect_timeout_seconds"),
            idle: values.seconds("egress.idle_seconds"),
            tunnel_time: values.seconds("egress.tunnel_seconds"),
            tunnel_bytes: values.mib("egress.tunnel_mb"),
            ca_file: Some(values.text("egress.ca_file")).filter(|path| !path.is_empty()).map(PathBuf::from),
            fetch_bytes: values.size("egress.fetch_kb") << 10,
        },
        resources: resources(values),
        databases: DatabaseLimits {
            rows: values.size("databases.rows"),
            result_bytes: values.size("databases.result_kb") << 10,
            time: values.seconds("databases.seconds"),
            memory_bytes: values.mib("databases.memory_mb"),
            file_bytes: values.mib("databases.file_mb"),
            workers: values.size("databases.workers"),
            idle: Duration::from_mins(1),
            program: PathBuf::from("/proc/self/exe"),
        },
        storage: StorageConfig {
            min_free_bytes: values.mib("storage.min_free_mb"),
            kv_bytes: values.whole("storage.kv_kb") << 10,
            require_hard_quota: values.get("storage.require_hard_quota").as_bool().unwrap_or_default(),
        },
        logging: LoggingConfig {
            level: word(values.get("logging.level")).unwrap_or(LogLevel::Info),
            format: word(values.get("logging.format")).unwrap_or(LogFormat::Auto),
        },
    }
}

fn isolation(values: Values<'_>, path: &str) -> Isolation {
    // The rules of the setting leave nothing else; where they did not hold, the strongest.
    word(values.get(path)).unwrap_or(Isolation::Docker)
}

fn resources(values: Values<'_>) -> ResourcesConfig {
    let text = |fields: &Value, name: &str| fields[name].as_str().unwrap_or_default().to_owned();
    ResourcesConfig {
        databases: values.named("resources.databases", |fields| DatabaseConfig { url: text(fields, "url") }),
        folders: values.named("resources.folders", |fields| FolderConfig { path: text(fields, "path").into() }),
        apis: values.named("resources.apis", |fields| ApiConfig {
            base_url: text(fields, "base_url"),
            token: fields["token"].as_str().map(SecretString::from),
            allow: operations(&fields["allow"]),
        }),
    }
}

fn operations(listed: &Value) -> Vec<Operation> {
    let texts = listed.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.filter_map(|text| text.parse().ok()).collect()
}

fn server(values: Values<'_>) -> ServerConfig {
    ServerConfig {
        listen: values.text("server.listen").parse().unwrap_or_else(|_unread| SocketAddr::from(([127, 0, 0, 1], 8000))),
        data_dir: PathBuf::from(values.text("server.data_dir")),
        run_dir: PathBuf::from(values.text("server.run_dir")),
        allowed_hosts: values.hosts("server.allowed_hosts"),
        max_connections: values.size("server.max_connections"),
        max_uploads: values.size("server.max_uploads"),
        body_timeout: values.seconds("server.body_timeout_seconds"),
        min_body_rate: values.whole("server.min_body_rate"),
        keep_alive: values.seconds("server.keep_alive_seconds"),
        requests_per_second: values.small("server.requests_per_second"),
    }
}

/// Starts at one time where nobody says how many: they wait for the engine as much as for a processor.
fn parallel_starts() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).saturating_mul(2).clamp(4, 10)
}

fn sandbox(values: Values<'_>) -> SandboxConfig {
    SandboxConfig {
        engine: word(values.get("sandbox.engine")).unwrap_or(EngineChoice::Auto),
        docker_host: values.text("sandbox.docker_host").to_owned(),
        runtime: values.text("sandbox.runtime").to_owned(),
        uid_base: values.small("sandbox.uid_base"),
        parallel_starts: match values.size("sandbox.parallel_starts") {
            0 => parallel_starts(),
            most => most,
        },
        images: ImagesConfig { python: values.text("sandbox.images.python").to_owned() },
        process: ProcessConfig {
            python: values.text("sandbox.process.python").to_owned(),
            root: Some(values.text("sandbox.process.root")).filter(|root| !root.is_empty()).map(PathBuf::from),
            allow_without_cgroups: values.get("sandbox.process.allow_without_cgroups") == true,
        },
        defaults: ResourceLimits {
            memory_mb: values.whole("sandbox.defaults.memory_mb"),
            cpus: values.number("sandbox.defaults.cpus"),
            cpu_shares: values.whole("sandbox.defaults.cpu_shares"),
            pids: values.whole("sandbox.defaults.pids"),
            tmp_mb: values.whole("sandbox.defaults.tmp_mb"),
            data_mb: values.whole("sandbox.defaults.data_mb"),
            timeout_seconds: values.whole("sandbox.defaults.timeout_seconds"),
            max_concurrency: values.whole("sandbox.defaults.max_concurrency"),
        },
        ceiling: ResourceCeiling {
            memory_mb: values.whole("sandbox.ceiling.memory_mb"),
            cpus: values.number("sandbox.ceiling.cpus"),
            pids: values.whole("sandbox.ceiling.pids"),
            tmp_mb: values.whole("sandbox.ceiling.tmp_mb"),
            data_mb: values.whole("sandbox.ceiling.data_mb"),
            timeout_seconds: values.whole("sandbox.ceiling.timeout_seconds"),
            max_concurrency: values.whole("sandbox.ceiling.max_concurrency"),
        },
    }
}
