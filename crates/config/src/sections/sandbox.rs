//! `sandbox`: what plugins run in, and what they get.

use std::path::PathBuf;

use crate::choices::EngineChoice;
use crate::kind::Kind;
use crate::setting::{COUNT, MIB, section};
use crate::values::{Values, boolean, number, optional_path, size, small, text, whole, word};
use plugbay_domain::{ResourceCeiling, ResourceLimits};

const CPUS: Kind = Kind::Number(0.01, 1_000_000.0);

section! {
    /// `sandbox`.
    #[derive(Clone, Debug)]
    pub struct SandboxConfig at "sandbox" {
        "engine" => engine: EngineChoice {
            kind: Kind::Words(&["auto", "docker", "process"]),
            default: "auto",
            read: |values, path| word(values, path).unwrap_or(EngineChoice::Auto),
            doc: "What plugins run in. `docker`: containers. `process`: bubblewrap, without Docker and weaker; needs root. `auto`: Docker when it answers at the first look, else `process`; the log tells which and why.",
        }
        "docker_host" => docker_host: String {
            kind: Kind::Text,
            default: "unix:///var/run/docker.sock",
            read: text,
            doc: "Where Docker listens: `unix://` and the path of a socket. Without Docker nothing can be enabled: 503 `engine-unavailable`.",
        }
        "runtime" => runtime: String {
            kind: Kind::Text,
            default: "runc",
            read: text,
            doc: "Docker's name of the OCI runtime that starts sandboxes.",
        }
        "uid_base" => uid_base: u32 {
            kind: Kind::Whole(10_000, 2_000_000_000),
            default: 200_000,
            read: small,
            doc: "The users of plugins are counted from here; nobody else on the machine may have these. 20000 where Docker maps users and this is outside its map.",
        }
        "parallel_starts" => parallel_starts: usize {
            kind: Kind::Whole(0, 1_000),
            default: 0,
            read: parallel_starts,
            doc: "Sandboxes that are being started at one time; further plugins wait for their turn as `loading`. 0: two for each processor, at least 4 and at most 10.",
        }
        sections {
            /// Which images plugins run from.
            images: ImagesConfig,
            /// What plugins run in without Docker.
            process: ProcessConfig,
            /// What a plugin gets where its manifest is silent.
            defaults: ResourceLimits,
            /// The most a manifest may ask for.
            ceiling: ResourceCeiling,
        }
    }
}

section! {
    /// `sandbox.images`.
    #[derive(Clone, Debug)]
    pub struct ImagesConfig at "sandbox.images" {
        "python" => python: String {
            kind: Kind::Text,
            default: "plugbay/python:3",
            read: text,
            doc: "Image of plugins with the runtime python. Never fetched by plugbay; where it is missing nothing starts: 503 `image-missing`.",
        }
    }
}

section! {
    /// `sandbox.process`.
    #[derive(Clone, Debug)]
    pub struct ProcessConfig at "sandbox.process" {
        "python" => python: String {
            kind: Kind::Text,
            default: "/usr/bin/python3",
            read: text,
            doc: "Python of plugins under the process engine, by its path in `sandbox.process.root`.",
        }
        "root" => root: Option<PathBuf> {
            kind: Kind::Automatic,
            default: "",
            read: optional_path,
            doc: "Folder with the programs that plugins see under the process engine, such as `docker/python/build.sh --folder` makes; absolute. Empty: those of this machine.",
        }
        "allow_without_cgroups" => allow_without_cgroups: bool {
            kind: Kind::Boolean,
            default: false,
            read: boolean,
            doc: "Whether the process engine runs plugins without limits of memory, processors and processes where the machine has no cgroups for them.",
        }
    }
}

