//! Which system calls a plugin may make: one table, from which the form of each engine is made. What is not in it fails
//! with EPERM. Python (asyncio, processes, ssl, ctypes, venv) and Node (workers, wasm, children) run under it.

use serde_json::{Value, json};

/// What a rule answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The call is made.
    Allow,
    /// It fails with this number.
    Errno(u32),
}

/// When a rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// At every call.
    Always,
    /// The first argument is this.
    Equal(u64),
    /// The first argument is larger than this.
    Above(u64),
    /// This argument, counted from 0, has none of these bits.
    Without(u32, u64),
}

impl Condition {
    /// Tells whether the rule holds at a call with these arguments.
    #[cfg(test)]
    pub(super) fn holds(self, arguments: [u64; 6]) -> bool {
        match self {
            Self::Always => true,
            Self::Equal(value) => arguments[0] == value,
            Self::Above(value) => arguments[0] > value,
            Self::Without(index, bits) => arguments[index as usize] & bits == 0,
        }
    }
}

/// What happens at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) condition: Condition,
    pub(super) action: Action,
}

/// What a call that no rule allows fails with: EPERM.
pub(super) const DEFAULT_ERRNO: u32 = 1;
const ENOSYS: u32 = 38;
const EAFNOSUPPORT: u32 = 97;

/// `CLONE_NEW…` of every namespace: in a user namespace of its own a plugin would have every capability.
const NAMESPACES: u64 = 0x7E02_0000;

/// Modes that lend a file's owner or group to the user who starts it. A folder of the operator's that is writable for a plugin
/// would take such a file out of the sandbox, and with it a way in for every user of the machine.
const LENDING_MODES: u64 = 0o6000;

/// `O_CREAT` and `__O_TMPFILE`: without them a call that opens ignores its mode.
const CREATING: u64 = 0x40_0040;

