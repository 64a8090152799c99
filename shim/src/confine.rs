//! What is done to a process before bubblewrap runs in it. Declared by hand like `sys`; unsafe like it.

use std::ffi::{CString, c_char, c_int, c_long, c_ulong, c_void};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub(crate) const READ_ONLY: c_ulong = 1;
pub(crate) const NO_SUID: c_ulong = 2;
pub(crate) const NO_DEV: c_ulong = 4;
pub(crate) const NO_EXEC: c_ulong = 8;
const REMOUNT: c_ulong = 32;
const BIND: c_ulong = 4096;
const RECURSIVE: c_ulong = 16384;
const PRIVATE: c_ulong = 1 << 18;
const MNT_DETACH: c_int = 2;
#[cfg(target_arch = "x86_64")]
const PIVOT_ROOT: c_long = 155;
#[cfg(target_arch = "aarch64")]
const PIVOT_ROOT: c_long = 41;
const CLONE_NEWNS: c_int = 0x0002_0000;
const CLONE_NEWNET: c_int = 0x4000_0000;
const PR_SET_NO_NEW_PRIVS: c_int = 38;
const AF_INET: c_int = 2;
const SOCK_DGRAM: c_int = 2;
const SOCK_CLOEXEC: c_int = 0o2_000_000;
const SIOCSIFFLAGS: c_ulong = 0x8914;
const IFF_UP: i16 = 1;

#[repr(C)]
struct Limit {
    soft: u64,
    hard: u64,
}

/// `struct ifreq` with flags in it.
#[repr(C)]
struct InterfaceFlags {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

unsafe extern "C" {
    fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn umount2(target: *const c_char, flags: c_int) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn unshare(flags: c_int) -> c_int;
    fn setrlimit(resource: c_int, limit: *const Limit) -> c_int;
    fn setgroups(count: usize, groups: *const u32) -> c_int;
    fn setresgid(real: u32, effective: u32, saved: u32) -> c_int;
    fn setresuid(real: u32, effective: u32, saved: u32) -> c_int;
    fn setsid() -> c_int;
    fn umask(mask: u32) -> u32;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn prctl(option: c_int, ...) -> c_int;
    fn socket(family: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn close(fd: c_int) -> c_int;
}

fn done(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn text(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

fn mount_with(source: &Path, target: &Path, kind: &Path, flags: c_ulong, data: &Path) -> io::Result<()> {
    let (source, target, kind, data) = (text(source)?, text(target)?, text(kind)?, text(data)?);
    // SAFETY: four texts that end with 0 and outlive the call.
    done(unsafe { mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) })
}

/// Leaves the session of the service: signals of its terminal do not come here. Files are made as they are named.
pub(crate) fn leave_session() {
    // SAFETY: no memory is involved. The leader of a session stays one, which is as good.
    unsafe {
        setsid();
        umask(0o022);
    }
}

/// Gives this process mounts of its own, which vanish with it.
pub(crate) fn own_mounts() -> io::Result<()> {
    // SAFETY: takes flags only; this process has one thread.
    done(unsafe { unshare(CLONE_NEWNS) })?;
    mount_with(Path::new("none"), Path::new("/"), Path::new(""), RECURSIVE | PRIVATE, Path::new(""))
}

/// Gives this process a network that has a loopback and nothing else.
pub(crate) fn own_network() -> io::Result<()> {
    // SAFETY: takes flags only; this process has one thread.
    done(unsafe { unshare(CLONE_NEWNET) })?;
    let mut wanted = InterfaceFlags { name: [0; 16], flags: IFF_UP, rest: [0; 22] };
    wanted.name[..2].copy_from_slice(b"lo");
    // SAFETY: the structure is as large as the kernel's, lives until the call is over, and the socket is closed once.
    unsafe {
        let fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        done(fd)?;
        let result = done(ioctl(fd, SIOCSIFFLAGS, &raw mut wanted));
        close(fd);
        result
    }
}

pub(crate) fn bind(source: &Path, target: &Path) -> io::Result<()> {
    // Not recursive: what is mounted below the source stays outside.
    mount_with(source, target, Path::new(""), BIND, Path::new(""))
}

/// Shows a folder of the machine with everything that is mounted below it.
pub(crate) fn bind_all(source: &Path, target: &Path) -> io::Result<()> {
    mount_with(source, target, Path::new(""), BIND | RECURSIVE, Path::new(""))
}

/// Makes the current folder, on which something is mounted, the root. What was the root until then is gone, with
/// everything that is mounted in it.
pub(crate) fn become_root() -> io::Result<()> {
    // SAFETY: two texts that end with 0 and are constant.
    unsafe {
        // The old root lands on top of the new one, from where it can be taken off.
        if syscall(PIVOT_ROOT, c".".as_ptr(), c".".as_ptr()) < 0 {
            return Err(io::Error::last_os_error());
        }
        done(umount2(c".".as_ptr(), MNT_DETACH))
    }
}

/// Flags of a mount at exactly this path.
pub(crate) fn restrict(target: &Path, flags: c_ulong) -> io::Result<()> {
    mount_with(Path::new("none"), target, Path::new(""), REMOUNT | BIND | flags, Path::new(""))
}

pub(crate) fn tmpfs(target: &Path, flags: c_ulong, options: &str) -> io::Result<()> {
    mount_with(Path::new("tmpfs"), target, Path::new("tmpfs"), flags, Path::new(options))
}

pub(crate) fn limit(resource: c_int, value: u64) -> io::Result<()> {
    let limit = Limit { soft: value, hard: value };
    // SAFETY: the structure lives until the call is over.
    done(unsafe { setrlimit(resource, &raw const limit) })
}

pub(crate) fn duplicate(from: c_int, to: c_int) -> io::Result<()> {
    // SAFETY: nothing in this process owns a descriptor above 2, and those below are duplicated only.
    done(unsafe { dup2(from, to) })
}

/// Becomes this user and nobody else, for good.
pub(crate) fn become_user(uid: u32) -> io::Result<()> {
    // SAFETY: a count of 0 reads no list; the others take numbers. Every thread is this one.
    unsafe {
        done(setgroups(0, std::ptr::null()))?;
        done(setresgid(uid, uid, uid))?;
        done(setresuid(uid, uid, uid))?;
        done(prctl(PR_SET_NO_NEW_PRIVS, 1 as c_ulong, 0 as c_ulong, 0 as c_ulong, 0 as c_ulong))
    }
}