section! {
    existing ResourceLimits at "sandbox.defaults" {
        "memory_mb" => memory_mb {
            kind: Kind::Whole(6, 1 << 40),
            default: ResourceLimits::default().memory_mb,
            read: whole,
            doc: "MiB of memory where a manifest is silent.",
        }
        "cpus" => cpus {
            kind: CPUS,
            default: ResourceLimits::default().cpus,
            read: number,
            doc: "Processors where a manifest is silent.",
        }
        "cpu_shares" => cpu_shares {
            kind: Kind::Whole(2, 262_144),
            default: ResourceLimits::default().cpu_shares,
            read: whole,
            doc: "Weight against other plugins where a manifest is silent.",
        }
        "pids" => pids {
            kind: COUNT,
            default: ResourceLimits::default().pids,
            read: whole,
            doc: "Processes and threads where a manifest is silent.",
        }
        "tmp_mb" => tmp_mb {
            kind: MIB,
            default: ResourceLimits::default().tmp_mb,
            read: whole,
            doc: "MiB of /tmp where a manifest is silent; they count as memory.",
        }
        "data_mb" => data_mb {
            kind: MIB,
            default: ResourceLimits::default().data_mb,
            read: whole,
            doc: "MiB of /data where a manifest is silent.",
        }
        "timeout_seconds" => timeout_seconds {
            kind: COUNT,
            default: ResourceLimits::default().timeout_seconds,
            read: whole,
            doc: "Seconds for one call where a manifest is silent.",
        }
        "max_concurrency" => max_concurrency {
            kind: COUNT,
            default: ResourceLimits::default().max_concurrency,
            read: whole,
            doc: "Calls in flight where a manifest is silent.",
        }
        "max_streams" => max_streams {
            kind: Kind::Whole(1, 65_536),
            default: ResourceLimits::default().max_streams,
            read: whole,
            doc: "Answers at once that a filter is fed with, or that a backend gives, where a manifest is silent.",
        }
    }
}

section! {
    existing ResourceCeiling at "sandbox.ceiling" {
        "memory_mb" => memory_mb {
            kind: Kind::Whole(6, 1 << 40),
            default: ResourceCeiling::default().memory_mb,
            read: whole,
            doc: "The most MiB of memory a manifest may ask for; more is 422 `limits-exceed-ceiling`.",
        }
        "cpus" => cpus {
            kind: CPUS,
            default: ResourceCeiling::default().cpus,
            read: number,
            doc: "The most processors a manifest may ask for; more is 422 `limits-exceed-ceiling`.",
        }
        "pids" => pids {
            kind: COUNT,
            default: ResourceCeiling::default().pids,
            read: whole,
            doc: "The most processes and threads a manifest may ask for; more is 422 `limits-exceed-ceiling`.",
        }
        "tmp_mb" => tmp_mb {
            kind: MIB,
            default: ResourceCeiling::default().tmp_mb,
            read: whole,
            doc: "The most MiB of /tmp a manifest may ask for; more is 422 `limits-exceed-ceiling`.",
        }
        "data_mb" => data_mb {
            kind: MIB,
            default: ResourceCeiling::default().data_mb,
            read: whole,
            doc: "The most MiB of /data a manifest may ask for; more is 422 `limits-exceed-ceiling`.",
        }
        "timeout_seconds" => timeout_seconds {
            kind: COUNT,
            default: ResourceCeiling::default().timeout_seconds,
            read: whole,
            doc: "The most seconds for one call a manifest may ask for; more is 422 `limits-exceed-ceiling`.",
        }
        "max_concurrency" => max_concurrency {
            kind: COUNT,
            default: ResourceCeiling::default().max_concurrency,
            read: whole,
            doc: "The most calls in flight a manifest may ask for; more is 422 `limits-exceed-ceiling`.",
        }
    }
}

/// Starts at one time where nobody says how many: they wait for the engine as much as for a processor.
fn parallel_starts(values: Values<'_>, path: &str) -> usize {
    let by_processors = || std::thread::available_parallelism().map_or(1, usize::from).saturating_mul(2).clamp(4, 10);
    match size(values, path) {
        0 => by_processors(),
        most => most,
    }
}
