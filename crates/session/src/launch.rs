//! From a specification to a plugin that answers: sockets, sandbox, proof, `initialize`.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::actor::Actor;
use super::calls::Calls;
use super::ended::{find_reason, reason_of};
use super::instance_dir::{InstanceDir, Peer, PeerError};
use super::life_hooks::LifeHooks;
use super::outbound::Outbound;
use super::output::{OutputEnd, carry};
use super::pace::Paced;
use super::quota::give_back;
use super::reader::{Reader, ReaderEnd};
use super::requests::Requests;
use super::start_failure::{ConnectError, LaunchError, Refused, StartFailure, tail};
use super::surroundings::Surroundings;
use super::{Condition, Inner, LogLine, Session};
use plugbay_domain::{PluginState, Tools};
use plugbay_protocol::{Hello, Initialize, LineBuffer, Outgoing, Ready, RemoteError, Violation, read_hello};
use plugbay_sandbox::{RunningSandbox, SandboxError, SandboxExit, SandboxSpec, VolumeLease};

/// Bytes of the first line, report included.
const MAX_HELLO_BYTES: usize = 64 * 1024;

/// How long a plugin that failed to start may take to say its last words.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Limits of one session.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Bytes of one message.
    pub message_bytes: usize,
    /// Longest time from a started sandbox to a ready plugin.
    pub start: Duration,
    /// Time between two health questions.
    pub health_interval: Duration,
}

/// A session to be started.
#[derive(Clone, Debug)]
pub struct LaunchOrder {
    /// What it runs in; the instance directory is filled in.
    pub spec: SandboxSpec,
    /// What the plugin is told first.
    pub initialize: Initialize,
    /// Methods that plugin.yaml promises.
    pub methods: Vec<String>,
    /// Commands that plugin.yaml promises.
    pub commands: Vec<String>,
    /// Tools of the version.
    pub tools: Tools,
    /// Its limits.
    pub limits: SessionLimits,
    /// Where instance directories are made.
    pub run_dir: PathBuf,
    /// The revision of the configuration in `initialize`.
    pub config_revision: i64,
}

/// Starts a session. Whatever fails, nothing is left behind. `on_state` hears of each step.
pub async fn launch(
    order: LaunchOrder,
    around: Surroundings,
    on_state: &(dyn Fn(PluginState) + Send + Sync),
) -> Result<Session, LaunchError> {
    let data = around.data.clone();
    let _hurried = around.host.hurry();
    let launched = try_launch(order, around, on_state).await;
    if launched.is_err() {
        give_back(data).await;
    }
    launched
}

async fn try_launch(
    mut order: LaunchOrder,
    around: Surroundings,
    on_state: &(dyn Fn(PluginState) + Send + Sync),
) -> Result<Session, LaunchError> {
    on_state(PluginState::Loading);
    let spec = &mut order.spec;
    let dir = InstanceDir::make(&order.run_dir, &spec.instance, spec.session, spec.uid, spec.network)
        .map_err(|source| LaunchError::InstanceDir { path: order.run_dir.clone(), source })?;
    dir.path().clone_into(&mut spec.instance_dir);
    let printed = around.log.follow();
    let sandbox = match around.engine.start(&order.spec).await {
        Ok(sandbox) => sandbox,
        Err(SandboxError::EndedAtOnce(exit)) => return Err(ended_at_once(&order, &around, dir, printed, exit).await),
        Err(error) => return Err(error.into()),
    };
    let mut starting = Starting { order, around, sandbox, printed, dir: Some(dir) };
    match starting.introduce(on_state).await {
        Ok(session) => Ok(session),
        Err(error) => {
            // What this leaves, the next look at the engine's list removes.
            if let Err(error) = starting.around.engine.remove(&starting.sandbox.id).await {
                tracing::warn!(%error, "A sandbox that failed to start could not be removed");
            }
            Err(error)
        }
    }
}

/// What can be told of a plugin that was faster at ending than the engine at showing it.
async fn ended_at_once(
    order: &LaunchOrder,
    around: &Surroundings,
    mut dir: InstanceDir,
    mut printed: broadcast::Receiver<Arc<LogLine>>,
    exit: SandboxExit,
) -> LaunchError {
    let (output, output_end) = watch::channel(OutputEnd::default());
    let last_words = async {
        if let Ok(log) = dir.accept_last_words(order.spec.uid).await {
            carry(log, Arc::clone(&around.log), output).await;
        }
    };
    // Whoever ended has nothing more to say.
    tokio::time::timeout(LAST_WORDS, last_words).await.ok();
    let note = output_end.borrow().exit;
    let end = reason_of(exit, note, order.spec.limits.memory_mb);
    LaunchError::Plugin(Box::new(StartFailure { log_tail: tail(&mut printed), ..StartFailure::of_end(end) }))
}

