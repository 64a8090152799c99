//! The container of a sandbox, as Docker is asked for it. Pure: a snapshot shows the whole of it, so that a weaker line is
//! seen in review.

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount,
    MountBindOptions, MountBindOptionsPropagationEnum, MountType, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;

use crate::inside::{
    Binding, HOSTNAME, OOM_SCORE, PACKAGE_DIR, Processors, ULIMITS, bindings, entrypoint, environment, memory_bytes,
    pids, processors,
};
use crate::{FolderAccess, Pace, SandboxSpec, seccomp};
use plugbay_domain::Digest;

/// Says which service a container belongs to. Containers without it are never touched.
pub(super) const INSTANCE_LABEL: &str = "plugbay.instance";
/// Says which session runs in a container.
pub(super) const SESSION_LABEL: &str = "plugbay.session";

/// Docker's own list, and what else tells about the machine. Never empty, as that would unmask everything.
const MASKED_PATHS: [&str; 17] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/proc/interrupts",
    "/proc/cmdline",
    "/proc/kallsyms",
    "/sys/devices/virtual/powercap",
    "/sys/devices/virtual/thermal",
    "/sys/class/thermal",
    "/sys/block",
];

/// What the machine can do, as far as the container depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    /// Docker refuses a quota of more processors than there are.
    pub(super) cpus: u32,
    /// Whether `AppArmor` can confine containers.
    pub(super) has_apparmor: bool,
    /// Whether swap can be limited. Where it cannot, there is none.
    pub(super) limits_swap: bool,
}

/// What the operator set.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// `sandbox.runtime`.
    pub(super) runtime: String,
    /// `limits.message_bytes`.
    pub(super) message_bytes: usize,
}

/// The body of the request that makes the container.
pub(super) fn create_body(
    spec: &SandboxSpec,
    image_id: &str,
    machine: Machine,
    settings: &Settings,
) -> ContainerCreateBody {
    let mut body = ContainerCreateBody {
        image: Some(image_id.to_owned()),
        user: Some(format!("{0}:{0}", spec.uid)),
        entrypoint: Some(entrypoint(spec, "python3", settings.message_bytes)),
        cmd: Some(Vec::new()),
        tty: Some(false),
        open_stdin: Some(false),
        attach_stdin: Some(false),
        attach_stdout: Some(false),
        attach_stderr: Some(false),
        env: Some(environment(spec)),
        working_dir: Some(PACKAGE_DIR.to_owned()),
        hostname: Some(HOSTNAME.to_owned()),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        // Beside network mode `none`: still a namespace of its own with `lo`, in half the time.
        network_disabled: Some(true),
        labels: Some(labels(spec)),
        host_config: Some(host_config(spec, machine, settings)),
        ..ContainerCreateBody::default()
    };
    let hash = Digest::from_bytes(Sha256::digest(readable(&body).to_string()).into()).to_hex();
    body.labels.get_or_insert_default().insert("plugbay.spec".to_owned(), hash);
    body
}

/// What the container of a session is called.
pub(super) fn container_name(spec: &SandboxSpec) -> String {
    format!("plugbay-{}-{}", spec.name, spec.session)
}

/// The body with its keys in order, for people and for its hash.
pub(super) fn readable(body: &ContainerCreateBody) -> Value {
    sorted(serde_json::to_value(body).unwrap_or_default())
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn labels(spec: &SandboxSpec) -> HashMap<String, String> {
    let labels = [
        (INSTANCE_LABEL, spec.instance.clone()),
        (SESSION_LABEL, spec.session.to_string()),
        ("plugbay.plugin", spec.name.to_string()),
        ("plugbay.version", spec.version.to_string()),
    ];
    labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn host_config(spec: &SandboxSpec, machine: Machine, settings: &Settings) -> HostConfig {
    let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    let memory = memory_bytes(spec);
    let (nano, shares) = numbers(processors(spec, machine.cpus, Pace::Usual));
    let tmp = format!("rw,noexec,nosuid,nodev,size={}m,nr_inodes=4096,mode=1777", spec.limits.tmp_mb);
    let ulimit = |(name, value): (&str, i64)| ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(value),
        hard: Some(value),
    };
    HostConfig {
        network_mode: Some("none".to_owned()),
        cap_drop: texts(&["ALL"]),
        cap_add: Some(Vec::new()),
        privileged: Some(false),
        group_add: Some(Vec::new()),
        security_opt: Some(security_options(machine)),
        readonly_rootfs: Some(true),
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), tmp)])),
        shm_size: Some(1 << 20),
        // Empty is a namespace of its own.
        pid_mode: Some(String::new()),
        uts_mode: Some(String::new()),
        // Empty is the engine's own mapping; `host` would take it away.
        userns_mode: Some(String::new()),
        ipc_mode: Some("private".to_owned()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        memory: Some(memory),
        // Memory and swap together. Docker warns of a limit it cannot set, even where there is no swap.
        memory_swap: Some(if machine.limits_swap { memory } else { -1 }),
        nano_cpus: Some(nano),
        cpu_shares: Some(shares),
        pids_limit: Some(pids(spec)),
        ulimits: Some(ULIMITS.map(ulimit).to_vec()),
        mounts: Some(bindings(spec).into_iter().map(mount).collect()),
        binds: Some(Vec::new()),
        volumes_from: Some(Vec::new()),
        devices: Some(Vec::new()),
        device_requests: Some(Vec::new()),
        device_cgroup_rules: Some(Vec::new()),
        masked_paths: texts(&MASKED_PATHS),
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: Some(HashMap::new()) }),
        init: Some(false),
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        auto_remove: Some(false),
        oom_score_adj: Some(OOM_SCORE),
        runtime: Some(settings.runtime.clone()),
        ..HostConfig::default()
    }
}

