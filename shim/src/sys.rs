//! The calls that std lacks, declared by hand so that no crate is needed. Everything unsafe of the shim is here.

use std::ffi::{c_int, c_short, c_ulong};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

pub(crate) const READABLE: c_short = 0x1;
pub(crate) const WRITABLE: c_short = 0x4;
pub(crate) const HUNG_UP: c_short = 0x2000;
pub(crate) const SIGKILL: c_int = 9;
const SIGTERM: c_int = 15;
const EINTR: i32 = 4;
const WNOHANG: c_int = 1;
const WEXITED: c_int = 4;
const WNOWAIT: c_int = 0x0100_0000;
const F_SETFD: c_int = 2;
const F_SETFL: c_int = 4;
const O_NONBLOCK: c_int = 0o4000;
const SOL_SOCKET: c_int = 1;
const SO_LINGER: c_int = 13;
const PR_SET_DUMPABLE: c_int = 4;
const PR_SET_CHILD_SUBREAPER: c_int = 36;

/// How many process groups can be alive at once.
pub(crate) const MAX_GROUPS: usize = 64;

/// The living groups, for the signal handler, which may take no lock. 0 is a free place.
pub(crate) static GROUPS: [AtomicI32; MAX_GROUPS] = [const { AtomicI32::new(0) }; MAX_GROUPS];

/// What `poll` waits for on one descriptor; a negative descriptor is skipped.
#[repr(C)]
pub(crate) struct PollFd {
    fd: RawFd,
    events: c_short,
    found: c_short,
}

/// As large and aligned as the kernel's `siginfo_t`, which nobody here reads.
#[repr(C, align(8))]
struct SignalInfo([u8; 128]);

unsafe extern "C" {
    fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
    fn waitid(kind: c_int, id: u32, info: *mut SignalInfo, options: c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn prctl(option: c_int, ...) -> c_int;
    fn signal(number: c_int, handler: extern "C" fn(c_int)) -> usize;
    fn kill(pid: c_int, number: c_int) -> c_int;
    fn setsockopt(fd: c_int, level: c_int, option: c_int, value: *const c_int, length: u32) -> c_int;
    fn _exit(code: c_int) -> !;
}

impl PollFd {
    pub(crate) fn new(fd: Option<&impl AsRawFd>, events: c_short) -> Self {
        Self { fd: fd.map_or(-1, AsRawFd::as_raw_fd), events, found: 0 }
    }

    /// Whether anything happened, also an error or a hang-up that was not asked for.
    pub(crate) fn is_ready(&self) -> bool {
        self.found != 0
    }
}

/// Waits until a descriptor is ready. No timeout waits for ever.
pub(crate) fn wait_for(fds: &mut [PollFd], timeout_ms: Option<u64>) {
    let timeout = timeout_ms.map_or(-1, |ms| c_int::try_from(ms).unwrap_or(c_int::MAX));
    // SAFETY: the pointer and the count describe a live, exclusive slice of the kernel's layout.
    let count = unsafe { poll(fds.as_mut_ptr(), fds.len() as c_ulong, timeout) };
    if count < 0 {
        // An interruption is no event: the callers look again.
        for fd in fds {
            fd.found = 0;
        }
    }
}

/// Waits until some child has ended and leaves it unreaped. False when there is no child.
pub(crate) fn wait_for_any_child() -> bool {
    let mut info = SignalInfo([0; 128]);
    loop {
        // SAFETY: the buffer has the size and alignment of `siginfo_t`; kind 0 is P_ALL.
        if unsafe { waitid(0, 0, &raw mut info, WEXITED | WNOWAIT) } == 0 {
            return true;
        }
        if io::Error::last_os_error().raw_os_error() != Some(EINTR) {
            return false;
        }
    }
}

/// Reaps one ended child without waiting: its id and raw status.
pub(crate) fn reap() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: the status is a live integer.
    let pid = unsafe { waitpid(-1, &raw mut status, WNOHANG) };
    (pid > 0).then_some((pid, status))
}

/// Closes all descriptors above stderr. Only for the first moment, before anything owns one.
pub(crate) fn close_inherited() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // SAFETY: nothing in this process owns a descriptor above 2 yet; the listing's own is closed already.
        unsafe { close(fd) };
    }
}

/// Makes the descriptor number 3, to be inherited by programs.
pub(crate) fn inherit_as_third(socket: OwnedFd) -> io::Result<OwnedFd> {
    let fd = socket.into_raw_fd();
    // SAFETY: `fd` was owned by the caller and is given up here, so nobody else closes it; 3 is taken over as ours.
    // dup2 onto itself would keep close-on-exec, so that flag is cleared by itself.
    unsafe {
        if fd != 3 && (dup2(fd, 3) < 0 || close(fd) < 0) {
            return Err(io::Error::last_os_error());
        }
        if fcntl(3, F_SETFD, 0) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(3))
    }
}

/// Reads and writes fail instead of waiting.
pub(crate) fn set_nonblocking(fd: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed, so it is open; F_SETFL takes an integer.
    let result = unsafe { fcntl(fd.as_raw_fd(), F_SETFL, O_NONBLOCK) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Closing this connection tells the other side of an error, not of an end.
pub(crate) fn reset_on_close(socket: &impl AsRawFd) {
    // On, and no time to linger.
    let linger: [c_int; 2] = [1, 0];
    // SAFETY: the value is a live `struct linger` of two integers, and its length is told. A failure is an orderly end.
    unsafe { setsockopt(socket.as_raw_fd(), SOL_SOCKET, SO_LINGER, linger.as_ptr(), 8) };
}

pub(crate) fn refuse_to_be_dumped() -> io::Result<()> {
    // SAFETY: this option takes one integer.
    let result = unsafe { prctl(PR_SET_DUMPABLE, 0 as c_ulong, 0 as c_ulong, 0 as c_ulong, 0 as c_ulong) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub(crate) fn become_subreaper() {
    // SAFETY: this option takes one integer. As process 1 it changes nothing, so a failure is harmless.
    unsafe { prctl(PR_SET_CHILD_SUBREAPER, 1 as c_ulong, 0 as c_ulong, 0 as c_ulong, 0 as c_ulong) };
}

/// Process 1 ignores SIGTERM unless it is handled.
pub(crate) fn end_on_sigterm() {
    extern "C" fn ended(_: c_int) {
        end(128 + SIGTERM)
    }
    // SAFETY: the handler only reads atomics and calls kill and _exit, which are async-signal-safe.
    unsafe { signal(SIGTERM, ended) };
}

/// Kills a process group. An empty group is fine.
pub(crate) fn kill_group(group: i32) {
    if group > 1 {
        // SAFETY: no memory is involved. A group above 1 can never mean "everybody" or our own group.
        unsafe { kill(-group, SIGKILL) };
    }
}

/// Ends everything at once. As process 1 the kernel kills the rest; elsewhere the known groups are killed.
pub(crate) fn end(code: i32) -> ! {
    for group in &GROUPS {
        kill_group(group.load(Ordering::SeqCst));
    }
    // SAFETY: ends the process without running anything else.
    unsafe { _exit(code) }
}
