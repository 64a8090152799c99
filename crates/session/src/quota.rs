//! Holds a session to the limit of a volume that has none of its own, and gives volumes back.

use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use plugbay_sandbox::{DataQuota, Measured, VolumeLease};

/// How often a volume is measured.
const PERIOD: Duration = Duration::from_secs(1);

/// A measurement that takes long is made less often: it may take one part in so many of the time.
const SHARE: u32 = 10;

/// Measures a volume with a soft quota.
#[derive(Debug)]
pub(super) struct QuotaWatch {
    data: Option<VolumeLease>,
    next: Instant,
    measuring: Option<(Instant, JoinHandle<Measured>)>,
}

impl QuotaWatch {
    pub(super) fn new(data: Option<VolumeLease>) -> Self {
        let data = data.filter(|data| data.mount().quota == DataQuota::Soft);
        Self { data, next: Instant::now() + PERIOD, measuring: None }
    }

    /// Completes with what is too much, once it is. Dropped before, it goes on where it was.
    pub(super) async fn exceeded(&mut self) -> String {
        let Some(data) = &self.data else { return std::future::pending().await };
        loop {
            let Some((began, measuring)) = &mut self.measuring else {
                tokio::time::sleep_until(self.next).await;
                let data = data.clone();
                self.measuring = Some((Instant::now(), spawn_blocking(move || data.measure())));
                continue;
            };
            let measured = measuring.await;
            self.next = Instant::now() + PERIOD.max(began.elapsed() * SHARE);
            self.measuring = None;
            if let Ok(Measured::Beyond { what, .. }) = measured {
                return format!("{} MiB of /data are allowed, and {what}", data.data_mb());
            }
        }
    }
}

/// Gives a volume back on a thread that may wait for the disk.
pub(super) async fn give_back(data: Option<VolumeLease>) {
    if let Some(data) = data {
        // A panic there was reported there.
        spawn_blocking(move || data.give_back()).await.ok();
    }
}
