//! Where values come from, and what is said about wrong ones.

use std::io::Write as _;

use super::*;
use plugbay_domain::{ArchiveLimits, Code, Refusal, ResourceCeiling, ResourceLimits, SignaturePolicy, Word};

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn load_with(text: &str, environment: &Environment, flags: Overrides) -> Result<Config, ConfigError> {
    let file = file(text);
    load::load(Overrides { config: Some(file.path().to_owned()), ..flags }, environment)
}

fn mistakes(text: &str, environment: &Environment, flags: Overrides) -> Vec<String> {
    let error = load_with(text, environment, flags).expect_err(text);
    assert_eq!(error.code(), Code::ConfigInvalid);
    error.fields().iter().map(ToString::to_string).collect()
}

#[test]
fn the_defaults_are_valid_and_those_of_the_types() {
    let config = load_with("# nothing\n", &Environment::default(), Overrides::default()).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(config.limits, ArchiveLimits::default());
    assert_eq!(config.sandbox.defaults, ResourceLimits::default());
    assert_eq!(config.sandbox.ceiling, ResourceCeiling::default());
    assert_eq!(config.security.signatures, SignaturePolicy::Required);
    assert_eq!(config.storage.min_free_bytes, 64 << 20);
    let validator = jsonschema::validator_for(&config_schema()).unwrap();
    assert!(validator.is_valid(&serde_json::json!({})));
    for setting in settings::settings() {
        let value = setting.path.rsplit('.').fold((setting.default)(), |value, key| serde_json::json!({ key: value }));
        assert!(validator.is_valid(&value), "{}", setting.path);
    }
}

#[test]
fn flags_come_before_environment_before_file_before_default() {
    let text =
        "server: { listen: '127.0.0.1:1', data_dir: /file }\nlimits: { upload_mb: 1 }\nlogging: { level: warn }\n";
    let environment = Environment::from([
        ("PLUGBAY__SERVER__LISTEN", "127.0.0.1:2"),
        ("PLUGBAY__LIMITS__UPLOAD_MB", "2"),
        ("PLUGBAY__SANDBOX__DEFAULTS__CPUS", "1.5"),
        ("PLUGBAY__INSTALL__ALLOW_HOSTS", "a.example, 10.0.0.1:80"),
    ]);
    let flags = Overrides { listen: Some("127.0.0.1:3".parse().unwrap()), ..Overrides::default() };
    let config = load_with(text, &environment, flags).unwrap();
    assert_eq!(config.server.listen.port(), 3);
    assert_eq!(config.server.data_dir, Path::new("/file"));
    assert_eq!(config.limits.upload_bytes, 2 << 20);
    assert_eq!(config.logging.level, LogLevel::Warn);
    assert!((config.sandbox.defaults.cpus - 1.5).abs() < f64::EPSILON);
    assert_eq!(config.install.allow_hosts.len(), 2);
}

#[test]
fn variables_are_filled_in() {
    let text = "server: { data_dir: '${HOME}/data' }\nlimits:\n  upload_mb: ${UPLOAD:5}\nlogging:\n  level: ${LEVEL}\n";
    let environment = Environment::from([("HOME", "/home/x"), ("LEVEL", "debug")]);
    let config = load_with(text, &environment, Overrides::default()).unwrap();
    assert_eq!(config.server.data_dir, Path::new("/home/x/data"));
    assert_eq!(config.limits.upload_bytes, 5 << 20);
    assert_eq!(config.logging.level, LogLevel::Debug);
    let found = mistakes("server:\n  data_dir: ${NONE}\n", &Environment::default(), Overrides::default());
    assert!(
        found[0].starts_with("line 2, column 13: /server/data_dir: the environment variable `NONE` is not set"),
        "{found:?}"
    );
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = "server: { listn: x, max_connections: 0 }\nsandbox:\n  defaults: { memory_mb: 4096 }\nlogging: { level: loud }\n";
    let environment = Environment::from([("PLUGBAY__LIMITS__RATIO", "many"), ("PLUGBAY__SERVER__LISTEM", "x")]);
    let found = mistakes(text, &environment, Overrides::default());
    assert_eq!(
        found,
        [
            "line 1, column 11: /server/listn: unknown key `listn`; did you mean `listen`?",
            "line 1, column 38: /server/max_connections: expected 1 to 1000000, found `0`",
            "line 4, column 19: /logging/level: unknown value `loud`; expected one of error, warn, info, debug, trace",
            "/limits/ratio: the environment variable `PLUGBAY__LIMITS__RATIO`: expected a whole number, found `many`",
            "the environment variable `PLUGBAY__SERVER__LISTEM` sets no known key; did you mean `PLUGBAY__SERVER__LISTEN`?",
            "/sandbox/defaults/memory_mb: 4096 is above `sandbox.ceiling.memory_mb` of 2048",
        ]
    );
}

