//! How a session ended, and how that is found out.

use std::time::Duration;

use tokio::sync::watch;

use super::output::{ExitNote, OutputEnd};
use plugbay_domain::Code;
use plugbay_sandbox::{Sandbox, SandboxExit};

/// Longest time that callers wait for the reason of an end.
const REASON_WAIT: Duration = Duration::from_millis(500);

/// The shim's exit code when memory ran out.
const SHIM_OUT_OF_MEMORY: i64 = 76;

/// The signal for a page that cannot be had.
const SIGBUS: i32 = 7;

/// What ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndCause {
    /// The service stopped it.
    Stopped,
    /// Its process ended.
    Crashed,
    /// It needed more memory than it has.
    OutOfMemory,
    /// It broke the protocol.
    Protocol,
    /// It did not react.
    Unresponsive,
    /// It keeps more in `/data` than it may.
    QuotaExceeded,
}

/// The end of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnd {
    /// What ended it.
    pub cause: EndCause,
    /// The process's exit code, if it is known.
    pub exit_code: Option<i64>,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// One line for people.
    pub text: String,
}

impl EndCause {
    /// The word for it in failures and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Crashed => "crash",
            Self::OutOfMemory => "out-of-memory",
            Self::Protocol => "protocol",
            Self::Unresponsive => "unresponsive",
            Self::QuotaExceeded => "quota-exceeded",
        }
    }

    /// What callers in flight are told.
    pub const fn code(self) -> Code {
        match self {
            Self::Stopped => Code::PluginStopping,
            Self::Crashed => Code::PluginCrashed,
            Self::OutOfMemory => Code::PluginOutOfMemory,
            Self::Protocol => Code::PluginProtocol,
            Self::Unresponsive => Code::PluginUnresponsive,
            Self::QuotaExceeded => Code::QuotaExceeded,
        }
    }
}

impl SessionEnd {
    pub(super) fn stopped() -> Self {
        Self::new(EndCause::Stopped, "it was stopped")
    }

    pub(super) fn new(cause: EndCause, text: impl Into<String>) -> Self {
        Self { cause, exit_code: None, signal: None, text: text.into() }
    }

    fn of_shim(note: ExitNote, memory_mb: u64) -> Self {
        let ExitNote { code, signal, oom } = note;
        if oom {
            return Self { signal, ..Self::out_of_memory(memory_mb) };
        }
        let text = match (code, signal) {
            (_, Some(signal)) => format!("signal {signal}{}", signal_name(signal)),
            (Some(code), None) => format!("exit code {code}"),
            (None, None) => "it ended".to_owned(),
        };
        Self { cause: EndCause::Crashed, exit_code: code.map(i64::from), signal, text }
    }

    fn of_engine(exit: SandboxExit, memory_mb: u64) -> Self {
        let SandboxExit { exit_code, out_of_memory } = exit;
        let signal = i32::try_from(exit_code - 128).ok().filter(|signal| (1..=64).contains(signal));
        if exit_code == SHIM_OUT_OF_MEMORY || (out_of_memory && signal == Some(9)) {
            return Self { exit_code: Some(exit_code), ..Self::out_of_memory(memory_mb) };
        }
        match signal {
            Some(signal) => {
                let text = format!("its sandbox was ended by signal {signal}{}", signal_name(signal));
                Self { signal: Some(signal), ..Self::new(EndCause::Crashed, text) }
            }
            None => {
                Self { exit_code: Some(exit_code), ..Self::new(EndCause::Crashed, format!("exit code {exit_code}")) }
            }
        }
    }

    /// Says what a mapped file of a full volume ends with, which nobody would guess.
    pub(super) fn with_data(self, is_full: impl FnOnce() -> bool) -> Self {
        if self.signal != Some(SIGBUS) || !is_full() {
            return self;
        }
        Self { text: format!("{}: /data is full", self.text), ..self }
    }

    fn out_of_memory(memory_mb: u64) -> Self {
        Self::new(EndCause::OutOfMemory, format!("it needed more than its {memory_mb} MiB of memory"))
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        31 => " (SIGSYS: a system call of another ABI)",
        _ => "",
    }
}

/// The end of a sandbox that ended before it could be looked at.
pub(super) fn reason_of(exit: SandboxExit, note: Option<ExitNote>, memory_mb: u64) -> SessionEnd {
    note.map_or_else(|| SessionEnd::of_engine(exit, memory_mb), |note| SessionEnd::of_shim(note, memory_mb))
}

/// Finds out why the connection of a plugin closed: from the shim's last word, else from the engine.
pub(super) async fn find_reason(
    engine: &dyn Sandbox,
    sandbox: &str,
    memory_mb: u64,
    output: &mut watch::Receiver<OutputEnd>,
) -> SessionEnd {
    let looking = async {
        let noted = output.wait_for(|end| end.closed || end.exit.is_some()).await;
        if let Some(note) = noted.ok().and_then(|end| end.exit) {
            return Some(SessionEnd::of_shim(note, memory_mb));
        }
        Some(SessionEnd::of_engine(engine.wait(sandbox).await.ok()?, memory_mb))
    };
    let found = tokio::time::timeout(REASON_WAIT, looking).await.ok().flatten();
    found.unwrap_or_else(|| SessionEnd::new(EndCause::Crashed, "it closed its connection"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shims_word_goes_before_the_engines() {
        let note = ExitNote { code: Some(3), signal: None, oom: false };
        let end = SessionEnd::of_shim(note, 64);
        assert_eq!((end.cause, end.exit_code, end.text.as_str()), (EndCause::Crashed, Some(3), "exit code 3"));
        let end = SessionEnd::of_shim(ExitNote { code: None, signal: Some(9), oom: true }, 64);
        assert_eq!((end.cause, end.text.as_str()), (EndCause::OutOfMemory, "it needed more than its 64 MiB of memory"));
    }

    #[test]
    fn a_full_volume_is_told_to_whom_it_ended() {
        let end = |signal| SessionEnd::of_shim(ExitNote { code: None, signal: Some(signal), oom: false }, 64);
        assert_eq!(end(7).with_data(|| true).text, "signal 7 (SIGBUS): /data is full");
        assert_eq!(end(7).with_data(|| false).text, "signal 7 (SIGBUS)");
        assert_eq!(end(11).with_data(|| true).text, "signal 11 (SIGSEGV)");
    }

    #[test]
    fn a_killed_child_does_not_make_an_ordinary_end_one_for_lack_of_memory() {
        let end = SessionEnd::of_engine(SandboxExit { exit_code: 9, out_of_memory: true }, 64);
        assert_eq!((end.cause, end.exit_code), (EndCause::Crashed, Some(9)));
        let end = SessionEnd::of_engine(SandboxExit { exit_code: 137, out_of_memory: true }, 64);
        assert_eq!(end.cause, EndCause::OutOfMemory);
        let end = SessionEnd::of_engine(SandboxExit { exit_code: 137, out_of_memory: false }, 64);
        assert_eq!((end.cause, end.signal), (EndCause::Crashed, Some(9)));
    }
}
