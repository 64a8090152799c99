//! How many exchanges go on at once, and how many bytes of requests are held for them. A token has half of both at most, so
//! that one caller leaves room for another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plugbay_config::ChatConfig;
use plugbay_domain::{Code, TokenId};

use crate::problem::Problem;

/// What is under way.
#[derive(Debug)]
pub(crate) struct Intake {
    most: Load,
    under_way: Mutex<HashMap<TokenId, Load>>,
}

/// Exchanges, and bytes of their requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    exchanges: usize,
    bytes: usize,
}

/// A place for one exchange, until it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    intake: Arc<Intake>,
    token: TokenId,
    bytes: usize,
}

impl Load {
    fn with(self, bytes: usize) -> Self {
        Self { exchanges: self.exchanges + 1, bytes: self.bytes.saturating_add(bytes) }
    }

    fn is_within(self, most: Self) -> bool {
        self.exchanges <= most.exchanges && self.bytes <= most.bytes
    }
}

impl Intake {
    pub(crate) fn new(config: &ChatConfig) -> Self {
        // The largest request fits in any case.
        let bytes = config.held_bytes.max(2 * config.request_bytes);
        Self { most: Load { exchanges: config.exchanges_at_once, bytes }, under_way: Mutex::default() }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<TokenId, Load>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an exchange in whose request has so many bytes.
    pub(crate) fn admit(self: &Arc<Self>, token: TokenId, bytes: usize) -> Result<Admitted, Problem> {
        let mut under_way = self.under_way();
        let of_all = under_way.values().fold(Load::default(), |all, own| Load {
            exchanges: all.exchanges + own.exchanges,
            bytes: all.bytes + own.bytes,
        });
        let own = under_way.get(&token).copied().unwrap_or_default().with(bytes);
        let share = Load { exchanges: self.most.exchanges.div_ceil(2), bytes: self.most.bytes / 2 };
        let (limit, whose) = if !own.is_within(share) {
            (share, "of this token")
        } else if !of_all.with(bytes).is_within(self.most) {
            (self.most, "of all tokens")
        } else {
            under_way.insert(token, own);
            return Ok(Admitted { intake: Arc::clone(self), token, bytes });
        };
        let detail =
            format!("{} exchanges, or {} bytes of requests, {whose} are under way", limit.exchanges, limit.bytes);
        Err(Problem::new(Code::ChatBusy, detail).retry_after(None))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut under_way = self.intake.under_way();
        if let Some(own) = under_way.get_mut(&self.token) {
            own.exchanges -= 1;
            own.bytes -= self.bytes;
            if own.exchanges == 0 {
                under_way.remove(&self.token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intake(exchanges: usize, bytes: usize) -> Arc<Intake> {
        Arc::new(Intake { most: Load { exchanges, bytes }, under_way: Mutex::default() })
    }

    #[test]
    fn one_token_leaves_room_for_another() {
        let (intake, one, other) = (intake(4, 100), TokenId::generate(), TokenId::generate());
        let first: Vec<_> = (0..2).map(|_| intake.admit(one, 10).unwrap()).collect();
        assert_eq!(intake.admit(one, 0).unwrap_err().code(), Code::ChatBusy);
        let second: Vec<_> = (0..2).map(|_| intake.admit(other, 10).unwrap()).collect();
        assert!(intake.admit(TokenId::generate(), 0).unwrap_err().detail().contains("of all tokens"));
        drop(first);
        assert!(intake.admit(one, 50).is_ok() && intake.admit(one, 51).is_err());
        drop(second);
        assert!(intake.under_way().is_empty());
    }
}