#[test]
fn what_plugins_reach_on_this_machine_has_its_name_and_a_port() {
    for host in ["localhost:9099", "127.0.0.1", "'[::1]:9099'", "host.plugbay.internal"] {
        let text = format!("egress: {{ allow_private: [{host}] }}");
        let found = mistakes(&text, &Environment::default(), Overrides::default());
        assert!(found.len() == 1 && found[0].contains("`host.plugbay.internal:"), "{host}: {found:?}");
    }
    let good = "egress: { allow_private: ['host.plugbay.internal:11434', ollama.internal] }";
    assert_eq!(load_with(good, &Environment::default(), Overrides::default()).unwrap().egress.allow_private.len(), 2);
}

#[test]
fn safety_is_given_up_only_on_purpose() {
    let none = Environment::default();
    let public = "server: { listen: '0.0.0.0:8000' }";
    assert!(mistakes(public, &none, Overrides::default())[0].contains("--allow-plain-http"));
    let open = Overrides { allow_plain_http: true, ..Overrides::default() };
    assert!(load_with(public, &none, open.clone()).is_ok());
    let unsafe_and_open = Overrides { insecure_dev: true, ..open };
    assert!(mistakes(public, &none, unsafe_and_open)[0].contains("loopback addresses only"));
    let off = "security: { signatures: off }";
    assert!(mistakes(off, &none, Overrides::default())[0].contains("--insecure-dev"));
    let dev = Overrides { insecure_dev: true, ..Overrides::default() };
    assert_eq!(load_with(off, &none, dev.clone()).unwrap().security.signatures, SignaturePolicy::Off);
    // The flag alone is enough, and the file has the last word.
    assert_eq!(load_with("", &none, dev.clone()).unwrap().security.signatures, SignaturePolicy::Off);
    let required = load_with("security: { signatures: required }", &none, dev).unwrap();
    assert_eq!(required.security.signatures, SignaturePolicy::Required);
}

#[test]
fn sockets_have_a_short_and_absolute_folder() {
    let none = Environment::default();
    let folder = |length: usize| format!("server: {{ run_dir: /{} }}", "x".repeat(length - 1));
    assert!(load_with(&folder(54), &none, Overrides::default()).is_ok());
    let found = mistakes(&folder(55), &none, Overrides::default());
    assert!(found[0].starts_with("/server/run_dir: `/xxx") && found[0].contains("54 bytes"), "{found:?}");
    let config = load_with("server: { run_dir: run }", &none, Overrides::default());
    assert!(config.map_or(true, |config| config.server.run_dir.is_absolute()));
    let config = load_with("server: { run_dir: '' }", &none, Overrides::default()).unwrap();
    assert!(config.server.run_dir.is_absolute());
    let session = Environment::from([("XDG_RUNTIME_DIR", "/run/user/7")]);
    assert_eq!(load::automatic_run_dir(true, &session, Path::new("/d")), Path::new("/run/plugbay"));
    assert_eq!(load::automatic_run_dir(false, &session, Path::new("/d")), Path::new("/run/user/7/plugbay"));
    assert_eq!(load::automatic_run_dir(false, &none, Path::new("/d")), Path::new("/d/run"));
}

#[test]
fn the_engine_is_chosen_and_local() {
    let none = Environment::default();
    let flags = Overrides { engine: Some(EngineChoice::Docker), ..Overrides::default() };
    assert_eq!(load_with("# nothing", &none, flags).unwrap().sandbox.engine, EngineChoice::Docker);
    let remote = "sandbox: { docker_host: 'tcp://10.0.0.1:2375' }";
    assert!(mistakes(remote, &none, Overrides::default())[0].contains("is not a Unix socket"));
    assert!(mistakes("sandbox: { engine: podman }", &none, Overrides::default())[0].contains("auto, docker, process"));
}

#[test]
fn development_lowers_the_isolation_that_nobody_set() {
    use plugbay_domain::Isolation::{Docker, Process};
    let least = |text: &str, insecure_dev| {
        let flags = Overrides { insecure_dev, ..Overrides::default() };
        let MinIsolation { unsigned, networked, all } =
            load_with(text, &Environment::default(), flags).unwrap().security.min_isolation;
        (unsigned, networked, all)
    };
    assert_eq!(least("# nothing", false), (Docker, Process, Process));
    assert_eq!(least("# nothing", true), (Process, Process, Process));
    let written = "security: { min_isolation: { unsigned: docker, all: docker } }";
    assert_eq!(least(written, true), (Docker, Process, Docker));
    let wrong = "security: { min_isolation: { all: none } }";
    assert!(mistakes(wrong, &Environment::default(), Overrides::default())[0].contains("process, docker"));
}

#[test]
fn the_process_engine_takes_absolute_paths_and_a_switch() {
    let none = Environment::default();
    let text = "sandbox: { process: { python: /usr/bin/python3.11, root: /srv/python, allow_without_cgroups: true } }";
    let process = load_with(text, &none, Overrides::default()).unwrap().sandbox.process;
    assert_eq!(
        (&*process.python, process.root, process.allow_without_cgroups),
        ("/usr/bin/python3.11", Some("/srv/python".into()), true)
    );
    let process = load_with("# nothing", &none, Overrides::default()).unwrap().sandbox.process;
    assert_eq!((&*process.python, process.root, process.allow_without_cgroups), ("/usr/bin/python3", None, false));
    let wrong = "sandbox: { process: { python: python3, root: python, allow_without_cgroups: maybe } }";
    assert_eq!(mistakes(wrong, &none, Overrides::default()).len(), 3);
    let by_variable = Environment::from([("PLUGBAY__SANDBOX__PROCESS__ALLOW_WITHOUT_CGROUPS", "true")]);
    assert!(load_with("# nothing", &by_variable, Overrides::default()).unwrap().sandbox.process.allow_without_cgroups);
}

