//! Whether this Docker can do what a sandbox needs. What it does not tell counts as missing.

use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum, SystemVersion};

use super::client::ENGINE;
use super::config::Machine;
use crate::{EngineInfo, SandboxError, machine_has_swap};

/// Docker 20.10, the first with a namespace of cgroups for each container.
const OLDEST_API: (u32, u32) = (1, 41);

/// Where users are mapped, a map usually has this many.
const MAPPED_USERS: u32 = 65_536;

/// The first uid of plugins where users are mapped.
const MAPPED_UID_BASE: u32 = 20_000;

/// Room for plugins above the base.
const UIDS: u32 = 20_000;

/// What was found out about an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Probed {
    /// For callers.
    pub(super) info: EngineInfo,
    /// For containers.
    pub(super) machine: Machine,
}

/// Reads what Docker says about itself.
pub(super) fn read(
    version: &SystemVersion,
    info: &SystemInfo,
    runtime: &str,
    uid_base: u32,
) -> Result<Probed, SandboxError> {
    let name = version.version.as_deref().unwrap_or("of unknown version");
    // Debian adds its own part after a plus.
    let name = name.split('+').next().unwrap_or(name);
    require_api(version)?;
    let options = info.security_options.as_deref().unwrap_or_default();
    let has = |word: &str| {
        let named = format!("name={word}");
        options.iter().any(|option| option.split(',').any(|part| part == named))
    };
    let limits = [
        (info.memory_limit == Some(true), "memory"),
        (info.pids_limit == Some(true), "the number of processes"),
        (info.cpu_cfs_quota == Some(true), "processor time"),
    ];
    if let Some((_, what)) = limits.iter().find(|(can, _)| !can) {
        return Err(lacks(
            format!("cannot limit {what} on this machine"),
            "start the kernel with the cgroup controllers memory, pids and cpu: add cgroup_enable=memory to its command line and restart",
        ));
    }
    if !has("seccomp") {
        return Err(lacks(
            "runs without seccomp".to_owned(),
            "install a Docker and a kernel with seccomp: apt-get install docker.io",
        ));
    }
    let limits_swap = info.swap_limit == Some(true);
    if !limits_swap && machine_has_swap() {
        return Err(lacks(
            "cannot limit swap on this machine, which has swap".to_owned(),
            "swapoff -a, or start the kernel with swapaccount=1",
        ));
    }
    if !info.runtimes.as_ref().is_some_and(|runtimes| runtimes.contains_key(runtime)) {
        return Err(lacks(format!("has no runtime named `{runtime}`"), "set `sandbox.runtime` to runc"));
    }
    let is_mapped = has("userns") || has("rootless");
    let cpus = info.ncpu.and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0);
    let cpus = cpus.ok_or_else(|| lacks("does not tell how many processors there are".to_owned(), UPGRADE))?;
    Ok(Probed {
        info: EngineInfo {
            name: format!("{ENGINE} {name}"),
            cgroup_version: if info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_2) { 2 } else { 1 },
            uid_base: if is_mapped && uid_base.saturating_add(UIDS) > MAPPED_USERS {
                MAPPED_UID_BASE
            } else {
                uid_base
            },
            cpus,
        },
        machine: Machine { cpus, has_apparmor: has("apparmor"), limits_swap },
    })
}

const UPGRADE: &str = "install Docker Engine 20.10 or later: apt-get install docker.io";

fn lacks(problem: String, how: &'static str) -> SandboxError {
    SandboxError::TooOld { engine: ENGINE, problem, how: how.to_owned() }
}

