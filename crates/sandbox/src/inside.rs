//! What a sandbox looks like from inside, and what it may use: the same in every engine.

use std::path::{Path, PathBuf};

use super::runtime::{HOSTS, RESOLV_CONF, SHIM};
use super::{EntryPoint, FolderAccess, Network, Pace, SandboxSpec};

/// Where the package is.
pub(super) const PACKAGE_DIR: &str = "/plugin";
/// Where shim and SDK are.
const RUNTIME_DIR: &str = "/opt/plugbay";
const INSTANCE_DIR: &str = "/run/plugbay";
/// Where the shim's proxy is. Never `localhost`, which some programs look up as `::1`, and that is not there.
const PROXY: &str = "http://127.0.0.1:3128";
const RUNNER: &str = "/opt/plugbay/sdk/plugbay/runner";

/// Name, and soft and hard limit. Without the last one `/dev/mqueue` could be filled.
pub(super) const ULIMITS: [(&str, i64); 4] = [("nofile", 1024), ("core", 0), ("memlock", 64 << 10), ("msgqueue", 0)];

/// What the machine is called inside.
pub(super) const HOSTNAME: &str = "plugin";

/// Plugins are killed before anything else of the machine when its memory runs out.
pub(super) const OOM_SCORE: i64 = 500;

/// How many times its usual weight a sandbox has in a hurry: more than a machine's worth of busy plugins together, and not
/// so much that those stand still.
const HURRY: u64 = 16;

/// The largest weight that the kernel takes.
const MAX_SHARES: u64 = 262_144;

/// What a sandbox may have of the machine's processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Processors {
    /// The most, in billionths of one.
    pub(super) nano: i64,
    /// Its weight beside others.
    pub(super) shares: u64,
}

/// A file or folder of the machine that is seen inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    /// Where it is on the machine; absolute.
    pub(super) source: PathBuf,
    /// Where it is seen.
    pub(super) target: String,
    /// What may be done with it.
    pub(super) access: FolderAccess,
    /// Whether programs in it may be started, where the engine can tell.
    pub(super) is_executable: bool,
}

/// Bytes of memory: `/tmp` lies in memory and is counted with it.
pub(super) fn memory_bytes(spec: &SandboxSpec) -> i64 {
    let mib = spec.limits.memory_mb.saturating_add(spec.limits.tmp_mb);
    i64::try_from(mib.saturating_mul(1 << 20)).unwrap_or(i64::MAX)
}

/// Its share of `cpus` processors. In a hurry it may use one whole processor at least.
pub(super) fn processors(spec: &SandboxSpec, cpus: u32, pace: Pace) -> Processors {
    let (limit, shares) = match pace {
        Pace::Usual => (spec.limits.cpus, spec.limits.cpu_shares),
        Pace::Hurried => (spec.limits.cpus.max(1.0), spec.limits.cpu_shares.saturating_mul(HURRY).min(MAX_SHARES)),
    };
    #[expect(clippy::cast_possible_truncation, reason = "the number of processors bounds it")]
    let nano = (limit.min(f64::from(cpus)) * 1e9).round() as i64;
    Processors { nano, shares }
}

/// Processes and threads.
pub(super) fn pids(spec: &SandboxSpec) -> i64 {
    i64::try_from(spec.limits.pids).unwrap_or(i64::MAX)
}

/// The shim with its arguments; `python` starts Python.
pub(super) fn entrypoint(spec: &SandboxSpec, python: &str, message_bytes: usize) -> Vec<String> {
    let mut words = vec![format!("{RUNTIME_DIR}/{SHIM}")];
    if spec.network == Network::Proxied {
        words.push("--egress".to_owned());
    }
    words.push("--runtime".to_owned());
    let mut add = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
    match &spec.entry_point {
        EntryPoint::Python { arguments } => {
            add(&["python", "--", python, "-I", "-B", RUNNER]);
            words.extend(arguments.iter().cloned());
        }
        EntryPoint::Stdio { program } => add(&["stdio", "--", &format!("{PACKAGE_DIR}/{program}")]),
        EntryPoint::Exec { program, methods } => {
            words.extend(exec_words(spec, methods, message_bytes));
            words.extend(["--".to_owned(), format!("{PACKAGE_DIR}/{program}")]);
        }
        EntryPoint::Guest { command, method } => {
            words.extend(exec_words(spec, std::slice::from_ref(method), message_bytes));
            words.extend(["--any-exit", "--"].map(str::to_owned));
            words.extend(command.iter().cloned());
        }
    }
    words
}

/// How the shim runs a program for each call.
fn exec_words(spec: &SandboxSpec, methods: &[String], message_bytes: usize) -> Vec<String> {
    // The shim takes numbers of 32 bits.
    let most = |number: u64| number.clamp(1, u64::from(u32::MAX)).to_string();
    let mut words = vec!["exec".to_owned()];
    let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
    if !methods.is_empty() {
        add("--methods", methods.join(","));
    }
    add("--timeout-ms", most(spec.limits.timeout_seconds.saturating_mul(1_000)));
    // Half: the frame around a result, and what is escaped in it, must fit into the message too.
    add("--output-bytes", most(message_bytes as u64 / 2));
    add("--calls", most(spec.limits.max_concurrency));
    words
}

