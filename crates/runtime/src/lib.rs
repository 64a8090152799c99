//! What every part of the service uses: tasks and their end, counters, refusals.

pub mod denials;
pub mod metrics;
pub mod shutdown;
