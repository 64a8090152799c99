//! What a run came to.

use std::time::Duration;

use serde_json::{Value, json};

/// Times of single exchanges within one run.
#[derive(Default)]
pub(crate) struct Measured {
    nanos: Vec<u64>,
}

impl Measured {
    pub(crate) fn add(&mut self, took: Duration) {
        self.nanos.push(u64::try_from(took.as_nanos()).unwrap());
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.nanos.extend(other.nanos);
    }

    /// Prints count, rate and quantiles.
    pub(crate) fn print(&self, whole: Duration) {
        println!("{}", self.figures(whole));
    }

    /// Prints them with those of what was refused.
    pub(crate) fn print_beside(&self, refused: &Self, whole: Duration) {
        println!("{}", json!({"good": self.figures(whole), "refused": refused.figures(whole)}));
    }

    fn figures(&self, whole: Duration) -> Value {
        let mut nanos = self.nanos.clone();
        nanos.sort_unstable();
        let at = |per_mille: usize| {
            let index = (nanos.len() * per_mille / 1000).min(nanos.len().saturating_sub(1));
            Duration::from_nanos(nanos.get(index).copied().unwrap_or_default()).as_secs_f64() * 1e6
        };
        let count = nanos.len();
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        let per_second = count as f64 / whole.as_secs_f64();
        json!({"count": count, "per_second": per_second, "p50_us": at(500), "p99_us": at(990), "max_us": at(1000)})
    }
}
