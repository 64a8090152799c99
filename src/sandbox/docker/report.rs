//! Compares what the shim saw from inside with the specification. This is the proof: an engine's own answers only repeat
//! what it was asked for.

use serde_json::{Value, json};

use super::config::{Machine, ULIMITS, memory_bytes, nano_cpus, pids};
use crate::sandbox::{DataQuota, Network, SandboxSpec};

/// Tunnels that the kernel puts into every new namespace once their module is loaded. They are down, lead nowhere, and
/// only the capability to administer networks could change that.
const FALLBACK_TUNNELS: [&str; 10] =
    ["tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0", "ip6gretap0"];

/// Differences found so far.
struct Check<'a> {
    report: &'a Value,
    differences: Vec<String>,
}

/// Every difference, with what was wanted and what was found.
pub(super) fn differences(spec: &SandboxSpec, machine: Machine, report: &Value) -> Vec<String> {
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
    check.mounts(spec);
    for (name, value) in ULIMITS {
        check.equal(&format!("/rlimits/{name}/soft"), &value.into());
        check.equal(&format!("/rlimits/{name}/hard"), &value.into());
    }
    check.cgroup(spec, machine);
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

    fn mounts(&mut self, spec: &SandboxSpec) {
        self.mount("/", None, &["ro"]);
        self.mount("/tmp", Some("tmpfs"), &["noexec", "nosuid", "nodev"]);
        self.mount("/plugin", None, &["ro"]);
        self.mount("/run/plugbay", None, &["ro"]);
        match spec.data.as_ref().map(|data| data.quota) {
            // The flags of the mount that is bound in. Without them the engine sees another folder than the service.
            Some(DataQuota::Hard) => self.mount("/data", Some("ext4"), &["rw", "noexec", "nosuid", "nodev"]),
            // A folder that is bound in has the flags of its disk; Docker can ask for no others.
            Some(DataQuota::Soft) => self.mount("/data", None, &["rw"]),
            None => self.that("/mounts/~1data", "nothing", Value::is_null),
        }
    }

    fn cgroup(&mut self, spec: &SandboxSpec, machine: Machine) {
        let memory = memory_bytes(spec);
        self.equal("/cgroup/memory", &memory.into());
        // Version 1 counts memory and swap together, version 2 swap alone.
        let (both, swap) = (&self.report["cgroup"]["memory_and_swap"], &self.report["cgroup"]["swap"]);
        let limited = (*both == memory && swap.is_null()) || (both.is_null() && *swap == 0);
        if !limited && machine.limits_swap {
            self.differences.push(format!(
                "cgroup.swap: wanted none, found {both} for memory and swap together, {swap} for swap alone"
            ));
        }
        self.equal("/cgroup/pids", &pids(spec).into());
        let nano = nano_cpus(spec, machine.cpus);
        let period = self.report["cgroup"]["cpu_period_us"].as_i64().filter(|period| *period > 0);
        let wanted = format!("{} of a processor", spec.limits.cpus.min(f64::from(machine.cpus)));
        self.that("/cgroup/cpu_quota_us", &wanted, |quota| {
            let share = |(quota, period): (i64, i64)| {
                let wanted = i128::from(nano) * i128::from(period) / 1_000_000_000;
                // Docker rounds down to whole microseconds.
                (i128::from(quota) - wanted).abs() <= 1
            };
            quota.as_i64().zip(period).is_some_and(share)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::DataMount;
    use crate::sandbox::docker::testing::spec;

    const MACHINE: Machine = Machine { cpus: 2, has_apparmor: false, limits_swap: true };

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
        differences(&spec(), MACHINE, &report)
    }

    #[test]
    fn a_sandbox_as_specified_has_no_differences() {
        assert_eq!(differences(&spec(), MACHINE, &report()), Vec::<String>::new());
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
            assert!(differences(&spec(), MACHINE, &report).len() > 20);
        }
    }

    #[test]
    fn other_machines_report_otherwise() {
        let mut second = report();
        second["cgroup"]["memory_and_swap"] = Value::Null;
        second["cgroup"]["swap"] = 0.into();
        assert_eq!(differences(&spec(), MACHINE, &second), Vec::<String>::new());
        second["cgroup"]["swap"] = Value::Null;
        let machine = Machine { limits_swap: false, ..MACHINE };
        assert_eq!(differences(&spec(), machine, &second), Vec::<String>::new());
        assert_eq!(changed("/interfaces", json!(["lo", "tunl0", "sit0"])), Vec::<String>::new());
        let with_network = spec().with_network();
        assert_eq!(differences(&with_network, MACHINE, &report()), ["egress: wanted true, found false"]);
        assert_eq!(
            differences(&with_network, MACHINE, &{
                let mut report = report();
                report["egress"] = true.into();
                report
            }),
            Vec::<String>::new()
        );
    }

    #[test]
    fn data_shows_the_flags_that_its_quota_promises() {
        let with = |quota, flags: &[&str]| {
            let spec = spec().with_data(DataMount { source: "/volumes/1".into(), quota });
            let mut report = report();
            report["mounts"]["/data"] = json!({ "type": "ext4", "flags": flags });
            differences(&spec, MACHINE, &report)
        };
        let closed = ["rw", "nosuid", "nodev", "noexec", "noatime"];
        assert_eq!(with(DataQuota::Hard, &closed), Vec::<String>::new());
        assert_eq!(with(DataQuota::Soft, &["rw"]), Vec::<String>::new());
        for missing in ["rw", "nosuid", "nodev", "noexec"] {
            let flags: Vec<&str> = closed.into_iter().filter(|flag| *flag != missing).collect();
            let found = with(DataQuota::Hard, &flags);
            let wanted = "mounts./data: wanted ext4 rw,noexec,nosuid,nodev, found";
            assert!(found.len() == 1 && found[0].starts_with(wanted), "{found:?}");
        }
        assert_eq!(with(DataQuota::Soft, &["ro"]).len(), 1);
    }
}
