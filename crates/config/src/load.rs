//! Puts flags, environment, file and defaults together.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::kind::Kind;
use super::setting::{Section as _, Setting};
use super::settings::settings;
use super::values::Values;
use super::{Config, ConfigError, Environment, Overrides, substitute};
use plugbay_domain::yaml::{self, Limits, Mistakes, Node, Place, Scalar, Style};
use plugbay_domain::{AllowedHost, FieldError, SignaturePolicy, nearest};

/// Bytes of a configuration file.
const MAX_FILE_BYTES: usize = 256 * 1024;

/// What every variable that sets a key begins with.
const PREFIX: &str = "PLUGBAY__";

/// Bytes of the path of a Unix socket: `sun_path` without its end.
const MAX_SOCKET_PATH: usize = 107;

/// The longest name below `server.run_dir`.
const LONGEST_SOCKET: &str = "session_00000000000000000000000000000000/egress.sock";

/// Where a file is looked for when none is named.
const FILES: [&str; 2] = ["./plugbay.yaml", "/etc/plugbay/plugbay.yaml"];

/// Reads everything and reports every mistake.
pub(super) fn load(overrides: Overrides, environment: &Environment) -> Result<Config, ConfigError> {
    let file = find_file(&overrides, environment);
    let mut sources = Sources::of(overrides.insecure_dev);
    if let Some(path) = &file {
        let bytes = read_file(path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
        sources.file(&bytes, environment);
    }
    sources.environment(environment);
    sources.finish(overrides, file, environment)
}

/// The defaults with these flags, which are taken as they are.
pub(super) fn defaults(overrides: Overrides) -> Config {
    let mut config = Config::read(Values(&Sources::of(overrides.insecure_dev).values));
    apply(&mut config, overrides);
    config.server.run_dir = config.server.data_dir.join("run");
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

impl Sources {
    /// The defaults. For development everything may come unsigned and run in the weakest isolation, unless something else
    /// is said.
    fn of(insecure_dev: bool) -> Self {
        let default = |setting: &Setting| match setting.path {
            "security.signatures" if insecure_dev => "off".into(),
            path if insecure_dev && path.starts_with("security.min_isolation.") => "process".into(),
            _ => (setting.default)(),
        };
        let values = settings().map(|setting| (setting.path, default(setting))).collect();
        Self { values, mistakes: Vec::new() }
    }

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
        let below = settings().filter_map(|setting| setting.path.strip_prefix(prefix));
        let mut keys: Vec<&'static str> = below.map(|path| path.split('.').next().unwrap_or(path)).collect();
        keys.dedup();
        let Some(fields) = place.fields(keys.iter().copied()) else { return };
        for key in keys {
            let Some(inner) = fields.get(key) else { continue };
            let path = format!("{prefix}{key}");
            let Some(setting) = settings().find(|setting| setting.path == path) else {
                self.section(&inner, &format!("{path}."));
                continue;
            };
            if let Some(value) = setting.kind.read(&inner) {
                self.values.insert(setting.path, value);
            }
        }
    }

    fn environment(&mut self, environment: &Environment) {
        let known: Vec<(String, &Setting)> = settings().map(|setting| (variable(setting.path), setting)).collect();
        for (name, text) in environment.with_prefix(PREFIX) {
            let Some((_, setting)) = known.iter().find(|(variable, _)| variable == name) else {
                let meant = nearest(name, known.iter().map(|(variable, _)| variable.as_str()));
                let hint = meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
                let shown = plugbay_domain::escape(name);
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

    fn finish(
        mut self,
        overrides: Overrides,
        file: Option<PathBuf>,
        environment: &Environment,
    ) -> Result<Config, ConfigError> {
        let allow_plain_http = overrides.allow_plain_http;
        let mut config = Config::read(Values(&self.values));
        apply(&mut config, overrides);
        config.file.clone_from(&file);
        if config.server.run_dir.as_os_str().is_empty() {
            let is_root = rustix::process::geteuid().is_root();
            config.server.run_dir = automatic_run_dir(is_root, environment, &config.server.data_dir);
        }
        config.server.run_dir = absolute(&config.server.run_dir);
        check(&config, allow_plain_http, &mut self.mistakes);
        if self.mistakes.is_empty() { Ok(config) } else { Err(ConfigError::Invalid { file, fields: self.mistakes }) }
    }
}

impl Kind {
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
    config.sandbox.engine = overrides.engine.unwrap_or(config.sandbox.engine);
}

/// Where sockets go when nothing is said.
pub(super) fn automatic_run_dir(is_root: bool, environment: &Environment, data_dir: &Path) -> PathBuf {
    if is_root {
        return PathBuf::from("/run/plugbay");
    }
    match environment.get("XDG_RUNTIME_DIR").filter(|folder| folder.starts_with('/')) {
        Some(folder) => Path::new(folder).join("plugbay"),
        None => data_dir.join("run"),
    }
}

/// Absolute, as Docker takes no other path; as it is where the current folder is gone.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_no_current_folder| path.to_owned())
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
    for mistake in config.egress.allow_private.iter().filter_map(AllowedHost::mistake_for_plugins) {
        fail("egress.allow_private", mistake);
    }
    for above in config.sandbox.defaults.above(&config.sandbox.ceiling) {
        let key = above.pointer.trim_start_matches("/resources/");
        fail(
            &format!("sandbox.defaults.{key}"),
            above.message.replace("the operator's ceiling", &format!("`sandbox.ceiling.{key}`")),
        );
    }
    let longest = config.server.run_dir.join(LONGEST_SOCKET);
    if longest.as_os_str().len() > MAX_SOCKET_PATH {
        let most = MAX_SOCKET_PATH - LONGEST_SOCKET.len() - 1;
        let run_dir = config.server.run_dir.display();
        fail(
            "server.run_dir",
            format!(
                "`{run_dir}` is longer than the {most} bytes that leave room for the names of sockets; set a shorter folder, such as /run/plugbay or /tmp/plugbay"
            ),
        );
    }
    if !config.sandbox.docker_host.starts_with("unix:///") {
        fail(
            "sandbox.docker_host",
            format!(
                "`{}` is not a Unix socket, and Docker must run on this machine; set such as `unix:///var/run/docker.sock`",
                plugbay_domain::escape(&config.sandbox.docker_host)
            ),
        );
    }
    let process = &config.sandbox.process;
    if process.root.as_ref().is_some_and(|root| !root.is_absolute()) {
        fail("sandbox.process.root", "expected an absolute path such as `/srv/plugbay/python`".to_owned());
    }
    if !process.python.starts_with('/') {
        fail("sandbox.process.python", "expected an absolute path such as `/usr/bin/python3`".to_owned());
    }
    if config.limits.file_bytes > config.limits.unpacked_bytes {
        fail(
            "limits.file_mb",
            "one file may not weigh more than all together; lower it, or raise `limits.unpacked_mb`".to_owned(),
        );
    }
}
