//! The cgroups of sandboxes: `plugbay/<instance>/<session>` below the top of each hierarchy. Version 1 has one hierarchy
//! per controller, version 2 one for all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::inside::{Processors, memory_bytes, pids, processors};
use crate::samples::Counters;
use crate::{Pace, SandboxSpec, machine_has_swap};

/// Where hierarchies are mounted, and what a sandbox sees of its own.
pub(super) const TOP: &str = "/sys/fs/cgroup";

const CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "cpuacct"];
const PERIOD_US: i64 = 100_000;

/// How long the kernel may take to end what was killed.
const END: Duration = Duration::from_secs(10);

/// Where cgroups can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchies {
    pub(super) version: u8,
    /// Names below [`TOP`]; one empty name in version 2.
    names: Vec<String>,
    /// Whether swap can be limited. Where it cannot, there is none.
    pub(super) limits_swap: bool,
    /// The folder of this service below each hierarchy.
    own: PathBuf,
}

/// The cgroup of one sandbox.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) version: u8,
    /// Name of the hierarchy, and the folder.
    pub(super) folders: Vec<(String, PathBuf)>,
}

impl Hierarchies {
    /// Finds out what there is; the error says what is missing.
    pub(super) fn find(instance: &str) -> Result<Self, String> {
        let own = Path::new("plugbay").join(instance);
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let names = hierarchies_of(&groups, Path::new(TOP))?;
        let version = if names == [""] { 2 } else { 1 };
        let mut found = Self { version, names, limits_swap: true, own };
        found.prepare().map_err(|error| format!("cgroups cannot be made below {TOP}: {error}"))?;
        found.limits_swap = found.folders("").iter().any(|(_, folder)| {
            folder.join("memory.memsw.limit_in_bytes").exists() || version == 2 && folder.join("cgroup.procs").exists()
        });
        if !found.limits_swap && machine_has_swap() {
            return Err("swap cannot be limited on this machine, which has swap".to_owned());
        }
        Ok(found)
    }

    /// The service's own folders, with their controllers switched on.
    fn prepare(&self) -> io::Result<()> {
        for (_, folder) in self.folders("") {
            fs::create_dir_all(&folder)?;
        }
        self.switches().iter().try_for_each(|switch| fs::write(switch, "+memory +pids +cpu"))
    }

    /// Where version 2 is told to let folders below have controllers: each folder on the way, the top first.
    fn switches(&self) -> Vec<PathBuf> {
        if self.version != 2 {
            return Vec::new();
        }
        let own = Path::new(TOP).join(&self.own);
        let mut folders: Vec<&Path> = own.ancestors().take_while(|folder| folder.starts_with(TOP)).collect();
        folders.reverse();
        folders.iter().map(|folder| folder.join("cgroup.subtree_control")).collect()
    }

    fn folders(&self, session: &str) -> Vec<(String, PathBuf)> {
        let folder = |name: &String| (name.clone(), Path::new(TOP).join(name).join(&self.own).join(session));
        self.names.iter().map(folder).collect()
    }

    /// Makes the cgroup of a sandbox with its limits.
    pub(super) fn make(&self, spec: &SandboxSpec, cpus: u32) -> io::Result<Group> {
        let group = self.group(&spec.session.to_string());
        let make = || self.prepare().and_then(|()| group.fill(spec, cpus));
        let result = match make() {
            // Whoever looked at the machine before may have removed the empty folder just then.
            Err(error) if error.kind() == io::ErrorKind::NotFound => group.remove().and_then(|()| make()),
            other => other,
        };
        if result.is_err() {
            group.remove().ok();
        }
        result.map(|()| group)
    }

    /// The cgroup of a session, whether it is there or not.
    pub(super) fn group(&self, session: &str) -> Group {
        Group { version: self.version, folders: self.folders(session) }
    }

    /// The sessions that have cgroups.
    pub(super) fn sessions(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (_, folder) in self.folders("") {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    found.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

impl Drop for Hierarchies {
    /// A service that has ended leaves nothing; one with sandboxes keeps its folders, as they are not empty.
    fn drop(&mut self) {
        for (_, folder) in self.folders("") {
            fs::remove_dir(&folder).ok();
        }
    }
}

/// Processes and threads, with the one of bubblewrap that waits outside of the sandbox.
pub(super) fn pids_with_monitor(spec: &SandboxSpec) -> i64 {
    pids(spec).saturating_add(1)
}

impl Group {
    fn fill(&self, spec: &SandboxSpec, cpus: u32) -> io::Result<()> {
        for (_, folder) in &self.folders {
            fs::create_dir(folder)?;
        }
        self.write(limits(self.version, spec))?;
        self.pace(processors(spec, cpus, Pace::Hurried))
    }

    fn write(&self, values: Vec<(&'static str, String)>) -> io::Result<()> {
        values.into_iter().try_for_each(|(file, value)| match self.file(file) {
            Some(path) => fs::write(path, value),
            // Where swap is not counted there is none; see `Hierarchies::find`.
            None if file.contains("swap") || file.contains("memsw") => Ok(()),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("the cgroup has no `{file}`"))),
        })
    }

    /// Gives it this much of the processors from now on.
    pub(super) fn pace(&self, processors: Processors) -> io::Result<()> {
        self.write(weights(self.version, processors))
    }

    /// A file of the group, in the hierarchy that has it.
    fn file(&self, name: &str) -> Option<PathBuf> {
        self.folders.iter().map(|(_, folder)| folder.join(name)).find(|path| path.exists())
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.file(name)?).ok()
    }

    /// Processes that are in it now.
    pub(super) fn processes(&self) -> Vec<Pid> {
        let texts = self.folders.iter().filter_map(|(_, folder)| fs::read_to_string(folder.join("cgroup.procs")).ok());
        let numbers = texts.flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<i32>>());
        numbers.filter_map(Pid::from_raw).collect()
    }

