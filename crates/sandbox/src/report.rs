//! Compares what the shim saw from inside with the specification. This is the proof: an engine's own answers only repeat
//! what it was asked for.

use serde_json::{Value, json};

use super::inside::ULIMITS;
use super::{DataQuota, Network, SandboxSpec};

/// Tunnels that the kernel puts into every new namespace once their module is loaded. They are down, lead nowhere, and
/// only the capability to administer networks could change that.
const FALLBACK_TUNNELS: [&str; 10] =
    ["tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0", "ip6gretap0"];

/// What an engine promised beyond the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// What cgroups must hold; `None` where there are none.
    pub(super) cgroup: Option<ExpectedCgroup>,
    /// Whether no program in `/data` can be started. Docker takes no such option.
    pub(super) data_is_noexec: bool,
}

/// What the cgroups of a sandbox must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExpectedCgroup {
    /// Bytes of memory.
    pub(super) memory: i64,
    /// Whether swap can be limited. Where it cannot, there is none.
    pub(super) limits_swap: bool,
    /// Processes and threads.
    pub(super) pids: i64,
    /// Processors in billionths.
    pub(super) nano_cpus: i64,
}

/// Differences found so far.
struct Check<'a> {
    report: &'a Value,
    differences: Vec<String>,
}

/// Every difference, with what was wanted and what was found.
pub(super) fn differences(spec: &SandboxSpec, expected: &Expected, report: &Value) -> Vec<String> {
    let mut check = Check { report, differences: Vec::new() };
    check.equal("/uid", &spec.uid.into());
    check.equal("/gid", &spec.uid.into());
    check.that("/groups", &format!("none but {}", spec.uid), |groups| {
        groups.as_array().is_some_and(|groups| groups.iter().all(|group| *group == spec.uid))
    });
    for set in ["effective", "permitted", "bounding"] {
        check.that(&format!("/capabilities/{set}"), "none", |found| {
            found.as_str().is_some_and(|text| !text.is_empty() && text.bytes().all(|digit| digit == b'0'))
        });
    }
    check.equal("/no_new_privs", &true.into());
    // 2 is a filter.
    check.equal("/seccomp", &2.into());
    check.mounts(spec, expected);
    for (name, value) in ULIMITS {
        check.equal(&format!("/rlimits/{name}/soft"), &value.into());
        check.equal(&format!("/rlimits/{name}/hard"), &value.into());
    }
    if let Some(cgroup) = &expected.cgroup {
        check.cgroup(cgroup);
    }
    check.that("/interfaces", "lo alone", |found| {
        let names: Option<Vec<&str>> = found.as_array().map(|names| names.iter().filter_map(Value::as_str).collect());
        names.is_some_and(|names| {
            names.contains(&"lo") && names.iter().all(|name| *name == "lo" || FALLBACK_TUNNELS.contains(name))
        })
    });
    // Whether the shim is a way out; that nothing else is, the interfaces have shown.
    check.equal("/egress", &(spec.network == Network::Proxied).into());
    check.differences
}

