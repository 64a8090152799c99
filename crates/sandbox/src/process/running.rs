//! A sandbox that runs: bubblewrap as our child, and the shim in it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use super::cgroup::Group;
use super::plan::Plan;
use crate::SandboxExit;
use plugbay_runtime::shutdown::Shutdown;

/// How long launcher and bubblewrap may take.
const SETUP: Duration = Duration::from_secs(30);

/// How long what was killed may take to be gone.
const END: Duration = Duration::from_secs(10);

/// How often that is looked at.
const TICK: Duration = Duration::from_millis(1);

/// Bytes of what bubblewrap tells, and of what it complains about.
const MAX_SAID: u64 = 8 * 1024;

/// How the kernel names the process while the shim runs in it.
const SHIM_NAME: &str = "shim";

/// Starts children. Bubblewrap dies with the *thread* that started it, and those of a pool come and go.
#[derive(Debug)]
pub(super) struct Starter {
    jobs: mpsc::Sender<Job>,
    shutdown: Shutdown,
}

type Job = (Command, Handle, oneshot::Sender<io::Result<Child>>);

impl Starter {
    pub(super) fn new(shutdown: Shutdown) -> io::Result<Self> {
        let (sender, jobs) = mpsc::channel::<Job>();
        let body = move || {
            while let Ok((mut command, runtime, answer)) = jobs.recv() {
                let _inside = runtime.enter();
                // Nobody waits any more: the child is killed when it is dropped.
                answer.send(command.spawn()).ok();
            }
        };
        thread::Builder::new().name("sandbox.starter".to_owned()).spawn(body)?;
        Ok(Self { jobs: sender, shutdown })
    }

    async fn start(&self, command: Command) -> io::Result<Child> {
        let (answer, started) = oneshot::channel();
        let gone = || io::Error::other("the thread that starts sandboxes has ended");
        self.jobs.send((command, Handle::current(), answer)).map_err(|_unsent| gone())?;
        started.await.map_err(|_dropped| gone())?
    }
}

/// A started sandbox.
#[derive(Debug)]
pub(super) struct Running {
    /// How bubblewrap ended.
    ended: watch::Receiver<Option<ExitStatus>>,
    monitor: OwnedFd,
    shim: OwnedFd,
    /// The shim as the service sees it.
    pub(super) pid: i32,
    pub(super) group: Option<Group>,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum NotStarted {
    /// Launcher or bubblewrap failed.
    Setup(io::Error),
    /// The shim ended before anybody could look at it.
    Ended(SandboxExit),
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> Self {
        Self::Setup(error)
    }
}

/// What bubblewrap tells of its child.
#[derive(Deserialize)]
struct Info {
    #[serde(rename = "child-pid")]
    child_pid: i32,
}

/// How a command ended that was to end by itself, and what it said.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) said: String,
}

/// Runs a plan that ends by itself.
pub(super) async fn run(starter: &Starter, plan: &Plan, filter: &[u8]) -> io::Result<Ended> {
    let (mut child, _told) = timeout(SETUP, begin(starter, plan, filter)).await.map_err(io::Error::other)??;
    end_of(&mut child).await
}

/// Starts a plan and waits until the shim runs in it.
pub(super) async fn start(
    starter: &Starter,
    plan: &Plan,
    filter: &[u8],
    group: Option<Group>,
) -> Result<Running, NotStarted> {
    let begun = timeout(SETUP, begin(starter, plan, filter)).await;
    let (mut child, told) = begun.map_err(io::Error::other).and_then(|begun| begun)?;
    let info: Option<Info> = serde_json::from_slice(&told).ok();
    if let Some(Info { child_pid }) = info
        && let Some(shim) = Pid::from_raw(child_pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        // Looked at with the process held, so it can be no other one with the same number.
        && std::fs::read_to_string(format!("/proc/{child_pid}/comm")).is_ok_and(|name| name.trim_end() == SHIM_NAME)
        && let Some(monitor) = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
    {
        let monitor = pidfd_open(monitor, PidfdFlags::empty()).map_err(io::Error::from)?;
        let (sender, ended) = watch::channel(None);
        starter.shutdown.spawn("sandbox.wait", |_| async move {
            // Nobody may be left to be told.
            sender.send(child.wait().await.ok()).ok();
        });
        return Ok(Running { ended, monitor, shim, pid: child_pid, group });
    }
    let Ended { status, said } = end_of(&mut child).await?;
    if said.starts_with("bwrap: ") || said.starts_with("shim: launch: ") || info.is_none() {
        let said = if said.is_empty() { format!("it ended with {status}") } else { said };
        return Err(NotStarted::Setup(io::Error::other(said)));
    }
    Err(NotStarted::Ended(exit_of(status, group.as_ref())))
}

/// Starts the command, hands over the filter, and reads what it tells until the shim has closed its end.
async fn begin(starter: &Starter, plan: &Plan, filter: &[u8]) -> io::Result<(Child, Vec<u8>)> {
    let mut command = Command::new(&plan.program);
    command.args(&plan.arguments).env_clear().current_dir("/").kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = starter.start(command).await?;
    if let Some(mut stdin) = child.stdin.take() {
        // Who ended before it was read has said why.
        stdin.write_all(filter).await.ok();
    }
    let told = said_by(child.stdout.take()).await;
    Ok((child, told))
}

/// The end of a child that is ending.
async fn end_of(child: &mut Child) -> io::Result<Ended> {
    let stderr = child.stderr.take();
    let ending = async { Ok::<_, io::Error>((said_by(stderr).await, child.wait().await?)) };
    let (said, status) = timeout(SETUP, ending).await.map_err(io::Error::other)??;
    Ok(Ended { status, said: String::from_utf8_lossy(&said).trim().to_owned() })
}

async fn said_by(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut said = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(MAX_SAID).read_to_end(&mut said).await.ok();
    }
    said
}

fn exit_of(status: ExitStatus, group: Option<&Group>) -> SandboxExit {
    let signal = status.signal().unwrap_or_default();
    SandboxExit {
        exit_code: status.code().unwrap_or(128 + signal).into(),
        out_of_memory: group.is_some_and(Group::is_out_of_memory),
    }
}

impl Running {
    /// Waits for the end.
    pub(super) async fn wait(&self) -> io::Result<SandboxExit> {
        let mut ended = self.ended.clone();
        let status = ended.wait_for(Option::is_some).await.ok().and_then(|status| *status);
        let status = status.ok_or_else(|| io::Error::other("nobody knows how it ended"))?;
        Ok(exit_of(status, self.group.as_ref()))
    }

    /// Whether the shim runs.
    pub(super) fn is_alive(&self) -> bool {
        let mut fds = [PollFd::new(&self.shim, PollFlags::IN)];
        // Readable once the process has ended.
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(0)
    }

    /// Kills everything of it and waits until it is gone.
    pub(super) async fn kill(&self) -> io::Result<()> {
        // With the first process of its namespace the kernel kills all of it. One that is gone is as good.
        for process in [&self.shim, &self.monitor] {
            pidfd_send_signal(process, Signal::KILL).ok();
        }
        let gone = async {
            self.wait().await?;
            // The first process ends last, and bubblewrap's own, which was killed as well, does not wait for it.
            while self.is_alive() {
                sleep(TICK).await;
            }
            Ok::<_, io::Error>(())
        };
        timeout(END, gone).await.map_err(io::Error::other)?
    }
}
