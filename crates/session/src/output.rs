//! What a plugin prints, as the shim passes it on, and the shim's last word on how the plugin ended.

use std::sync::Arc;

use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::PluginLog;
use plugbay_protocol::LineBuffer;

/// Bytes of one line from the shim, which cuts texts well below.
const MAX_LINE_BYTES: usize = 256 * 1024;

/// How the plugin ended, as the shim saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ExitNote {
    /// Its exit code.
    #[serde(default)]
    pub(super) code: Option<i32>,
    /// The signal that killed it.
    #[serde(default)]
    pub(super) signal: Option<i32>,
    /// Whether that was for lack of memory.
    #[serde(default)]
    pub(super) oom: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Text {
        stream: String,
        text: String,
        /// The line was longer.
        #[serde(default)]
        cut: bool,
    },
    Dropped {
        dropped: u64,
    },
    Exit {
        exit: ExitNote,
    },
}

/// What is known of the end so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OutputEnd {
    /// The shim's last line, if it came.
    pub(super) exit: Option<ExitNote>,
    /// Whether nothing more will come.
    pub(super) closed: bool,
}

/// Reads until the shim has gone. Never refuses a line: what cannot be read is worth less than what can.
pub(super) async fn carry(mut stream: UnixStream, log: Arc<PluginLog>, end: watch::Sender<OutputEnd>) {
    let mut lines = LineBuffer::new(MAX_LINE_BYTES);
    while let Ok(1..) = stream.read_buf(lines.room()).await {
        loop {
            match lines.next_line() {
                Ok(Some(line)) => take(&line, &log, &end),
                Ok(None) => break,
                Err(_too_long) => {
                    log.note("ERROR", "output of the plugin could not be read; no more of it is kept");
                    end.send_modify(|end| end.closed = true);
                    return;
                }
            }
        }
    }
    end.send_modify(|end| end.closed = true);
}

fn take(line: &[u8], log: &PluginLog, end: &watch::Sender<OutputEnd>) {
    match serde_json::from_slice(line) {
        Ok(Line::Text { stream, text, cut: true }) => log.add_cut(&stream, &text),
        Ok(Line::Text { stream, text, cut: false }) => log.add(&stream, None, &text, None),
        Ok(Line::Dropped { dropped }) => {
            log.note("WARNING", &format!("{dropped} lines were dropped: they came too fast"));
        }
        Ok(Line::Exit { exit }) => end.send_modify(|end| end.exit = Some(exit)),
        Err(_) => log.note("WARNING", "a line of output could not be read"),
    }
}