/// A sandbox that runs and has not yet proved anything.
struct Starting {
    order: LaunchOrder,
    around: Surroundings,
    sandbox: RunningSandbox,
    printed: broadcast::Receiver<Arc<LogLine>>,
    dir: Option<InstanceDir>,
}

/// The connections of a sandbox that has proved itself.
struct Connected {
    host: UnixStream,
    log: UnixStream,
    lines: LineBuffer,
    hello: Hello,
}

impl Starting {
    async fn introduce(&mut self, on_state: &(dyn Fn(PluginState) + Send + Sync)) -> Result<Session, LaunchError> {
        let deadline = Instant::now() + self.order.limits.start;
        let mut dir = self.dir.take().expect("introduced once");
        let Connected { host, log, lines, hello } = self.connect(&mut dir, deadline).await?;
        self.around.engine.check_report(&self.order.spec, &hello.report)?;
        // Before the plugin is asked to initialize, which may need it.
        let way_out = dir.take_egress().map(|listener| self.around.host.let_out(listener, self.order.spec.uid));
        on_state(PluginState::Loaded);

        let message_bytes = self.order.limits.message_bytes;
        let stream = Arc::new(host);
        let calls = Arc::new(Calls::new(message_bytes));
        let outbound = Arc::new(Outbound::new(Arc::clone(&stream), message_bytes));
        let (output, mut output_end) = watch::channel(OutputEnd::default());
        let (reader_ended, mut reader_end) = oneshot::channel();
        let shutdown = &self.around.shutdown;
        let plugin_log = Arc::clone(&self.around.log);
        shutdown.spawn("session.output", |_| carry(log, plugin_log, output));
        let writer = Arc::clone(&outbound);
        shutdown.spawn("session.writer", |_| async move { writer.write_queued().await });
        let reader = Reader {
            stream,
            lines: lines.with_limit(message_bytes),
            calls: Arc::clone(&calls),
            outbound: Arc::clone(&outbound),
            log: Arc::clone(&self.around.log),
            requests: Requests::new(
                self.around.host.of_session(),
                Arc::clone(&calls),
                Arc::clone(&outbound),
                shutdown.clone(),
            ),
        };
        shutdown.spawn("session.reader", |_| async move {
            // Nobody waits for the end of a session that failed to start.
            reader_ended.send(reader.run().await).ok();
        });

        on_state(PluginState::Initializing);
        let starting = self.initialize(&calls, &outbound, &mut reader_end, deadline);
        let ready = match self.paced().while_it_starts(starting).await {
            Ok(ready) => ready,
            Err(refused) => {
                let error = self.explain(refused, &mut output_end).await;
                outbound.close();
                return Err(error);
            }
        };
        let (condition, _) = watch::channel(Condition::Running);
        let (removed, _) = watch::channel(false);
        let (stop, stops) = mpsc::channel(1);
        let inner = Arc::new(Inner {
            spec: self.order.spec.clone(),
            sandbox: self.sandbox.clone(),
            report: hello.report,
            ready,
            tools: self.order.tools.clone(),
            host: self.around.host.clone(),
            started_at: self.around.clock.now(),
            outbound,
            calls,
            health: Mutex::default(),
            config_revision: self.order.config_revision.into(),
            rests: AtomicBool::new(false),
            condition,
            removed,
            stop,
        });
        let actor = Actor {
            inner: Arc::clone(&inner),
            around: self.around.clone(),
            limits: self.order.limits,
            hooks: LifeHooks::of(&self.order.methods),
            output_end,
            dir,
            way_out,
        };
        shutdown.spawn("session.actor", |_| actor.run(reader_end, stops));
        Ok(Session(inner))
    }