/// Nothing of the configuration: a plugin's processes, and what they crash into, show their environment.
pub(super) fn environment(spec: &SandboxSpec) -> Vec<String> {
    let mut environment = vec![
        "PATH=/usr/local/bin:/usr/bin:/bin".to_owned(),
        "HOME=/tmp".to_owned(),
        "LANG=C.UTF-8".to_owned(),
        format!("PLUGIN_ID={}", spec.plugin_id),
        format!("PLUGIN_DIR={PACKAGE_DIR}"),
    ];
    if spec.network == Network::Proxied {
        // Programs differ in which of them they read.
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            environment.push(format!("{name}={PROXY}"));
        }
        environment.extend(["NO_PROXY", "no_proxy"].map(|name| format!("{name}=localhost,127.0.0.1")));
    }
    environment
}

/// What of the machine is seen inside.
pub(super) fn bindings(spec: &SandboxSpec) -> Vec<Binding> {
    use FolderAccess::{ReadOnly, ReadWrite};
    let binding = |source: &Path, target: &str, access, is_executable| Binding {
        // Engines know nothing of the service's current folder.
        source: std::path::absolute(source).unwrap_or_else(|_no_current_folder| source.to_owned()),
        target: target.to_owned(),
        access,
        is_executable,
    };
    let mut bindings = vec![
        binding(&spec.package, PACKAGE_DIR, ReadOnly, true),
        binding(&spec.runtime, RUNTIME_DIR, ReadOnly, true),
        binding(&spec.instance_dir, INSTANCE_DIR, ReadOnly, false),
        binding(&spec.runtime.join(HOSTS), "/etc/hosts", ReadOnly, false),
        binding(&spec.instance_dir.join("passwd"), "/etc/passwd", ReadOnly, false),
    ];
    if spec.network == Network::Proxied {
        bindings.push(binding(&spec.runtime.join(RESOLV_CONF), "/etc/resolv.conf", ReadOnly, false));
    }
    bindings.extend(spec.data.as_ref().map(|data| binding(&data.source, "/data", ReadWrite, false)));
    let folder =
        |folder: &super::FolderMount| binding(&folder.source, &format!("/mnt/{}", folder.name), folder.access, false);
    bindings.extend(spec.folders.iter().map(folder));
    bindings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::spec;

    #[test]
    fn a_hurry_gives_weight_and_a_whole_processor_and_takes_nothing() {
        let mut spec = spec();
        let of = |spec: &SandboxSpec, pace| {
            let Processors { nano, shares } = processors(spec, 2, pace);
            (nano, shares)
        };
        assert_eq!(of(&spec, Pace::Usual), (500_000_000, 1_024));
        assert_eq!(of(&spec, Pace::Hurried), (1_000_000_000, 16_384));
        (spec.limits.cpus, spec.limits.cpu_shares) = (64.0, MAX_SHARES);
        assert_eq!(of(&spec, Pace::Usual), (2_000_000_000, MAX_SHARES));
        assert_eq!(of(&spec, Pace::Hurried), of(&spec, Pace::Usual));
    }

    #[test]
    fn each_entry_point_starts_through_the_shim() {
        let words = |entry_point: EntryPoint| {
            let spec = SandboxSpec { entry_point, ..spec() };
            entrypoint(&spec, "python3", 4 << 20).join(" ")
        };
        let python = EntryPoint::Python { arguments: vec!["--main".to_owned(), "main.py".to_owned()] };
        assert_eq!(
            words(python),
            "/opt/plugbay/shim --runtime python -- python3 -I -B /opt/plugbay/sdk/plugbay/runner --main main.py"
        );
        let stdio = EntryPoint::Stdio { program: "bin/serve".to_owned() };
        assert_eq!(words(stdio), "/opt/plugbay/shim --runtime stdio -- /plugin/bin/serve");
        let methods = vec!["execute".to_owned(), "on_message".to_owned()];
        let exec = EntryPoint::Exec { program: "run.sh".to_owned(), methods };
        assert_eq!(
            words(exec),
            "/opt/plugbay/shim --runtime exec --methods execute,on_message --timeout-ms 30000 --output-bytes 2097152 \
             --calls 16 -- /plugin/run.sh"
        );
        let command = ["bandit", "-r", "/plugin"].map(str::to_owned).to_vec();
        assert_eq!(
            words(EntryPoint::Guest { command, method: "scan".to_owned() }),
            "/opt/plugbay/shim --runtime exec --methods scan --timeout-ms 30000 --output-bytes 2097152 --calls 16 \
             --any-exit -- bandit -r /plugin"
        );
    }
}
