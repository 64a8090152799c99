//! The running container, row by row: as Docker tells it, and as the kernel has it.

use std::collections::BTreeSet;
use std::fs;

use plugbay::domain::Isolation;
use plugbay::sandbox::Pace;
use serde_json::{Value, json};

use super::bench::Bench;
use super::kind::{docker_is_there, first_process, kind};
use super::served::Served;

const SCRIPT: &str = "#!/bin/sh\necho 1\n";

#[tokio::test]
async fn docker_made_what_the_plan_says() {
    if !docker_is_there() {
        return;
    }
    let Some(bench) = Bench::exec(SCRIPT) else { return };
    let planned = bench.engine.plan(&bench.spec).await.unwrap();
    let started = bench.start().await;
    started.bench.engine.pace(&started.sandbox.id, &started.bench.spec, Pace::Usual).await.unwrap();
    let found = started.inspect();
    let (host, config, uid) = (&found["HostConfig"], &found["Config"], started.bench.spec.uid);
    for field in ["CapDrop", "Mounts", "Ulimits", "MaskedPaths", "Tmpfs", "SecurityOpt", "Memory", "NanoCpus"] {
        assert_eq!(host[field], planned["HostConfig"][field], "{field}");
    }
    let rows = [
        ("NetworkMode", json!("none")),
        ("CapDrop", json!(["ALL"])),
        ("Privileged", json!(false)),
        ("ReadonlyRootfs", json!(true)),
        ("ShmSize", json!(1 << 20)),
        ("PidMode", json!("")),
        ("IpcMode", json!("private")),
        ("UTSMode", json!("")),
        ("CgroupnsMode", json!("private")),
        ("UsernsMode", json!("")),
        ("Memory", json!(320 << 20)),
        ("MemorySwap", json!(320 << 20)),
        ("NanoCpus", json!(500_000_000)),
        ("CpuShares", json!(1024)),
        ("PidsLimit", json!(64)),
        ("Init", json!(false)),
        ("AutoRemove", json!(false)),
        ("OomScoreAdj", json!(500)),
        ("Runtime", json!("runc")),
        ("LogConfig", json!({ "Type": "none", "Config": {} })),
        ("RestartPolicy", json!({ "Name": "no", "MaximumRetryCount": 0 })),
    ];
    for (field, wanted) in rows {
        assert_eq!(host[field], wanted, "{field}");
    }
    for field in ["CapAdd", "Binds", "VolumesFrom", "Devices", "DeviceRequests", "GroupAdd", "PortBindings"] {
        let is_empty = host[field].is_null() || host[field] == json!([]) || host[field] == json!({});
        assert!(is_empty, "{field}: {}", host[field]);
    }
    assert_eq!(config["User"], format!("{uid}:{uid}"));
    assert_eq!((&config["NetworkDisabled"], &config["Tty"]), (&json!(true), &json!(false)));
    assert_eq!(config["Healthcheck"]["Test"], json!(["NONE"]));
    for mount in host["Mounts"].as_array().unwrap() {
        assert_eq!(mount["BindOptions"]["NonRecursive"], true, "{mount}");
        assert_eq!(mount["ReadOnly"], true, "{mount}");
    }
    let labels = &config["Labels"];
    assert_eq!(labels["plugbay.instance"], started.bench.spec.instance.as_str());
    assert_eq!(labels["plugbay.session"], started.bench.spec.session.to_string());
    assert_eq!((&labels["plugbay.plugin"], &labels["plugbay.version"]), (&json!("test-plugin"), &json!("1.0.0")));
    assert_eq!(labels["plugbay.spec"], planned["Labels"]["plugbay.spec"]);
    assert_eq!(found["Name"], format!("/plugbay-test-plugin-{}", started.bench.spec.session));
    assert_eq!(found["NetworkSettings"]["Networks"], json!({}));
}

#[tokio::test]
async fn the_kernel_has_it_so() {
    let Some(bench) = Bench::exec(SCRIPT) else { return };
    let started = bench.start().await;
    let uid = started.bench.spec.uid.to_string();
    let status = started.proc("status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(name), "0000000000000000", "{name}");
    }
    assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".to_owned(), "2".to_owned()));
    assert_eq!(field("Uid"), [uid.as_str(); 4].join(" "));
    assert_eq!(field("Gid"), [uid.as_str(); 4].join(" "));
    // Docker puts the own group among them.
    assert!(field("Groups").is_empty() || field("Groups") == uid, "{}", field("Groups"));
    assert_eq!(started.proc("oom_score_adj").trim(), "500");
    let limits = started.proc("limits");
    for (label, value) in [
        ("Max open files", "1024"),
        ("Max core file size", "0"),
        ("Max locked memory", "65536"),
        ("Max msgqueue size", "0"),
    ] {
        let line = limits.lines().find_map(|line| line.strip_prefix(label)).unwrap();
        assert_eq!(line.split_whitespace().take(2).collect::<Vec<_>>(), [value, value], "{label}");
    }
    for kind in ["cgroup", "ipc", "mnt", "net", "pid", "uts"] {
        let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/{kind}")).unwrap();
        assert_ne!(namespace(&started.sandbox.pid.to_string()), namespace("self"), "{kind}");
    }
    let interfaces = started.proc("net/dev");
    assert_eq!(interfaces.lines().skip(2).filter(|line| !line.trim_start().starts_with("lo:")).count(), 0);
}