/// How Docker counts them.
pub(super) fn numbers(Processors { nano, shares }: Processors) -> (i64, i64) {
    (nano, i64::try_from(shares).unwrap_or(i64::MAX))
}

fn security_options(machine: Machine) -> Vec<String> {
    let mut options = vec!["no-new-privileges:true".to_owned(), format!("seccomp={}", seccomp::docker_profile())];
    if machine.has_apparmor {
        options.push("apparmor=docker-default".to_owned());
    }
    options
}

fn mount(binding: Binding) -> Mount {
    let Binding { source, target, access, is_executable: _ } = binding;
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target),
        // Docker leaves `false` out of its answer, which could then not be told from a field it does not know.
        read_only: (access == FolderAccess::ReadOnly).then_some(true),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            // What is mounted below a read-only folder would stay writable.
            non_recursive: Some(true),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::spec;
    use crate::{DataMount, DataQuota, FolderMount};

    const MACHINE: Machine = Machine { cpus: 2, has_apparmor: true, limits_swap: true };

    fn settings() -> Settings {
        Settings { runtime: "runc".to_owned(), message_bytes: 4 << 20 }
    }

    fn body_of(spec: &SandboxSpec, machine: Machine) -> Value {
        readable(&create_body(spec, "sha256:1234", machine, &settings()))
    }

    #[test]
    fn the_whole_container_is_as_reviewed() {
        let folder =
            |name: &str, access| FolderMount { name: name.to_owned(), source: format!("/srv/{name}").into(), access };
        let spec = spec()
            .with_data(DataMount { source: "/run/volumes/1".into(), quota: DataQuota::Hard })
            .with_folder(folder("inbox", FolderAccess::ReadOnly))
            .with_folder(folder("outbox", FolderAccess::ReadWrite));
        let mut body = body_of(&spec, MACHINE);
        let options = body["HostConfig"]["SecurityOpt"].as_array_mut().unwrap();
        assert_eq!(options[1], format!("seccomp={}", seccomp::docker_profile()).as_str());
        options[1] = "seccomp=[the table of seccomp.rs]".into();
        body["Labels"]["plugbay.spec"] = "[hash]".into();
        insta::assert_json_snapshot!(body);
    }

    #[test]
    fn a_way_out_adds_variables_a_resolver_and_no_network() {
        let (closed, open) = (body_of(&spec(), MACHINE), body_of(&spec().with_network(), MACHINE));
        let added = |pointer: &str| {
            let items = |body: &Value| body.pointer(pointer).unwrap().as_array().unwrap().clone();
            items(&open).into_iter().filter(|item| !items(&closed).contains(item)).collect::<Vec<_>>()
        };
        assert_eq!(added("/Entrypoint"), ["--egress"]);
        let variables = added("/Env").iter().map(ToString::to_string).collect::<String>();
        assert_eq!(variables.to_lowercase().matches("_proxy=http://127.0.0.1:3128").count(), 6, "{variables}");
        assert_eq!(variables.to_lowercase().matches("no_proxy=localhost,127.0.0.1").count(), 2, "{variables}");
        let [mount] = &added("/HostConfig/Mounts")[..] else { panic!("one more mount") };
        assert_eq!((&mount["Target"], &mount["ReadOnly"]), (&"/etc/resolv.conf".into(), &true.into()));
        for body in [&closed, &open] {
            assert_eq!((&body["HostConfig"]["NetworkMode"], &body["NetworkDisabled"]), (&"none".into(), &true.into()));
        }
    }

    #[test]
    fn limits_stay_within_the_machine_and_cannot_overflow() {
        let mut spec = spec();
        spec.limits.cpus = 64.0;
        spec.limits.memory_mb = u64::MAX;
        spec.limits.pids = u64::MAX;
        let body = body_of(&spec, Machine { has_apparmor: false, limits_swap: false, ..MACHINE });
        let host = &body["HostConfig"];
        assert_eq!(host["NanoCpus"], 2_000_000_000_i64);
        assert_eq!((&host["Memory"], &host["PidsLimit"]), (&i64::MAX.into(), &i64::MAX.into()));
        assert_eq!(host["MemorySwap"], -1);
        assert_eq!(host["SecurityOpt"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn the_hash_of_the_body_changes_with_the_body_alone() {
        let hash = |spec: &SandboxSpec| body_of(spec, MACHINE)["Labels"]["plugbay.spec"].clone();
        let first = spec();
        assert_eq!(hash(&first), hash(&first.clone()));
        let mut other = first.clone();
        other.uid += 1;
        assert_ne!(hash(&first), hash(&other));
    }
}
