//! Prepares a process for bubblewrap, which can do none of this, and becomes it. Used by the process engine, as root:
//!
//! ```text
//! shim launch --uid N --stage DIR [--oom-score N] [--limit NAME=N]… [--cgroup DIR]… [--bind NAME=FLAGS=SOURCE]…
//!      [--tmpfs NAME=OPTIONS]… -- BWRAP ARG…
//! ```
//!
//! Resource limits and cgroups come first, then mounts and a network of its own. Each source is opened by root, which may
//! pass through folders that the plugin's user may not, and appears as `DIR/NAME` with its flags; FLAGS are letters: `r`
//! read-only, `x` no programs. Beside them only what bubblewrap itself needs is left of the machine's mounts: those of
//! other plugins must neither be within reach nor be held. No mount is ever seen outside, and all vanish with the process.
//! Then it becomes the user.
//!
//! Standard input becomes descriptor 10, standard output 11 and 12. All three are closed by bubblewrap or the shim,
//! so that the end of 12 says that the shim runs, or that nothing does.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use crate::children;
use crate::confine::{self, NO_DEV, NO_EXEC, NO_SUID, READ_ONLY};

const O_PATH: i32 = 0o10_000_000;
const RESOURCES: [(&str, i32); 4] = [("nofile", 7), ("core", 4), ("memlock", 8), ("msgqueue", 12)];

/// From here on ports can be bound without a right: the bridge answers at 53 and 443, with the plugin's uid.
const FIRST_FREE_PORT: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// Where bubblewrap, its libraries and what it looks at are, as far as they are there.
const SYSTEM: [&str; 9] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "dev", "proc"];

/// A file or folder that appears below the stage.
struct Source {
    name: OsString,
    flags: String,
    path: PathBuf,
}

#[derive(Default)]
struct Launch {
    uid: Option<u32>,
    stage: Option<PathBuf>,
    oom_score: Option<OsString>,
    limits: Vec<(i32, u64)>,
    cgroups: Vec<PathBuf>,
    sources: Vec<Source>,
    tmpfs: Vec<(OsString, String)>,
    program: Vec<OsString>,
}

/// Becomes the program; returns only what went wrong.
pub(crate) fn run(words: impl Iterator<Item = OsString>) -> String {
    match Launch::parse(words).and_then(Launch::run) {
        Ok(error) | Err(error) => error,
    }
}

impl Launch {
    fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut launch = Self::default();
        loop {
            let word = words.next().ok_or("`--` and the program are missing")?;
            if word == "--" {
                break;
            }
            let value = words.next().ok_or_else(|| format!("`{}` needs a value", word.display()))?;
            launch.option(&word, value)?;
        }
        launch.program = words.collect();
        if launch.program.is_empty() {
            return Err("the program is missing".to_owned());
        }
        Ok(launch)
    }

    fn option(&mut self, word: &OsStr, value: OsString) -> Result<(), String> {
        let wrong = || format!("`{} {}` is not understood", word.display(), value.display());
        match word.to_str().unwrap_or_default() {
            "--uid" => self.uid = Some(value.to_str().and_then(|text| text.parse().ok()).ok_or_else(wrong)?),
            "--stage" => self.stage = Some(value.into()),
            "--oom-score" => self.oom_score = Some(value),
            "--cgroup" => self.cgroups.push(value.into()),
            "--limit" => {
                let (name, number) = value.to_str().and_then(|text| text.split_once('=')).ok_or_else(wrong)?;
                let resource = RESOURCES.iter().find(|(known, _)| *known == name).ok_or_else(wrong)?.1;
                self.limits.push((resource, number.parse().map_err(|_unread| wrong())?));
            }
            "--tmpfs" => {
                let (name, options) = value.to_str().and_then(|text| text.split_once('=')).ok_or_else(wrong)?;
                self.tmpfs.push((name.into(), options.to_owned()));
            }
            "--bind" => {
                let mut parts = value.as_bytes().splitn(3, |byte| *byte == b'=');
                let (Some(name), Some(flags), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
                    return Err(wrong());
                };
                let path = PathBuf::from(OsString::from_vec(path.to_vec()));
                let flags = String::from_utf8_lossy(flags).into_owned();
                self.sources.push(Source { name: OsStr::from_bytes(name).to_owned(), flags, path });
            }
            _ => return Err(wrong()),
        }
        Ok(())
    }

    fn run(self) -> Result<String, String> {
        let uid = self.uid.filter(|uid| *uid != 0).ok_or("`--uid` must be there, and not 0")?;
        let stage = self.stage.clone().ok_or("`--stage` is missing")?;
        confine::leave_session();
        for (resource, value) in &self.limits {
            told("set a limit", confine::limit(*resource, *value))?;
        }
        if let Some(score) = &self.oom_score {
            told("set oom_score_adj", fs::write("/proc/self/oom_score_adj", score.as_bytes()))?;
        }
        for group in &self.cgroups {
            let file = group.join("cgroup.procs");
            told(&format!("enter `{}`", group.display()), write_existing(&file, b"0"))?;
        }
        told("leave the machine's network", confine::own_network())?;
        told("free the ports below 1024", write_existing(Path::new(FIRST_FREE_PORT), b"0"))?;
        told("leave the machine's mounts", confine::own_mounts())?;
        self.fill(&stage)?;
        told("arrange descriptors", descriptors())?;
        told("become the plugin's user", confine::become_user(uid))?;
        told("leave the folder", std::env::set_current_dir("/"))?;
        let error = children::command(&self.program).env_clear().exec();
        Ok(format!("cannot start `{}`: {error}", self.program[0].display()))
    }

    /// Makes a root of its own that has the stage and the system's programs, and leaves everything else.
    fn fill(&self, stage: &Path) -> Result<(), String> {
        // Before the new root hides what lies there, and after the mounts became this process's own.
        let opened: Vec<File> = self.sources.iter().map(Source::open).collect::<Result<_, _>>()?;
        let root = stage;
        told("make the stage", confine::tmpfs(root, NO_SUID | NO_DEV | NO_EXEC, "mode=0755,size=64k"))?;
        for name in SYSTEM {
            told(&format!("show `/{name}`"), show(&Path::new("/").join(name), &root.join(name)))?;
        }
        // As it will be called from inside.
        let stage = root.join(stage.strip_prefix("/").unwrap_or(stage));
        told("make the stage", fs::DirBuilder::new().recursive(true).mode(0o755).create(&stage))?;
        for (name, options) in &self.tmpfs {
            let target = stage.join(name);
            let result = folder(&target).and_then(|()| confine::tmpfs(&target, NO_SUID | NO_DEV | NO_EXEC, options));
            told(&format!("mount `{}`", name.display()), result)?;
        }
        for (source, opened) in self.sources.iter().zip(&opened) {
            told(&format!("bind `{}`", source.path.display()), source.appear(opened, &stage))?;
        }
        // Once for all of them: the kernel writes down every mount for each reader.
        let mounts = told("read the mounts", fs::read_to_string("/proc/self/mountinfo"))?;
        for source in &self.sources {
            told(&format!("restrict `{}`", source.path.display()), source.restrict(&stage, &mounts))?;
        }
        told("enter the stage", std::env::set_current_dir(root))?;
        told("leave the machine's folders", confine::become_root())
    }
}