#[tokio::test]
async fn every_mount_is_known_and_as_closed_as_it_can_be() {
    let Some(bench) = Bench::exec(SCRIPT) else { return };
    let started = bench.start().await;
    let mountinfo = started.proc("mountinfo");
    let mounts: Vec<(String, BTreeSet<&str>)> = mountinfo
        .lines()
        .map(|line| {
            let mut fields = line.split(' ').skip(4);
            (fields.next().unwrap().to_owned(), fields.next().unwrap().split(',').collect())
        })
        .collect();
    let flags = |path: &str| &mounts.iter().rev().find(|(found, _)| found == path).unwrap().1;
    for path in ["/", "/plugin", "/opt/plugbay", "/run/plugbay", "/etc/hosts", "/etc/passwd", "/proc/sys"] {
        assert!(flags(path).contains("ro"), "{path}");
    }
    for flag in ["rw", "noexec", "nosuid", "nodev"] {
        assert!(flags("/tmp").contains(flag), "{flag}");
    }
    // What is writable: the kernel's own, which users and capabilities protect, and memory with a limit.
    let writable: BTreeSet<&str> =
        mounts.iter().filter(|(_, flags)| flags.contains("rw")).map(|(path, _)| path.as_str()).collect();
    let is_masked = |path: &str| path.starts_with("/proc/") || path.starts_with("/sys/");
    let known = ["/proc", "/tmp", "/dev", "/dev/pts", "/dev/mqueue", "/dev/shm", "/sys/fs/cgroup"];
    // Under bubblewrap each device that everybody may use is a mount.
    let devices = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
    let known = [&known[..], &devices[..]].concat();
    let unknown: Vec<_> = writable.iter().filter(|path| !known.contains(path) && !is_masked(path)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(!mountinfo.contains("docker.sock"));
}

/// The limit in force by the group of a process, whichever version of cgroups the machine has.
pub(crate) fn limit(process: i32, controller: &str, first: &str, second: &str) -> String {
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap();
    let group = groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then(|| (controllers.to_owned(), path.to_owned()))
    });
    let path = match group {
        Some((controllers, path)) => format!("/sys/fs/cgroup/{controllers}{path}/{first}"),
        None => format!("/sys/fs/cgroup{}/{second}", groups.trim().trim_start_matches("0::")),
    };
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")).trim().to_owned()
}

#[tokio::test]
async fn limits_are_in_force() {
    let Some(bench) = Bench::exec(SCRIPT) else { return };
    let started = bench.start().await;
    let memory = (320_u64 << 20).to_string();
    assert_eq!(limit(started.sandbox.pid, "memory", "memory.limit_in_bytes", "memory.max"), memory);
    // Under bubblewrap its own process is one more.
    let pids = if kind() == Isolation::Docker { "64" } else { "65" };
    assert_eq!(limit(started.sandbox.pid, "pids", "pids.max", "pids.max"), pids);
    for (pace, wanted) in [(None, "100000"), (Some(Pace::Usual), "50000"), (Some(Pace::Hurried), "100000")] {
        if let Some(pace) = pace {
            started.bench.engine.pace(&started.sandbox.id, &started.bench.spec, pace).await.unwrap();
        }
        assert_eq!(quota(started.sandbox.pid), wanted, "{pace:?}");
    }
}

/// Microseconds of each tenth of a second.
fn quota(process: i32) -> String {
    let found = limit(process, "cpu", "cpu.cfs_quota_us", "cpu.max");
    found.split(' ').next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_answers_has_the_processors_of_its_limits() {
    let Some(served) = Served::with("probe").await else { return };
    let process = first_process(served.instance(), &served.container("probe").await);
    assert_eq!(quota(process), "50000");
    let shares = limit(process, "cpu", "cpu.shares", "cpu.weight");
    assert!(["1024", "39"].contains(&shares.as_str()), "{shares}");
    served.end().await;
}

#[tokio::test]
async fn a_doctored_report_or_specification_is_refused() {
    let Some(bench) = Bench::exec(SCRIPT) else { return };
    let started = bench.start().await;
    let (engine, spec) = (&started.bench.engine, &started.bench.spec);
    engine.check_report(spec, started.report()).unwrap();
    let mut report = started.report().clone();
    report["seccomp"] = Value::from(0);
    report["mounts"]["/"]["flags"] = json!(["rw"]);
    let error = engine.check_report(spec, &report).unwrap_err().to_string();
    assert!(error.contains("seccomp: wanted 2, found 0") && error.contains("mounts./: wanted ro"), "{error}");
    let mut stricter = spec.clone();
    stricter.limits.memory_mb -= 1;
    stricter.limits.pids -= 1;
    let error = engine.check_report(&stricter, started.report()).unwrap_err().to_string();
    assert!(error.contains("cgroup.memory: wanted") && error.contains("cgroup.pids: wanted 6"), "{error}");
}