    /// Sends a signal to each of its processes, and to those that were started meanwhile.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        const ROUNDS: u32 = 100;
        let mut reached = std::collections::HashSet::new();
        for _ in 0..ROUNDS {
            let found: std::collections::HashSet<Pid> = self.processes().into_iter().collect();
            if found.is_subset(&reached) {
                return Ok(());
            }
            for pid in found.difference(&reached) {
                // Gone already is as good.
                kill_process(*pid, signal).ok();
            }
            reached.extend(found);
        }
        Err(io::Error::other("it starts processes faster than they can be reached"))
    }

    /// Whether the kernel killed something in it for want of memory.
    pub(super) fn is_out_of_memory(&self) -> bool {
        let text = self.read("memory.oom_control").or_else(|| self.read("memory.events")).unwrap_or_default();
        number_after(&text, "oom_kill ").is_some_and(|kills| kills > 0)
    }

    /// What is used in it. `None` once it is gone.
    pub(super) fn counters(&self) -> Option<Counters> {
        let number = |name| self.read(name)?.trim().parse::<u64>().ok();
        let stat = self.read("memory.stat").unwrap_or_default();
        let cache = number_after(&stat, "total_inactive_file ").or_else(|| number_after(&stat, "inactive_file "));
        let usage = number("memory.usage_in_bytes").or_else(|| number("memory.current"))?;
        let in_version_2 = || Some(number_after(&self.read("cpu.stat")?, "usage_usec ")?.saturating_mul(1_000));
        Some(Counters {
            cpu_ns: number("cpuacct.usage").or_else(in_version_2)?,
            memory_bytes: usage.saturating_sub(cache.unwrap_or_default()),
            // Without bubblewrap's own.
            pids: number("pids.current")?.saturating_sub(1),
        })
    }

    /// Kills everything in it and removes it. Waits for the kernel, so not for a task.
    pub(super) fn remove(&self) -> io::Result<()> {
        let deadline = Instant::now() + END;
        loop {
            for pid in self.processes() {
                // Gone already is as good.
                kill_process(pid, Signal::KILL).ok();
            }
            let mut left = None;
            for (_, folder) in &self.folders {
                match fs::remove_dir(folder) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => left = Some(error),
                    Ok(()) | Err(_) => {}
                }
            }
            match left {
                None => return Ok(()),
                Some(error) if Instant::now() > deadline => return Err(error),
                Some(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

/// What is written into which file, in this order.
fn limits(version: u8, spec: &SandboxSpec) -> Vec<(&'static str, String)> {
    let (memory, pids) = (memory_bytes(spec).to_string(), pids_with_monitor(spec).to_string());
    if version == 2 {
        return vec![("memory.max", memory), ("memory.swap.max", "0".to_owned()), ("pids.max", pids)];
    }
    vec![("memory.limit_in_bytes", memory.clone()), ("memory.memsw.limit_in_bytes", memory), ("pids.max", pids)]
}

/// The same of what it may have of the processors.
fn weights(version: u8, Processors { nano, shares }: Processors) -> Vec<(&'static str, String)> {
    let quota = i128::from(nano) * i128::from(PERIOD_US) / 1_000_000_000;
    if version == 2 {
        return vec![
            ("cpu.max", format!("{quota} {PERIOD_US}")),
            // 2 to 262144 as 1 to 10000.
            ("cpu.weight", (1 + shares.saturating_sub(2).saturating_mul(9_999) / 262_142).to_string()),
        ];
    }
    vec![
        ("cpu.cfs_period_us", PERIOD_US.to_string()),
        ("cpu.cfs_quota_us", quota.to_string()),
        ("cpu.shares", shares.to_string()),
    ]
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// The hierarchies that hold the controllers a sandbox needs, by their names below `top`.
fn hierarchies_of(groups: &str, top: &Path) -> Result<Vec<String>, String> {
    if let Ok(controllers) = fs::read_to_string(top.join("cgroup.controllers")) {
        let missing =
            ["memory", "pids", "cpu"].into_iter().find(|name| !controllers.split_whitespace().any(|c| c == *name));
        return missing.map_or_else(|| Ok(vec![String::new()]), |name| Err(lacks(name)));
    }
    let mut names: Vec<String> = Vec::new();
    for controller in CONTROLLERS {
        let mut fields = groups.lines().filter_map(|line| line.split(':').nth(1));
        let name = fields.find(|field| field.split(',').any(|name| name == controller));
        let name = name.filter(|name| top.join(name).join("cgroup.procs").exists()).ok_or_else(|| lacks(controller))?;
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn lacks(controller: &str) -> String {
    format!("the cgroup controller `{controller}` is not there")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::spec;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let top = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = top.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        top
    }

    #[test]
    fn both_versions_are_found_and_what_is_missing_is_named() {
        let groups = "5:memory:/x\n4:pids:/\n3:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n";
        let first = folder(&[("memory/cgroup.procs", ""), ("pids/cgroup.procs", ""), ("cpu,cpuacct/cgroup.procs", "")]);
        assert_eq!(hierarchies_of(groups, first.path()).unwrap(), ["memory", "pids", "cpu,cpuacct"]);
        let second = folder(&[("cgroup.controllers", "cpuset cpu io memory pids\n")]);
        assert_eq!(hierarchies_of("0::/\n", second.path()).unwrap(), [""]);
        let poor = folder(&[("cgroup.controllers", "cpu pids\n")]);
        assert_eq!(hierarchies_of("0::/\n", poor.path()).unwrap_err(), "the cgroup controller `memory` is not there");
        let none = folder(&[]);
        assert_eq!(hierarchies_of(groups, none.path()).unwrap_err(), "the cgroup controller `memory` is not there");
    }

    /// Version 2 has nowhere been tried in whole; this is what is written there.
    #[test]
    fn both_versions_are_told_the_same_limits() {
        let spec = spec();
        let of = |shares| Processors { nano: 500_000_000, shares };
        let text = |version| {
            let values = limits(version, &spec).into_iter().chain(weights(version, of(1_024)));
            values.map(|(file, value)| format!("{file} {value}")).collect::<Vec<_>>()
        };
        let memory = 320 << 20;
        let first = [
            &format!("memory.limit_in_bytes {memory}"),
            &format!("memory.memsw.limit_in_bytes {memory}"),
            "pids.max 65",
            "cpu.cfs_period_us 100000",
            "cpu.cfs_quota_us 50000",
            "cpu.shares 1024",
        ];
        assert_eq!(text(1), first);
        let memory = format!("memory.max {memory}");
        assert_eq!(text(2), [&memory, "memory.swap.max 0", "pids.max 65", "cpu.max 50000 100000", "cpu.weight 39"]);
        assert_eq!(weights(2, of(2))[1].1, "1");
        assert_eq!(weights(2, of(262_144))[1].1, "10000");
    }

    #[test]
    fn the_folders_of_both_versions_lie_below_the_service() {
        let of = |version, names: &[&str]| Hierarchies {
            version,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            limits_swap: true,
            own: Path::new("plugbay").join("ours-and-never-made"),
        };
        let first = of(1, &["memory", "cpu,cpuacct"]);
        let folders = first.group("session").folders;
        let wanted = |name: &str| (name.to_owned(), format!("{TOP}/{name}/plugbay/ours-and-never-made/session").into());
        assert_eq!(folders, [wanted("memory"), wanted("cpu,cpuacct")]);
        assert_eq!(first.switches(), Vec::<PathBuf>::new());
        let second = of(2, &[""]);
        let session = format!("{TOP}/plugbay/ours-and-never-made/session");
        assert_eq!(second.group("session").folders, [(String::new(), session.into())]);
        let switches =
            ["", "/plugbay", "/plugbay/ours-and-never-made"].map(|part| format!("{TOP}{part}/cgroup.subtree_control"));
        assert_eq!(second.switches(), switches.map(PathBuf::from));
    }

    #[test]
    fn counters_are_read_in_both_versions() {
        let first = folder(&[
            ("a/cpuacct.usage", "5000\n"),
            ("b/memory.usage_in_bytes", "9000\n"),
            ("b/memory.stat", "cache 1\ntotal_inactive_file 2000\n"),
            ("b/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
            ("c/pids.current", "8\n"),
        ]);
        let folders = ["a", "b", "c"].map(|name| (name.to_owned(), first.path().join(name))).to_vec();
        let group = Group { version: 1, folders };
        let wanted = Counters { cpu_ns: 5_000, memory_bytes: 7_000, pids: 7 };
        assert_eq!((group.counters(), group.is_out_of_memory()), (Some(wanted), true));
        let second = folder(&[
            ("cpu.stat", "usage_usec 5\nuser_usec 1\n"),
            ("memory.current", "9000\n"),
            ("memory.stat", "anon 1\ninactive_file 2000\n"),
            ("memory.events", "oom 3\noom_kill 0\n"),
            ("pids.current", "8\n"),
        ]);
        let group = Group { version: 2, folders: vec![(String::new(), second.path().to_owned())] };
        assert_eq!((group.counters(), group.is_out_of_memory()), (Some(wanted), false));
    }
}