/// Calls that set a mode, with the place of that argument. `openat2` has its mode in memory, where no filter can look.
const SETTING_MODES: [(&str, u32); 7] =
    [("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("fchmodat2", 2), ("creat", 1), ("mkdir", 1), ("mkdirat", 2)];

/// Calls that may create a file, with the places of flags and mode.
const OPENING: [(&str, u32, u32); 2] = [("open", 1, 2), ("openat", 2, 3)];

const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;

/// Calls that are allowed with any arguments. Those that only one kind of machine has are ignored on the others.
///
/// Left out on purpose: ptrace and `process_vm_*` (a plugin has the shim's uid), `memfd_create` and execveat (code that
/// no file holds), mount and namespace calls, `io_uring` (it makes calls past this table), bpf, perf, userfaultfd, keyctl,
/// personality, mknod, `SysV` IPC and message queues (they outlive quotas), setxattr, clocks that can be set.
#[rustfmt::skip]
const ALLOWED: &[&str] = &[
    // Files.
    "read", "write", "close", "close_range", "stat", "fstat", "lstat", "newfstatat", "statx",
    "statfs", "fstatfs", "access", "faccessat", "faccessat2", "lseek", "pread64", "pwrite64", "readv", "writev", "preadv",
    "pwritev", "preadv2", "pwritev2", "sendfile", "copy_file_range", "splice", "tee", "readahead", "fadvise64", "getdents",
    "getdents64", "getcwd", "chdir", "fchdir", "rename", "renameat", "renameat2", "rmdir",
    "link", "linkat", "unlink", "unlinkat", "symlink", "symlinkat", "readlink", "readlinkat",
    "chown", "fchown", "lchown", "fchownat", "umask", "utime", "utimes", "utimensat", "futimesat", "truncate",
    "ftruncate", "fallocate", "fsync", "fdatasync", "sync_file_range", "flock", "fcntl", "dup", "dup2", "dup3", "pipe",
    "pipe2", "ioctl", "getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr",
    // Waiting for files.
    "inotify_init", "inotify_init1", "inotify_add_watch", "inotify_rm_watch", "poll", "ppoll", "select", "pselect6",
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2",
    "signalfd", "signalfd4", "timerfd_create", "timerfd_settime", "timerfd_gettime",
    // Memory.
    "mmap", "munmap", "mremap", "mprotect", "madvise", "msync", "mincore", "brk", "mlock", "munlock", "mlock2", "membarrier",
    "pkey_alloc", "pkey_free", "pkey_mprotect",
    // Processes, users, signals.
    "fork", "vfork", "execve", "exit", "exit_group", "wait4", "waitid", "kill", "tkill", "tgkill", "getpid", "getppid",
    "gettid", "getpgid", "getpgrp", "setpgid", "getsid", "setsid", "getuid", "geteuid", "getgid", "getegid", "getresuid",
    "getresgid", "getgroups", "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "setfsuid",
    "setfsgid", "capget", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend", "rt_sigpending",
    "rt_sigtimedwait", "rt_sigqueueinfo", "sigaltstack", "restart_syscall", "pause", "pidfd_open", "pidfd_send_signal",
    // Threads.
    "futex", "futex_waitv", "futex_wake", "futex_wait", "futex_requeue", "set_robust_list", "get_robust_list",
    "set_tid_address", "rseq", "arch_prctl", "prctl",
    // Time.
    "nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time", "times", "getitimer",
    "setitimer", "alarm", "timer_create", "timer_settime", "timer_gettime", "timer_getoverrun", "timer_delete",
    // Scheduling and limits.
    "sched_yield", "sched_getaffinity", "sched_setaffinity", "sched_getparam", "sched_getscheduler",
    "sched_get_priority_max", "sched_get_priority_min", "sched_setscheduler", "sched_getattr", "getpriority", "setpriority",
    "getcpu", "getrlimit", "setrlimit", "prlimit64", "getrusage", "sysinfo", "uname", "getrandom",
    // Sockets; which ones can be made stands below.
    "bind", "listen", "accept", "accept4", "connect", "getsockname", "getpeername", "getsockopt", "setsockopt", "shutdown",
    "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg",
];

/// Every rule. Where several hold at a call they say the same; where none does, the call fails with EPERM.
pub(super) fn rules() -> Vec<Rule> {
    let rule = |name, condition, action| Rule { name, condition, action };
    let mut rules: Vec<Rule> = ALLOWED.iter().map(|name| rule(name, Condition::Always, Action::Allow)).collect();
    for family in 0..=AF_INET6 {
        let is_allowed = [AF_UNIX, AF_INET, AF_INET6].contains(&family);
        // Programs go on without a family that is not there, but take EPERM for a fault.
        let action = if is_allowed { Action::Allow } else { Action::Errno(EAFNOSUPPORT) };
        rules.push(rule("socket", Condition::Equal(family), action));
    }
    rules.push(rule("socket", Condition::Above(AF_INET6), Action::Errno(EAFNOSUPPORT)));
    rules.push(rule("socketpair", Condition::Equal(AF_UNIX), Action::Allow));
    rules.push(rule("clone", Condition::Without(0, NAMESPACES), Action::Allow));
    for (name, mode) in SETTING_MODES {
        rules.push(rule(name, Condition::Without(mode, LENDING_MODES), Action::Allow));
    }
    for (name, flags, mode) in OPENING {
        rules.push(rule(name, Condition::Without(flags, CREATING), Action::Allow));
        rules.push(rule(name, Condition::Without(mode, LENDING_MODES), Action::Allow));
    }
    rules.push(rule("openat2", Condition::Always, Action::Errno(ENOSYS)));
    // Its flags lie in memory, where no filter can look. Only ENOSYS makes libraries fall back to clone.
    rules.push(rule("clone3", Condition::Always, Action::Errno(ENOSYS)));
    rules
}

/// The table as Docker reads it.
pub(super) fn docker_profile() -> Value {
    let rules = rules();
    let (always, conditional): (Vec<Rule>, Vec<Rule>) =
        rules.into_iter().partition(|rule| rule.condition == Condition::Always && rule.action == Action::Allow);
    let names: Vec<&str> = always.iter().map(|rule| rule.name).collect();
    let mut calls = vec![json!({ "names": names, "action": "SCMP_ACT_ALLOW" })];
    calls.extend(conditional.iter().map(docker_rule));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": DEFAULT_ERRNO,
        // This architecture alone: by the 32-bit calls of the same machine a plugin would pass under the table.
        "archMap": [{ "architecture": architecture(), "subArchitectures": [] }],
        "syscalls": calls,
    })
}

const fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" }
}

fn docker_rule(rule: &Rule) -> Value {
    let argument =
        |index: u32, op: &str, value: u64| json!([{ "index": index, "op": op, "value": value, "valueTwo": 0 }]);
    let mut found = json!({ "names": [rule.name] });
    match rule.action {
        Action::Allow => found["action"] = "SCMP_ACT_ALLOW".into(),
        Action::Errno(number) => {
            found["action"] = "SCMP_ACT_ERRNO".into();
            found["errnoRet"] = number.into();
        }
    }
    match rule.condition {
        Condition::Always => {}
        Condition::Equal(value) => found["args"] = argument(0, "SCMP_CMP_EQ", value),
        Condition::Above(value) => found["args"] = argument(0, "SCMP_CMP_GT", value),
        // The first value is the mask, the second what must be left of the argument.
        Condition::Without(index, bits) => found["args"] = argument(index, "SCMP_CMP_MASKED_EQ", bits),
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What the table answers to a call with this first argument.
    fn answer(name: &str, argument: u64) -> Action {
        answer_to(name, [argument, 0, 0, 0, 0, 0])
    }

    fn answer_to(name: &str, arguments: [u64; 6]) -> Action {
        let found: Vec<_> =
            rules().into_iter().filter(|rule| rule.name == name && rule.condition.holds(arguments)).collect();
        assert!(found.windows(2).all(|two| two[0].action == two[1].action), "{name} {arguments:?}: {found:?}");
        found.first().map_or(Action::Errno(DEFAULT_ERRNO), |rule| rule.action)
    }

    #[test]
    fn no_file_gets_a_mode_that_lends_its_owner() {
        let denied = Action::Errno(DEFAULT_ERRNO);
        for mode in [0o4755, 0o2755, 0o6755, 0o4000, 0o2000, (1 << 32) | 0o4755] {
            assert_eq!(answer_to("chmod", [0, mode, 0, 0, 0, 0]), denied, "{mode:o}");
            assert_eq!(answer_to("fchmod", [3, mode, 0, 0, 0, 0]), denied, "{mode:o}");
            assert_eq!(answer_to("fchmodat", [3, 0, mode, 0, 0, 0]), denied, "{mode:o}");
            assert_eq!(answer_to("fchmodat2", [3, 0, mode, 0, 0, 0]), denied, "{mode:o}");
            assert_eq!(answer_to("creat", [0, mode, 0, 0, 0, 0]), denied, "{mode:o}");
            assert_eq!(answer_to("mkdir", [0, mode, 0, 0, 0, 0]), denied, "{mode:o}");
            assert_eq!(answer_to("mkdirat", [3, 0, mode, 0, 0, 0]), denied, "{mode:o}");
            for creating in [0x40, 0x41, 0x41_0002, 0x80_0241] {
                assert_eq!(answer_to("open", [0, creating, mode, 0, 0, 0]), denied, "{creating:x} {mode:o}");
                assert_eq!(answer_to("openat", [3, 0, creating, mode, 0, 0]), denied, "{creating:x} {mode:o}");
            }
            // What creates nothing has a mode that is left over in the register.
            assert_eq!(answer_to("openat", [3, 0, 0x8_0000, mode, 0, 0]), Action::Allow, "{mode:o}");
        }
        for mode in [0o755, 0o1777, 0] {
            assert_eq!(answer_to("chmod", [u64::MAX, mode, u64::MAX, 0, 0, 0]), Action::Allow, "{mode:o}");
            assert_eq!(answer_to("openat", [u64::MAX, u64::MAX, 0x41, mode, 0, 0]), Action::Allow, "{mode:o}");
        }
        assert_eq!(answer("openat2", 0), Action::Errno(ENOSYS));
    }

    #[test]
    fn each_call_stands_once() {
        let names: BTreeSet<_> = ALLOWED.iter().collect();
        assert_eq!(names.len(), ALLOWED.len());
        assert!((215..=225).contains(&names.len()), "{}", names.len());
    }

    #[test]
    fn dangerous_families_are_refused() {
        let denied = "ptrace process_vm_readv process_vm_writev kcmp memfd_create memfd_secret execveat mount umount2 \
            move_mount open_tree fsopen fsmount pivot_root chroot unshare setns io_uring_setup io_uring_enter \
            io_uring_register io_setup bpf perf_event_open userfaultfd keyctl add_key request_key personality mknod \
            mknodat shmget shmat shmctl msgget semget mq_open setxattr lsetxattr fsetxattr landlock_create_ruleset \
            seccomp name_to_handle_at open_by_handle_at fanotify_init remap_file_pages mbind set_mempolicy \
            migrate_pages move_pages vmsplice clock_settime settimeofday adjtimex init_module finit_module \
            delete_module kexec_load reboot swapon quotactl acct syslog sethostname iopl ioperm modify_ldt \
            capset pidfd_getfd process_madvise lookup_dcookie vhangup nfsservctl ustat sysfs uselib";
        for name in denied.split_whitespace() {
            assert_eq!(answer(name, 0), Action::Errno(DEFAULT_ERRNO), "{name}");
        }
    }

    #[test]
    fn what_runtimes_need_is_allowed() {
        let needed = "waitid prctl poll ppoll mprotect madvise eventfd2 epoll_pwait getrandom vfork link inotify_init1 \
            prlimit64 sched_getaffinity set_robust_list rseq statx";
        for name in needed.split_whitespace() {
            assert_eq!(answer(name, 0), Action::Allow, "{name}");
        }
    }

    #[test]
    fn only_three_families_of_sockets_can_be_made() {
        for family in [AF_UNIX, AF_INET, AF_INET6] {
            assert_eq!(answer("socket", family), Action::Allow);
        }
        // None, AX.25, netlink, packet, ALG, vsock, XDP, and a number whose lower half is AF_INET.
        for family in [0, 3, 9, 16, 17, 38, 40, 44, (1 << 32) | AF_INET] {
            assert_eq!(answer("socket", family), Action::Errno(EAFNOSUPPORT), "{family}");
        }
        assert_eq!(answer("socketpair", AF_UNIX), Action::Allow);
        assert_eq!(answer("socketpair", AF_INET), Action::Errno(DEFAULT_ERRNO));
    }

    #[test]
    fn threads_can_be_made_and_namespaces_cannot() {
        assert_eq!(answer("clone3", 0), Action::Errno(ENOSYS));
        assert_eq!(answer("clone", 0x003D_0F00), Action::Allow);
        for bit in [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
            assert_eq!(answer("clone", 0x11 | bit), Action::Errno(DEFAULT_ERRNO), "{bit:x}");
        }
    }

    #[test]
    fn docker_gets_the_whole_table() {
        let profile = docker_profile();
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
        assert_eq!(profile["archMap"].as_array().map(Vec::len), Some(1));
        let calls = profile["syscalls"].as_array().unwrap();
        let count: usize = calls.iter().map(|call| call["names"].as_array().unwrap().len()).sum();
        assert_eq!(count, rules().len());
        let clone = calls.iter().find(|call| call["names"][0] == "clone").unwrap();
        assert_eq!(
            clone["args"],
            json!([{"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 2_114_060_288, "valueTwo": 0}])
        );
        let clone3 = calls.iter().find(|call| call["names"][0] == "clone3").unwrap();
        assert_eq!(*clone3, json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}));
        assert!(profile.to_string().len() < 8_000);
    }
}