#[test]
fn a_named_file_must_exist_and_be_yaml() {
    let missing = Overrides { config: Some("/nonexistent/plugbay.yaml".into()), ..Overrides::default() };
    let error = load::load(missing, &Environment::default()).unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }));
    assert!(error.how().unwrap().contains("--config"));
    let by_variable = Environment::from([("PLUGBAY_CONFIG", "/nonexistent/plugbay.yaml")]);
    assert!(matches!(load::load(Overrides::default(), &by_variable), Err(ConfigError::Read { .. })));
    assert_eq!(mistakes("a: &x 1", &Environment::default(), Overrides::default()).len(), 1);
    assert!(mistakes("[]", &Environment::default(), Overrides::default())[0].contains("expected a map"));
    assert!(mistakes("server:", &Environment::default(), Overrides::default())[0].contains("found nothing"));
}

#[test]
fn the_committed_documentation_is_the_generated_one() {
    let schema = serde_json::to_string_pretty(&config_schema()).unwrap() + "\n";
    for (path, wanted) in [("openapi/config.schema.json", schema), ("docs/configuration.md", configuration_page())] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
        if std::env::var_os("PLUGBAY_BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == wanted, "{} is out of date; run the tests with PLUGBAY_BLESS=1", path.display());
    }
}

#[test]
fn the_configuration_for_tests_is_on_loopback() {
    let config = Config::for_testing(Path::new("/tmp/x"));
    assert!(config.server.listen.ip().is_loopback() && config.server.listen.port() == 0);
    assert_eq!(config.server.data_dir, Path::new("/tmp/x"));
}

#[test]
fn resources_have_names_of_the_operators() {
    let text = "resources:\n  databases: { chat: { url: 'sqlite:///var/lib/chat.db' } }\n  folders: { docs: { path: /srv/docs } }\n  \
                apis: { chat: { base_url: 'http://127.0.0.1:9000', token: '${TOKEN}', allow: ['GET /v1/*'] } }\n";
    let environment = Environment::from([("TOKEN", "very-secret")]);
    let config = load_with(text, &environment, Overrides::default()).unwrap();
    assert_eq!(config.resources.folders["docs"].path, Path::new("/srv/docs"));
    assert_eq!(config.resources.databases["chat"].url, "sqlite:///var/lib/chat.db");
    let api = &config.resources.apis["chat"];
    assert_eq!(
        (api.base_url.as_str(), api.allow.as_slice()),
        ("http://127.0.0.1:9000", &["GET /v1/*".parse().unwrap()][..])
    );
    assert!(!format!("{config:?}").contains("very-secret"));
    let wrong = "resources:\n  folders: { Docs: { path: /srv }, a: { path: docs }, b: {}, c: { path: /x, mode: rw } }\n  \
                 databases: { chat: { url: 'postgres://x' } }\n  apis: { x: { base_url: 'ftp://x', allow: ['v1', 'TRACE /', 'GET /a/../b', 'GET /a*'] },\n    \
                 y: { base_url: 'https://user:word@x/' } }\n";
    let found = mistakes(wrong, &Environment::default(), Overrides::default());
    for text in [
        "not a name an operator gives",
        "/resources/folders/a/path: expected an absolute path",
        "/resources/folders/b/path: the key `path` is missing",
        "`mode`",
        "/resources/databases/chat/url: expected the address of a database",
        "/resources/apis/x/base_url: expected an address",
        "/resources/apis/x/allow/0: `v1` is not a method and a path",
        "/resources/apis/x/allow/1: `TRACE` is not a method",
        "/resources/apis/x/allow/2: the path `/a/../b` has `.` or `..`",
        "/resources/apis/x/allow/3: `GET /a*`: `*` stands for one whole segment",
        "/resources/apis/y/base_url: expected an address such as",
    ] {
        assert!(found.iter().any(|mistake| mistake.contains(text)), "{text}: {found:#?}");
    }
}

fn of<T: Word>() -> Vec<&'static str> {
    T::ALL.iter().map(|word| word.as_str()).collect()
}

#[test]
fn the_words_of_the_table_are_those_of_the_types() {
    let words = |path: &str| match settings::settings().find(|setting| setting.path == path).map(|setting| setting.kind)
    {
        Some(kind::Kind::Words(words)) => words.to_vec(),
        _ => Vec::new(),
    };
    assert_eq!(words("sandbox.engine"), of::<EngineChoice>());
    assert_eq!(words("logging.level"), of::<LogLevel>());
    assert_eq!(words("logging.format"), of::<LogFormat>());
}