impl Source {
    fn open(&self) -> Result<File, String> {
        let opened = OpenOptions::new().read(true).custom_flags(O_PATH).open(&self.path);
        told(&format!("open `{}`", self.path.display()), opened)
    }

    fn appear(&self, opened: &File, stage: &Path) -> io::Result<()> {
        let target = stage.join(&self.name);
        if opened.metadata()?.is_dir() {
            folder(&target)?;
        } else {
            File::create_new(&target)?;
        }
        confine::bind(Path::new(&format!("/proc/self/fd/{}", opened.as_raw_fd())), &target)
    }

    fn restrict(&self, stage: &Path, mounts: &str) -> io::Result<()> {
        let target = stage.join(&self.name);
        let mut flags = NO_SUID | NO_DEV;
        if self.flags.contains('r') {
            flags |= READ_ONLY;
        }
        if self.flags.contains('x') {
            flags |= NO_EXEC;
        }
        confine::restrict(&target, flags | flags_of(&target, mounts))
    }
}

/// What the disk of a source forbids stays forbidden: setting flags replaces them all.
fn flags_of(target: &Path, mounts: &str) -> std::ffi::c_ulong {
    let line = mounts.lines().rev().find(|line| line.split(' ').nth(4).map(Path::new) == Some(target));
    let options = line.and_then(|line| line.split(' ').nth(5)).unwrap_or_default();
    let known = [("ro", READ_ONLY), ("noexec", NO_EXEC), ("nosuid", NO_SUID), ("nodev", NO_DEV)];
    known.iter().filter(|(name, _)| options.split(',').any(|option| option == *name)).map(|(_, flag)| flag).sum()
}

/// Shows a folder or link of the machine's root, if it has one of that name.
fn show(source: &Path, target: &Path) -> io::Result<()> {
    if let Ok(link) = source.read_link() {
        return std::os::unix::fs::symlink(link, target);
    }
    if !source.is_dir() {
        return Ok(());
    }
    folder(target)?;
    confine::bind_all(source, target)
}

fn folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o755).create(path)
}

/// Never makes a file that the kernel does not have.
fn write_existing(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(bytes)
}

fn descriptors() -> io::Result<()> {
    for (from, to) in [(0, 10), (1, 11), (1, 12)] {
        confine::duplicate(from, to)?;
    }
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    confine::duplicate(null.as_raw_fd(), 0)?;
    confine::duplicate(null.as_raw_fd(), 1)
}

fn told<T>(what: &str, result: io::Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("cannot {what}: {error}"))
}
