//! What plugins may ask for at most.

use plugbay_domain::{Manifest, ResourceRequest};
use plugbay_fleet::order;

use crate::{Service, ServiceError};

/// Refuses limits above the ceiling, which may have been lowered since the install.
pub(crate) fn check_ceiling(service: &Service, manifest: &Manifest, set: ResourceRequest) -> Result<(), ServiceError> {
    let mut fields = order::limits_of(&service.fleet, manifest, set).above(&service.config.sandbox.ceiling);
    let least = |field: &str, value: Option<f64>, least: f64| {
        let low = value.filter(|value| *value < least)?;
        let message = format!("{low} is below {least}");
        Some(plugbay_domain::FieldError::at(format!("/resources/{field}"), message))
    };
    let whole = |value: Option<u64>| value.map(|value| u32::try_from(value).map_or(f64::MAX, f64::from));
    fields.extend(
        [
            least("memory_mb", whole(set.memory_mb), 6.0),
            least("cpus", set.cpus, 0.01),
            least("cpu_shares", whole(set.cpu_shares), 2.0),
            least("pids", whole(set.pids), 1.0),
            least("tmp_mb", whole(set.tmp_mb), 1.0),
            least("data_mb", whole(set.data_mb), 1.0),
            least("timeout_seconds", whole(set.timeout_seconds), 1.0),
            least("max_concurrency", whole(set.max_concurrency), 1.0),
            least("max_streams", whole(set.max_streams), 1.0),
        ]
        .into_iter()
        .flatten(),
    );
    if fields.is_empty() { Ok(()) } else { Err(ServiceError::LimitsExceedCeiling { fields }) }
}
