//! The system's own programs for file systems, started with nothing of the service's but a command line.

use std::ffi::OsStr;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Where they are looked for; never where the environment says.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Longest time that one may take, also for a large volume on a slow disk.
const LONGEST: Duration = Duration::from_mins(5);

/// Bytes of their output that are read.
const SAID_BYTES: u64 = 4_096;

/// Characters of it that are told.
const TOLD_CHARACTERS: usize = 300;

/// Finds a program, or says what is missing.
pub(super) fn find(name: &str, package: &str) -> Result<PathBuf, String> {
    let paths = FOLDERS.iter().map(|folder| Path::new(folder).join(name));
    let mut found = paths.into_iter().filter(|path| path.is_file());
    found.next().ok_or_else(|| format!("`{name}` is not there (package {package})"))
}

/// The programs, each by its path.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) make: PathBuf,
    pub(super) check: PathBuf,
    pub(super) mount: PathBuf,
    pub(super) unmount: PathBuf,
}

impl Tools {
    /// Finds them, or says which is missing.
    pub(super) fn find() -> Result<Self, String> {
        Ok(Self {
            make: find("mkfs.ext4", "e2fsprogs")?,
            check: find("e2fsck", "e2fsprogs")?,
            mount: find("mount", "mount")?,
            unmount: find("umount", "mount")?,
        })
    }
}

/// How a program ended.
#[derive(Debug)]
pub(super) struct Done {
    /// Its exit code; none when a signal ended it.
    pub(super) code: Option<i32>,
    /// What it wrote, on one line.
    pub(super) said: String,
}

impl Done {
    pub(super) fn is_good(&self) -> bool {
        self.code == Some(0)
    }
}

/// Waits for the end, as long as that may take.
fn ends_in_time(child: &Child) -> io::Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let longest = Timespec { tv_sec: i64::try_from(LONGEST.as_secs()).unwrap_or(i64::MAX), tv_nsec: 0 };
    loop {
        // Readable once the process has ended.
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&longest)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Runs a program to its end, or ends it when it takes too long.
pub(super) fn run(program: &Path, arguments: &[&OsStr]) -> io::Result<Done> {
    let mut output = tempfile::tempfile()?;
    #[expect(clippy::disallowed_methods, reason = "the one place that starts the programs for file systems")]
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("LC_ALL", "C").env("PATH", FOLDERS.join(":")).current_dir("/");
    // A file, as a pipe that nobody reads can fill up.
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
    let mut child = command.spawn()?;
    if !ends_in_time(&child)? {
        child.kill()?;
        child.wait()?;
        return Err(io::Error::new(io::ErrorKind::TimedOut, format!("it took more than {} s", LONGEST.as_secs())));
    }
    let status = child.wait()?;
    output.rewind()?;
    let mut said = Vec::new();
    output.take(SAID_BYTES).read_to_end(&mut said)?;
    let said = String::from_utf8_lossy(&said);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(TOLD_CHARACTERS).collect();
    Ok(Done { code: status.code(), said })
}