    fn paced(&self) -> Paced<'_> {
        Paced { engine: self.around.engine.as_ref(), sandbox: &self.sandbox.id, spec: &self.order.spec }
    }

    /// Waits for both connections and the first line. A sandbox that ends before is not waited for.
    async fn connect(&self, dir: &mut InstanceDir, deadline: Instant) -> Result<Connected, LaunchError> {
        let peer = Peer { uid: self.order.spec.uid, pid: self.sandbox.pid };
        let connecting = async {
            let mut host = dir.accept_host(peer).await?;
            let log = dir.accept_log(peer).await?;
            let mut lines = LineBuffer::new(MAX_HELLO_BYTES);
            let line = loop {
                match lines.next_line() {
                    Ok(Some(line)) => break line,
                    Ok(None) if host.read_buf(lines.room()).await? > 0 => {}
                    Ok(None) => return Err(ConnectError::Broken(Violation::new("it hung up before `hello`"))),
                    Err(error) => return Err(ConnectError::Broken(Violation::new(error.to_string()))),
                }
            };
            let hello = read_hello(&line).map_err(ConnectError::Broken)?;
            if !dir.is_nonce(&hello.nonce) {
                return Err(ConnectError::Broken(Violation::new("the nonce is not the one of this session")));
            }
            dir.forget_nonce().map_err(PeerError::from)?;
            Ok(Connected { host, log, lines, hello })
        };
        let engine = &self.around.engine;
        let exited = async {
            match engine.wait(&self.sandbox.id).await {
                Ok(exit) => exit,
                // The engine's silence proves nothing; the deadline decides.
                Err(_) => std::future::pending().await,
            }
        };
        let failure = tokio::select! {
            biased;
            connected = tokio::time::timeout_at(deadline, connecting) => match connected {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => StartFailure::new("wrong-peer", error.to_string(), None),
                Err(_elapsed) => StartFailure::new("never-connected", self.too_late("connect"), None),
            },
            exit = exited => {
                let text = format!("its sandbox ended with exit code {} before it connected", exit.exit_code);
                StartFailure::new("exited", text, Some(exit.exit_code))
            }
        };
        Err(LaunchError::Plugin(Box::new(failure)))
    }

    fn too_late(&self, what: &str) -> String {
        format!("it did not {what} within {} s", self.order.limits.start.as_secs())
    }

    async fn initialize(
        &self,
        calls: &Calls,
        outbound: &Outbound,
        reader_end: &mut oneshot::Receiver<ReaderEnd>,
        deadline: Instant,
    ) -> Result<Ready, Refused> {
        let (id, answer) = calls.insert_own().map_err(|_ended| Refused::Ended)?;
        outbound.send(Outgoing::initialize(id, &self.order.initialize)).map_err(|_no_room| Refused::NotReading)?;
        let answer = tokio::select! {
            biased;
            answer = tokio::time::timeout_at(deadline, answer) => answer,
            end = reader_end => return Err(match end {
                Ok(ReaderEnd::Broken(violation)) => Refused::Broken(violation),
                Ok(ReaderEnd::Closed) | Err(_) => Refused::Ended,
            }),
        };
        let ready = match answer {
            Err(_elapsed) => return Err(Refused::TooLate),
            Ok(Err(_gone)) => return Err(Refused::Ended),
            Ok(Ok(Err(error))) => return Err(Refused::Raised(error)),
            Ok(Ok(Ok(raw))) => Ready::read(&raw).map_err(Refused::Broken)?,
        };
        let lacks =
            |promised: &[String], offered: &[String]| promised.iter().find(|name| !offered.contains(name)).cloned();
        match lacks(&self.order.methods, &ready.methods).or(lacks(&self.order.commands, &ready.commands)) {
            Some(missing) => Err(Refused::Lacks(missing)),
            None => Ok(ready),
        }
    }

    /// Puts together what an author needs to see.
    async fn explain(&mut self, refused: Refused, output: &mut watch::Receiver<OutputEnd>) -> LaunchError {
        // A deaf plugin is not waited for; one that fails ends by itself, and prints why.
        if matches!(refused, Refused::Raised(_)) {
            tokio::time::timeout(LAST_WORDS, output.wait_for(|end| end.closed)).await.ok();
        }
        if let Refused::Raised(RemoteError { data, .. }) = &refused
            && let Some(trace) = &data.trace
        {
            self.around.log.note("ERROR", trace);
        }
        let failure = match refused {
            Refused::Ended => {
                let engine = self.around.engine.as_ref();
                let memory_mb = self.order.spec.limits.memory_mb;
                let end = find_reason(engine, &self.sandbox.id, memory_mb, output).await;
                let is_full = || self.around.data.as_ref().is_some_and(VolumeLease::is_full);
                StartFailure::of_end(end.with_data(is_full))
            }
            Refused::TooLate => StartFailure::new("start-timeout", self.too_late("answer `initialize`"), None),
            Refused::Raised(error) => {
                let exit_code = output.borrow().exit.and_then(|exit| exit.code);
                StartFailure::of_error(&error, exit_code.map(i64::from))
            }
            Refused::Broken(violation) => {
                StartFailure::new("protocol", format!("it broke the protocol: {violation}"), None)
            }
            Refused::Lacks(name) => {
                let text = format!("it does not offer `{name}`, which plugin.yaml declares");
                StartFailure::new("not-offered", text, None)
            }
            Refused::Unpaced(error) => return error.into(),
            Refused::NotReading => StartFailure::new("protocol", "it does not read what it is sent".to_owned(), None),
        };
        let log = &self.around.log;
        let mut failure = failure.told(|text| log.mask_quoted(&log.mask(text)));
        failure.log_tail = tail(&mut self.printed);
        LaunchError::Plugin(Box::new(failure))
    }
}
