//! The keys of `sandbox` and `security`: what plugins run in, what they get, and how much is demanded of both.

use serde_json::json;

use super::kind::Kind;
use super::setting::{COUNT, MIB, Setting, setting};
use plugbay_domain::{ResourceCeiling, ResourceLimits};

const CPUS: Kind = Kind::Number(0.01, 1_000_000.0);

/// In the order of the documentation.
pub(super) const SANDBOX_SETTINGS: &[Setting] = &[
    setting(
        "sandbox.engine",
        Kind::Words(&["auto", "docker", "process"]),
        || json!("auto"),
        "What plugins run in. `docker`: containers. `process`: bubblewrap, without Docker and weaker; needs root. `auto`: Docker when it answers at the first look, else `process`; the log tells which and why.",
    ),
    setting(
        "sandbox.docker_host",
        Kind::Text,
        || json!("unix:///var/run/docker.sock"),
        "Where Docker listens: `unix://` and the path of a socket. Without Docker nothing can be enabled: 503 `engine-unavailable`.",
    ),
    setting("sandbox.runtime", Kind::Text, || json!("runc"), "Docker's name of the OCI runtime that starts sandboxes."),
    setting(
        "sandbox.uid_base",
        Kind::Whole(10_000, 2_000_000_000),
        || json!(200_000),
        "The users of plugins are counted from here; nobody else on the machine may have these. 20000 where Docker maps users and this is outside its map.",
    ),
    setting(
        "sandbox.parallel_starts",
        Kind::Whole(0, 1_000),
        || json!(0),
        "Sandboxes that are being started at one time; further plugins wait for their turn as `loading`. 0: two for each processor, at least 4 and at most 10.",
    ),
    setting(
        "sandbox.images.python",
        Kind::Text,
        || json!("plugbay/python:3"),
        "Image of plugins with the runtime python. Never fetched by plugbay; where it is missing nothing starts: 503 `image-missing`.",
    ),
    setting(
        "sandbox.process.python",
        Kind::Text,
        || json!("/usr/bin/python3"),
        "Python of plugins under the process engine, by its path in `sandbox.process.root`.",
    ),
    setting(
        "sandbox.process.root",
        Kind::Automatic,
        || json!(""),
        "Folder with the programs that plugins see under the process engine, such as `docker/python/build.sh --folder` makes; absolute. Empty: those of this machine.",
    ),
    setting(
        "sandbox.process.allow_without_cgroups",
        Kind::Boolean,
        || json!(false),
        "Whether the process engine runs plugins without limits of memory, processors and processes where the machine has no cgroups for them.",
    ),
    setting(
        "sandbox.defaults.memory_mb",
        Kind::Whole(6, 1 << 40),
        || json!(ResourceLimits::default().memory_mb),
        "MiB of memory where a manifest is silent.",
    ),
    setting(
        "sandbox.defaults.cpus",
        CPUS,
        || json!(ResourceLimits::default().cpus),
        "Processors where a manifest is silent.",
    ),
    setting(
        "sandbox.defaults.cpu_shares",
        Kind::Whole(2, 262_144),
        || json!(ResourceLimits::default().cpu_shares),
        "Weight against other plugins where a manifest is silent.",
    ),
    setting(
        "sandbox.defaults.pids",
        COUNT,
        || json!(ResourceLimits::default().pids),
        "Processes and threads where a manifest is silent.",
    ),
    setting(
        "sandbox.defaults.tmp_mb",
        MIB,
        || json!(ResourceLimits::default().tmp_mb),
        "MiB of /tmp where a manifest is silent; they count as memory.",
    ),
    setting(
        "sandbox.defaults.data_mb",
        MIB,
        || json!(ResourceLimits::default().data_mb),
        "MiB of /data where a manifest is silent.",
    ),
    setting(
        "sandbox.defaults.timeout_seconds",
        COUNT,
        || json!(ResourceLimits::default().timeout_seconds),
        "Seconds for one call where a manifest is silent.",
    ),
    setting(
        "sandbox.defaults.max_concurrency",
        COUNT,
        || json!(ResourceLimits::default().max_concurrency),
        "Calls in flight where a manifest is silent.",
    ),
    setting(
        "sandbox.ceiling.memory_mb",
        Kind::Whole(6, 1 << 40),
        || json!(ResourceCeiling::default().memory_mb),
        "The most MiB of memory a manifest may ask for; more is 422 `limits-exceed-ceiling`.",
    ),
    setting(
        "sandbox.ceiling.cpus",
        CPUS,
        || json!(ResourceCeiling::default().cpus),
        "The most processors a manifest may ask for; more is 422 `limits-exceed-ceiling`.",
    ),
    setting(
        "sandbox.ceiling.pids",
        COUNT,
        || json!(ResourceCeiling::default().pids),
        "The most processes and threads a manifest may ask for; more is 422 `limits-exceed-ceiling`.",
    ),
    setting(
        "sandbox.ceiling.tmp_mb",
        MIB,
        || json!(ResourceCeiling::default().tmp_mb),
        "The most MiB of /tmp a manifest may ask for; more is 422 `limits-exceed-ceiling`.",
    ),
    setting(
        "sandbox.ceiling.data_mb",
        MIB,
        || json!(ResourceCeiling::default().data_mb),
        "The most MiB of /data a manifest may ask for; more is 422 `limits-exceed-ceiling`.",
    ),
    setting(
        "sandbox.ceiling.timeout_seconds",
        COUNT,
        || json!(ResourceCeiling::default().timeout_seconds),
        "The most seconds for one call a manifest may ask for; more is 422 `limits-exceed-ceiling`.",
    ),
    setting(
        "sandbox.ceiling.max_concurrency",
        COUNT,
        || json!(ResourceCeiling::default().max_concurrency),
        "The most calls in flight a manifest may ask for; more is 422 `limits-exceed-ceiling`.",
    ),
    setting(
        "security.signatures",
        Kind::Words(&["required", "off"]),
        || json!("required"),
        "`required`: only archives that a trusted key has signed are installed, others get 422 `signature-missing` or `signature-untrusted`. `off`: only with `--insecure-dev` on a loopback address, where it is the default.",
    ),
    setting(
        "security.min_isolation.unsigned",
        Kind::Words(&["process", "docker"]),
        || json!("docker"),
        "The weakest isolation in which plugins without the signature of a trusted key run; in a weaker one they do not start: 409 `isolation-too-weak`. With `--insecure-dev` the default is `process`.",
    ),
    setting(
        "security.min_isolation.networked",
        Kind::Words(&["process", "docker"]),
        || json!("process"),
        "The weakest isolation in which plugins with network access run: 409 `isolation-too-weak`.",
    ),
    setting(
        "security.min_isolation.all",
        Kind::Words(&["process", "docker"]),
        || json!("process"),
        "The weakest isolation in which any plugin runs: 409 `isolation-too-weak`.",
    ),
];