impl Check<'_> {
    fn that(&mut self, pointer: &str, wanted: &str, holds: impl FnOnce(&Value) -> bool) {
        let found = self.report.pointer(pointer).unwrap_or(&Value::Null);
        if !holds(found) {
            let name = pointer.trim_start_matches('/').replace('/', ".").replace("~1", "/");
            self.differences.push(format!("{name}: wanted {wanted}, found {found}"));
        }
    }

    fn equal(&mut self, pointer: &str, wanted: &Value) {
        self.that(pointer, &wanted.to_string(), |found| found == wanted);
    }

    /// A mount of some type with at least these flags.
    fn mount(&mut self, path: &str, kind: Option<&str>, flags: &[&str]) {
        let pointer = format!("/mounts/{}", path.replace('/', "~1"));
        let wanted = format!("{}{}", kind.map(|kind| format!("{kind} ")).unwrap_or_default(), flags.join(","));
        self.that(&pointer, &wanted, |found| {
            let has = |flag: &&str| found["flags"].as_array().is_some_and(|flags| flags.contains(&json!(flag)));
            found.is_object() && kind.is_none_or(|kind| found["type"] == kind) && flags.iter().all(has)
        });
    }

    fn mounts(&mut self, spec: &SandboxSpec, expected: &Expected) {
        self.mount("/", None, &["ro"]);
        self.mount("/tmp", Some("tmpfs"), &["noexec", "nosuid", "nodev"]);
        self.mount("/plugin", None, &["ro"]);
        self.mount("/run/plugbay", None, &["ro"]);
        let closed: &[&str] = &["rw", "noexec", "nosuid", "nodev"];
        match spec.data.as_ref().map(|data| data.quota) {
            // The flags of the mount that is bound in. Without them the engine sees another folder than the service.
            Some(DataQuota::Hard) => self.mount("/data", Some("ext4"), closed),
            // A folder that is bound in has the flags of its disk, unless the engine can ask for others.
            Some(DataQuota::Soft) => self.mount("/data", None, if expected.data_is_noexec { closed } else { &["rw"] }),
            None => self.that("/mounts/~1data", "nothing", Value::is_null),
        }
        self.mount("/dev/shm", Some("tmpfs"), &["noexec", "nosuid", "nodev"]);
        self.mount("/proc/sys", None, &["ro"]);
    }

    fn cgroup(&mut self, wanted: &ExpectedCgroup) {
        let ExpectedCgroup { memory, limits_swap, pids, nano_cpus } = *wanted;
        self.equal("/cgroup/memory", &memory.into());
        // Version 1 counts memory and swap together, version 2 swap alone.
        let (both, swap) = (&self.report["cgroup"]["memory_and_swap"], &self.report["cgroup"]["swap"]);
        let limited = (*both == memory && swap.is_null()) || (both.is_null() && *swap == 0);
        if !limited && limits_swap {
            self.differences.push(format!(
                "cgroup.swap: wanted none, found {both} for memory and swap together, {swap} for swap alone"
            ));
        }
        self.equal("/cgroup/pids", &pids.into());
        let period = self.report["cgroup"]["cpu_period_us"].as_i64().filter(|period| *period > 0);
        let thousandths = i32::try_from(nano_cpus / 1_000_000).unwrap_or(i32::MAX);
        let wanted = format!("{} of a processor", f64::from(thousandths) / 1_000.0);
        self.that("/cgroup/cpu_quota_us", &wanted, |quota| {
            let share = |(quota, period): (i64, i64)| {
                let wanted = i128::from(nano_cpus) * i128::from(period) / 1_000_000_000;
                // Engines round down to whole microseconds.
                (i128::from(quota) - wanted).abs() <= 1
            };
            quota.as_i64().zip(period).is_some_and(share)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DataMount;
    use crate::testing::spec;

    const CGROUP: ExpectedCgroup =
        ExpectedCgroup { memory: 335_544_320, limits_swap: true, pids: 64, nano_cpus: 500_000_000 };
    const EXPECTED: Expected = Expected { cgroup: Some(CGROUP), data_is_noexec: false };

    fn report() -> Value {
        let mount = |kind: &str, flags: &[&str]| json!({ "type": kind, "flags": flags });
        let same = |value: i64| json!({ "soft": value, "hard": value });
        json!({
            "uid": 200_001, "gid": 200_001, "groups": [200_001],
            "capabilities": {
                "effective": "0000000000000000", "permitted": "0000000000000000", "bounding": "0000000000000000",
            },
            "no_new_privs": true, "seccomp": 2,
            "mounts": {
                "/": mount("overlay", &["ro", "relatime"]),
                "/tmp": mount("tmpfs", &["rw", "nosuid", "nodev", "noexec", "relatime"]),
                "/data": null,
                "/dev/shm": mount("tmpfs", &["rw", "nosuid", "nodev", "noexec", "relatime"]),
                "/proc/sys": mount("proc", &["ro", "nosuid", "nodev"]),
                "/plugin": mount("ext4", &["ro", "relatime"]),
                "/run/plugbay": mount("tmpfs", &["ro", "nosuid"]),
            },
            "rlimits": { "nofile": same(1024), "core": same(0), "memlock": same(65536), "msgqueue": same(0) },
            "cgroup": {
                "memory": 335_544_320, "memory_and_swap": 335_544_320, "swap": null, "pids": 64,
                "cpu_quota_us": 50_000, "cpu_period_us": 100_000,
            },
            "interfaces": ["lo"],
            "egress": false,
        })
    }

    fn changed(pointer: &str, value: Value) -> Vec<String> {
        let mut report = report();
        *report.pointer_mut(pointer).unwrap() = value;
        differences(&spec(), &EXPECTED, &report)
    }

    #[test]
    fn a_sandbox_as_specified_has_no_differences() {
        assert_eq!(differences(&spec(), &EXPECTED, &report()), Vec::<String>::new());
    }

    #[test]
    fn every_weakness_is_told_with_what_was_wanted() {
        let flags = |flags: &[&str]| json!({ "type": "tmpfs", "flags": flags });
        let cases = [
            ("/uid", json!(0), "uid: wanted 200001, found 0"),
            ("/gid", json!(0), "gid: wanted 200001, found 0"),
            ("/groups", json!([200_001, 0]), "groups: wanted none but 200001, found [200001,0]"),
            ("/groups", Value::Null, "groups: wanted none but 200001, found null"),
            (
                "/capabilities/bounding",
                json!("00000000a80425fb"),
                "capabilities.bounding: wanted none, found \"00000000a80425fb\"",
            ),
            ("/capabilities/effective", json!(""), "capabilities.effective: wanted none, found \"\""),
            ("/no_new_privs", json!(false), "no_new_privs: wanted true, found false"),
            ("/seccomp", json!(0), "seccomp: wanted 2, found 0"),
            ("/mounts/~1", flags(&["rw"]), "mounts./: wanted ro, found"),
            (
                "/mounts/~1tmp",
                flags(&["rw", "nosuid", "nodev"]),
                "mounts./tmp: wanted tmpfs noexec,nosuid,nodev, found",
            ),
            ("/mounts/~1dev~1shm", flags(&["rw"]), "mounts./dev/shm: wanted tmpfs noexec,nosuid,nodev, found"),
            ("/mounts/~1proc~1sys", flags(&["rw"]), "mounts./proc/sys: wanted ro, found"),
            ("/mounts/~1plugin", flags(&["rw"]), "mounts./plugin: wanted ro, found"),
            ("/mounts/~1plugin", Value::Null, "mounts./plugin: wanted ro, found null"),
            ("/mounts/~1run~1plugbay", flags(&["rw"]), "mounts./run/plugbay: wanted ro, found"),
            ("/mounts/~1data", flags(&["rw"]), "mounts./data: wanted nothing, found"),
            ("/rlimits/nofile/hard", json!(1_048_576), "rlimits.nofile.hard: wanted 1024, found 1048576"),
            ("/rlimits/core/soft", json!("unlimited"), "rlimits.core.soft: wanted 0, found \"unlimited\""),
            ("/cgroup/memory", json!("max"), "cgroup.memory: wanted 335544320, found \"max\""),
            ("/cgroup/memory_and_swap", Value::Null, "cgroup.swap: wanted none, found null for memory and swap"),
            ("/cgroup/memory_and_swap", json!(671_088_640), "cgroup.swap: wanted none, found 671088640 for"),
            ("/cgroup/pids", json!("max"), "cgroup.pids: wanted 64, found \"max\""),
            ("/cgroup/cpu_quota_us", json!(-1), "cgroup.cpu_quota_us: wanted 0.5 of a processor, found -1"),
            ("/cgroup/cpu_period_us", Value::Null, "cgroup.cpu_quota_us: wanted 0.5 of a processor, found 50000"),
            ("/interfaces", json!(["lo", "eth0"]), "interfaces: wanted lo alone, found [\"lo\",\"eth0\"]"),
            ("/interfaces", json!([]), "interfaces: wanted lo alone, found []"),
            ("/egress", json!(true), "egress: wanted false, found true"),
            ("/egress", Value::Null, "egress: wanted false, found null"),
        ];
        for (pointer, value, wanted) in cases {
            let found = changed(pointer, value);
            assert!(found.len() == 1 && found[0].starts_with(wanted), "{pointer}: {found:?}");
        }
    }

    #[test]
    fn a_report_without_content_differs_everywhere() {
        for report in [Value::Null, json!({}), json!([]), json!("report")] {
            assert!(differences(&spec(), &EXPECTED, &report).len() > 20);
        }
    }

    #[test]
    fn other_machines_report_otherwise() {
        let mut second = report();
        second["cgroup"]["memory_and_swap"] = Value::Null;
        second["cgroup"]["swap"] = 0.into();
        assert_eq!(differences(&spec(), &EXPECTED, &second), Vec::<String>::new());
        second["cgroup"]["swap"] = Value::Null;
        let without_swap = ExpectedCgroup { limits_swap: false, ..CGROUP };
        let expected = Expected { cgroup: Some(without_swap), ..EXPECTED };
        assert_eq!(differences(&spec(), &expected, &second), Vec::<String>::new());
        assert_eq!(changed("/interfaces", json!(["lo", "tunl0", "sit0"])), Vec::<String>::new());
        let with_network = spec().with_network();
        assert_eq!(differences(&with_network, &EXPECTED, &report()), ["egress: wanted true, found false"]);
        assert_eq!(
            differences(&with_network, &EXPECTED, &{
                let mut report = report();
                report["egress"] = true.into();
                report
            }),
            Vec::<String>::new()
        );
        second["cgroup"] = Value::Null;
        assert_eq!(differences(&spec(), &Expected { cgroup: None, ..EXPECTED }, &second), Vec::<String>::new());
    }

    #[test]
    fn data_shows_the_flags_that_its_quota_promises() {
        let with = |quota, expected: &Expected, flags: &[&str]| {
            let spec = spec().with_data(DataMount { source: "/volumes/1".into(), quota });
            let mut report = report();
            report["mounts"]["/data"] = json!({ "type": "ext4", "flags": flags });
            differences(&spec, expected, &report)
        };
        let closed = ["rw", "nosuid", "nodev", "noexec", "noatime"];
        assert_eq!(with(DataQuota::Hard, &EXPECTED, &closed), Vec::<String>::new());
        assert_eq!(with(DataQuota::Soft, &EXPECTED, &["rw"]), Vec::<String>::new());
        let noexec = Expected { data_is_noexec: true, ..EXPECTED };
        for missing in ["rw", "nosuid", "nodev", "noexec"] {
            let flags: Vec<&str> = closed.into_iter().filter(|flag| *flag != missing).collect();
            let found = with(DataQuota::Hard, &EXPECTED, &flags);
            let wanted = "mounts./data: wanted ext4 rw,noexec,nosuid,nodev, found";
            assert!(found.len() == 1 && found[0].starts_with(wanted), "{found:?}");
            let found = with(DataQuota::Soft, &noexec, &flags);
            assert!(found.len() == 1 && found[0].starts_with("mounts./data: wanted rw,noexec"), "{found:?}");
        }
        assert_eq!(with(DataQuota::Soft, &EXPECTED, &["ro"]).len(), 1);
    }
}
