//! Decides whether a program was killed for want of memory. The engine's own flag is also set when only a child of the
//! plugin was killed, so the cgroup's counter is compared instead.

use std::fs;
use std::path::PathBuf;

/// The counter of the sandbox, as it stood at one moment.
pub(crate) struct OomCounter {
    path: Option<PathBuf>,
    before: Option<u64>,
}

impl OomCounter {
    pub(crate) fn start() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let path = paths(&groups).into_iter().find(|path| path.exists());
        let mut counter = Self { path, before: None };
        counter.before = counter.read();
        counter
    }

    /// Whether a program that ended by this signal was killed for want of memory since the counter was started.
    pub(crate) fn explains(&self, signal: Option<i32>) -> bool {
        is_oom(signal, self.before, self.read())
    }

    fn read(&self) -> Option<u64> {
        kills(&fs::read_to_string(self.path.as_ref()?).ok()?)
    }
}

/// Where the counter can be: by the group's path, and at the top, where a cgroup namespace shows it.
fn paths(groups: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let group = group.trim_end_matches('/');
        let (top, file) = if controllers.split(',').any(|name| name == "memory") {
            ("/sys/fs/cgroup/memory", "memory.oom_control")
        } else if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.events")
        } else {
            continue;
        };
        found.push(PathBuf::from(format!("{top}{group}/{file}")));
        found.push(PathBuf::from(format!("{top}/{file}")));
    }
    found
}

/// The number in the line `oom_kill N`.
fn kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// A counter that rose while the program lived on, or another signal, means something else.
fn is_oom(signal: Option<i32>, before: Option<u64>, after: Option<u64>) -> bool {
    signal == Some(9) && matches!((before, after), (Some(before), Some(after)) if after > before)
}

#[cfg(test)]
mod tests {
    use super::{is_oom, kills, paths};

    #[test]
    fn out_of_memory_is_a_kill_and_a_risen_counter() {
        let (v1, v2) = (
            "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
            "low 0\nhigh 0\nmax 12\noom 4\noom_kill 2\noom_group_kill 0\n",
        );
        assert_eq!((kills(v1), kills(v2), kills("oom 4\n")), (Some(3), Some(2), None));
        assert!(is_oom(Some(9), Some(2), Some(3)));
        assert!(!is_oom(Some(9), Some(3), Some(3)), "killed by somebody else");
        assert!(!is_oom(None, Some(2), Some(3)), "a child was killed, the plugin ended by itself");
        assert!(!is_oom(Some(11), Some(2), Some(3)));
        assert!(!is_oom(Some(9), None, Some(3)), "nothing is known");
        let paths = paths("4:memory:/docker/abc\n1:name=systemd:/x\n0::/abc\n");
        let paths: Vec<_> = paths.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(paths[0], "/sys/fs/cgroup/memory/docker/abc/memory.oom_control");
        assert_eq!(paths[1], "/sys/fs/cgroup/memory/memory.oom_control");
        assert_eq!(paths[2], "/sys/fs/cgroup/abc/memory.events");
        assert_eq!(paths.len(), 4);
    }
}