fn require_api(version: &SystemVersion) -> Result<(), SandboxError> {
    let components = version.components.as_deref().unwrap_or_default();
    if components.iter().any(|component| component.name.starts_with("Podman")) {
        // It reads the same request differently: a seccomp profile as a path, and more writable folders.
        return Err(lacks("is Podman, which makes other containers of the same request".to_owned(), UPGRADE));
    }
    let api = version.api_version.as_deref().unwrap_or_default();
    let parsed = api.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    match parsed {
        Some(api) if api >= OLDEST_API => Ok(()),
        Some((major, minor)) => {
            let (needed_major, needed_minor) = OLDEST_API;
            Err(lacks(
                format!(
                    "is too old: it speaks version {major}.{minor} of its API, and {needed_major}.{needed_minor} is needed"
                ),
                UPGRADE,
            ))
        }
        None => Err(lacks("does not tell the version of its API".to_owned(), UPGRADE)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bollard::models::{Runtime, SystemVersionComponents};

    use super::*;
    use plugbay_domain::{Code, Refusal as _};

    fn version() -> SystemVersion {
        let text = |text: &str| Some(text.to_owned());
        SystemVersion { version: text("20.10.24+dfsg1"), api_version: text("1.41"), ..SystemVersion::default() }
    }

    fn info() -> SystemInfo {
        SystemInfo {
            memory_limit: Some(true),
            swap_limit: Some(true),
            pids_limit: Some(true),
            cpu_cfs_quota: Some(true),
            ncpu: Some(2),
            cgroup_version: Some(SystemInfoCgroupVersionEnum::_1),
            security_options: Some(vec!["name=seccomp,profile=default".to_owned()]),
            runtimes: Some(HashMap::from([("runc".to_owned(), Runtime::default())])),
            ..SystemInfo::default()
        }
    }

    fn problem(version: &SystemVersion, info: &SystemInfo) -> String {
        let error = read(version, info, "runc", 200_000).unwrap_err();
        assert_eq!(error.code(), Code::EngineTooOld);
        assert!(error.how().is_some());
        error.to_string()
    }

    #[test]
    fn an_engine_with_everything_is_taken() {
        let probed = read(&version(), &info(), "runc", 200_000).unwrap();
        let wanted = EngineInfo { name: "Docker 20.10.24".to_owned(), cgroup_version: 1, uid_base: 200_000, cpus: 2 };
        assert_eq!(probed.info, wanted);
        assert_eq!(probed.machine, Machine { cpus: 2, has_apparmor: false, limits_swap: true });
    }

    #[test]
    fn each_missing_part_is_named() {
        let old = SystemVersion { api_version: Some("1.40".to_owned()), ..version() };
        assert!(problem(&old, &info()).contains("version 1.40 of its API, and 1.41 is needed"));
        let newer = SystemVersion { api_version: Some("1.100".to_owned()), ..version() };
        assert!(read(&newer, &info(), "runc", 200_000).is_ok());
        let silent = SystemVersion { api_version: None, ..version() };
        assert!(problem(&silent, &info()).contains("does not tell"));
        let podman = SystemVersionComponents { name: "Podman Engine".to_owned(), ..SystemVersionComponents::default() };
        assert!(problem(&SystemVersion { components: Some(vec![podman]), ..version() }, &info()).contains("Podman"));
        assert!(problem(&version(), &SystemInfo { memory_limit: None, ..info() }).contains("limit memory"));
        assert!(problem(&version(), &SystemInfo { pids_limit: Some(false), ..info() }).contains("processes"));
        assert!(problem(&version(), &SystemInfo { cpu_cfs_quota: None, ..info() }).contains("processor time"));
        assert!(problem(&version(), &SystemInfo { security_options: None, ..info() }).contains("seccomp"));
        assert!(problem(&version(), &SystemInfo { runtimes: None, ..info() }).contains("no runtime named `runc`"));
        assert!(problem(&version(), &SystemInfo { ncpu: None, ..info() }).contains("processors"));
    }

    #[test]
    fn users_are_counted_within_the_map() {
        let options = |word: &str| SystemInfo {
            security_options: Some(vec!["name=seccomp,profile=default".to_owned(), format!("name={word}")]),
            ..info()
        };
        for word in ["userns", "rootless"] {
            let base = |wanted| read(&version(), &options(word), "runc", wanted).unwrap().info.uid_base;
            assert_eq!((base(200_000), base(30_000)), (20_000, 30_000), "{word}");
        }
        assert!(read(&version(), &options("apparmor"), "runc", 200_000).unwrap().machine.has_apparmor);
    }
}
