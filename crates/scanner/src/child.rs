//! The service's side of a worker: starts it, reads what it says, and ends it.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use plugbay_analyze::Scan;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tracing::warn;

use crate::Order;

/// How long a worker has: the reader's own 10 seconds, and what a busy machine adds to start and end. A service that is
/// told to stop waits for it.
const TIME: Duration = Duration::from_secs(15);

/// Bytes of a result. What the reader tells is bounded far below.
const MAX_RESULT: u64 = 8 << 20;

/// Has a worker judge a package.
pub(super) async fn scan(program: &Path, order: &Order) -> io::Result<Scan> {
    let mut child = spawn(program)?;
    let ended = timeout(TIME, exchange(&mut child, order)).await;
    if ended.is_err() {
        // It may have ended this very moment.
        child.kill().await.ok();
    }
    let failure = match ended {
        Ok(Ok((status, text))) if status.success() => match serde_json::from_slice(&text) {
            Ok(scan) => return Ok(scan),
            Err(error) => format!("the reader said what it must not say: {error}"),
        },
        Ok(Ok((status, _))) => format!("the reader ended with {status}"),
        Ok(Err(error)) => format!("the reader ended: {error}"),
        Err(_elapsed) => format!("the reader took more than {} seconds", TIME.as_secs()),
    };
    warn!(package = %order.folder.display(), "A package could not be scanned: {failure}");
    Ok(Scan::failed(&failure))
}

fn spawn(program: &Path) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.arg("scan-worker").env_clear().current_dir("/").kill_on_drop(true);
    // A signal for the service's terminal is no signal for its workers.
    command.process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn()
}

async fn exchange(child: &mut Child, order: &Order) -> io::Result<(ExitStatus, Vec<u8>)> {
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("no pipes"));
    };
    stdin.write_all(&serde_json::to_vec(order)?).await?;
    drop(stdin);
    let mut text = Vec::new();
    stdout.take(MAX_RESULT).read_to_end(&mut text).await?;
    Ok((child.wait().await?, text))
}
