//! What the kernel grants this sandbox, read from inside: an engine's own answer only echoes what it was asked for.

use std::fs;

use crate::json::Value;

const MOUNTS: [&str; 7] = ["/", "/tmp", "/data", "/plugin", "/run/plugbay", "/dev/shm", "/proc/sys"];
const LIMITS: [(&str, &str); 4] = [
    ("nofile", "Max open files"),
    ("core", "Max core file size"),
    ("memlock", "Max locked memory"),
    ("msgqueue", "Max msgqueue size"),
];

/// The report in `hello`. What cannot be read is null: the service decides what that means.
pub(crate) fn read(has_egress: bool) -> Value {
    let status = file("/proc/self/status");
    let mounts = file("/proc/self/mountinfo");
    let limits = file("/proc/self/limits");
    let capability = |name| field(&status, name).map_or(Value::Null, Value::from);
    Value::object([
        ("uid", effective_id(&status, "Uid")),
        ("gid", effective_id(&status, "Gid")),
        ("groups", Value::Array(field(&status, "Groups").unwrap_or("").split_whitespace().map(scalar).collect())),
        (
            "capabilities",
            Value::object([
                ("effective", capability("CapEff")),
                ("permitted", capability("CapPrm")),
                ("bounding", capability("CapBnd")),
            ]),
        ),
        ("no_new_privs", field(&status, "NoNewPrivs").map_or(Value::Null, |text| Value::Bool(text == "1"))),
        ("seccomp", field(&status, "Seccomp").map_or(Value::Null, scalar)),
        ("mounts", Value::object(MOUNTS.map(|path| (path, mount(&mounts, path))))),
        ("rlimits", Value::object(LIMITS.map(|(name, label)| (name, limit(&limits, label))))),
        ("cgroup", cgroup(&file("/proc/self/cgroup"))),
        ("interfaces", interfaces(&file("/proc/net/dev"))),
        ("egress", Value::Bool(has_egress)),
    ])
}

fn file(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A number where the text is one, else the text (such as `max` and `unlimited`).
fn scalar(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from)
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

fn effective_id(status: &str, name: &str) -> Value {
    field(status, name).and_then(|ids| ids.split_whitespace().nth(1)).map_or(Value::Null, scalar)
}

/// Flags and type of the uppermost mount at a path; null where nothing is mounted.
fn mount(mounts: &str, path: &str) -> Value {
    let found = mounts.lines().rev().find(|line| line.split(' ').nth(4) == Some(path));
    let Some((before, after)) = found.and_then(|line| line.split_once(" - ")) else { return Value::Null };
    let flags = before.split(' ').nth(5).unwrap_or("").split(',').map(Value::from).collect();
    Value::object([("type", after.split(' ').next().map_or(Value::Null, Value::from)), ("flags", Value::Array(flags))])
}

fn limit(limits: &str, label: &str) -> Value {
    let Some(rest) = limits.lines().find_map(|line| line.strip_prefix(label)) else { return Value::Null };
    let mut words = rest.split_whitespace();
    let mut next = || words.next().map_or(Value::Null, scalar);
    Value::object([("soft", next()), ("hard", next())])
}

/// The limits in force, by version 1 or 2 of cgroups.
fn cgroup(groups: &str) -> Value {
    let value = |controller: &str, first: &str, second: &str| {
        let (first, second) = (control(groups, controller, first), control(groups, "", second));
        first.or(second)
    };
    let number = |text: Option<String>| text.map_or(Value::Null, |text| scalar(&text));
    let (quota, period) = match control(groups, "", "cpu.max") {
        Some(both) => match both.split_once(' ') {
            Some((quota, period)) => (Some(quota.to_owned()), Some(period.to_owned())),
            None => (None, None),
        },
        None => (control(groups, "cpu", "cpu.cfs_quota_us"), control(groups, "cpu", "cpu.cfs_period_us")),
    };
    Value::object([
        ("memory", number(value("memory", "memory.limit_in_bytes", "memory.max"))),
        // Version 1 counts memory and swap together, version 2 swap alone.
        ("memory_and_swap", number(control(groups, "memory", "memory.memsw.limit_in_bytes"))),
        ("swap", number(control(groups, "", "memory.swap.max"))),
        ("pids", number(value("pids", "pids.max", "pids.max"))),
        ("cpu_quota_us", number(quota)),
        ("cpu_period_us", number(period)),
    ])
}

/// A control file of a version 1 controller, or of version 2 when the name is empty: by the group's path, or at the top,
/// where a cgroup namespace shows it.
fn control(groups: &str, controller: &str, file: &str) -> Option<String> {
    let group = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next()?;
        controllers.split(',').any(|name| name == controller).then(|| fields.next())?
    })?;
    let folder = groups.lines().find_map(|line| {
        let controllers = line.split(':').nth(1)?;
        controllers.split(',').any(|name| name == controller).then_some(controllers)
    })?;
    let group = group.trim_end_matches('/');
    [format!("/sys/fs/cgroup/{folder}{group}/{file}"), format!("/sys/fs/cgroup/{folder}/{file}")]
        .into_iter()
        .find_map(|path| fs::read_to_string(path).ok())
        .map(|text| text.trim().to_owned())
}

fn interfaces(devices: &str) -> Value {
    let names = devices.lines().skip(2).filter_map(|line| line.split_once(':'));
    Value::Array(names.map(|(name, _)| name.trim().into()).collect())
}
