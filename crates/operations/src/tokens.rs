//! Tokens: made once, shown once, looked up in memory on every request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use plugbay_domain::{Digest, NamePattern, RequestRate, Scope, ScopeSet, Timestamp, TokenId, ToolPattern, escape};
use plugbay_registry::{Actor, Caller};
use plugbay_store as store;
use plugbay_store::tokens::TokenRecord;
use plugbay_store::{Store, StoreError};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{Service, ServiceError};

/// What every token begins with, so that leaked ones are found by searching.
const PREFIX: &str = "pbt_";

/// Base62 digits that hold 32 bytes.
const DIGITS: usize = 43;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a new token shall be.
#[derive(Clone, Debug)]
pub struct NewTokenRequest {
    /// The operator's name for it.
    pub label: String,
    /// What it allows.
    pub scopes: ScopeSet,
    /// The plugins it is for.
    pub plugins: Option<Vec<NamePattern>>,
    /// The tools it is for; every method when absent.
    pub tools: Option<Vec<ToolPattern>>,
    /// It may only call tools that change nothing.
    pub read_only: bool,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Its requests per second; as configured when absent.
    pub rate: Option<RequestRate>,
}

/// Every token that was ever made, by the hash of its secret.
#[derive(Debug, Default)]
pub struct TokenBook(RwLock<HashMap<Digest, Arc<Held>>>);

#[derive(Debug)]
struct Held {
    record: TokenRecord,
    last_used: AtomicI64,
}

impl TokenBook {
    /// Reads all tokens.
    pub(crate) async fn load(store: &Store) -> Result<Self, StoreError> {
        let records = store::tokens::list(&mut *store.reader().await?).await?;
        let book = Self::default();
        for record in records {
            book.put(record);
        }
        Ok(book)
    }

    fn put(&self, record: TokenRecord) {
        let last_used = AtomicI64::new(record.last_used_at.map_or(0, Timestamp::as_millis));
        let mut book = self.0.write().unwrap_or_else(PoisonError::into_inner);
        book.insert(record.secret, Arc::new(Held { record, last_used }));
    }

    /// Finds the holder of a secret. Unknown, expired and revoked ones get the same answer.
    pub fn authenticate(&self, secret: &str, request_id: &str, now: Timestamp) -> Result<Caller, ServiceError> {
        let book = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // Looking up by hash leaks nothing about the secret through timing.
        let held = book.get(&hash(secret)).ok_or(ServiceError::TokenInvalid)?;
        let expired = held.record.expires_at.is_some_and(|end| end <= now);
        if expired || held.record.revoked_at.is_some() {
            return Err(ServiceError::TokenInvalid);
        }
        held.last_used.store(now.as_millis(), Ordering::Relaxed);
        Ok(Caller {
            token: held.record.id,
            scopes: held.record.scopes.clone(),
            plugins: held.record.plugins.clone(),
            tools: held.record.tools.clone(),
            read_only: held.record.read_only,
            rate: held.record.rate,
            request_id: request_id.to_owned(),
        })
    }

    /// The operator's name for a token.
    pub(crate) fn label_of(&self, id: TokenId) -> Option<String> {
        let book = self.0.read().unwrap_or_else(PoisonError::into_inner);
        book.values().find(|held| held.record.id == id).map(|held| held.record.label.clone())
    }

    /// When each token was last used, to the minute, where that is later than what is stored.
    fn uses_to_store(&self) -> Vec<(TokenId, Timestamp)> {
        let book = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let minute = |millis: i64| millis - millis.rem_euclid(60_000);
        book.values()
            .filter_map(|held| {
                let used = minute(held.last_used.load(Ordering::Relaxed));
                let stored = held.record.last_used_at.map_or(0, |time| minute(time.as_millis()));
                (used > stored).then(|| Timestamp::from_millis(used).map(|used| (held.record.id, used))).flatten()
            })
            .collect()
    }
}

/// Draws a new secret.
pub(crate) fn draw_secret() -> Result<String, ServiceError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| ServiceError::File {
        action: "draw random bytes".to_owned(),
        source: std::io::Error::other(error),
    })?;
    Ok(format!("{PREFIX}{}", base62(bytes)))
}

/// Writes 256 bits as 43 digits of base 62.
fn base62(mut number: [u8; 32]) -> String {
    let mut digits = [0; DIGITS];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0_usize;
        for byte in &mut number {
            let value = remainder << 8 | usize::from(*byte);
            *byte = u8::try_from(value / 62).expect("the remainder is below 62, so the quotient is below 256");
            remainder = value % 62;
        }
        *digit = ALPHABET[remainder];
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

pub(crate) fn hash(secret: &str) -> Digest {
    Digest::from_bytes(Sha256::digest(secret.as_bytes()).into())
}

/// Makes the first token if none was ever made, and writes it into the data directory.
pub(crate) async fn ensure_first_token(service: &Service) -> Result<(), ServiceError> {
    if !store::tokens::list(&mut *service.store.reader().await?).await?.is_empty() {
        return Ok(());
    }
    let secret = draw_secret()?;
    // The file comes first: a token in the database that nobody knows could not be replaced.
    service.data.write_admin_token(&secret)?;
    let scopes = ScopeSet::new([Scope::Admin]).expect("one scope is not none");
    let label = "first token".to_owned();
    let request =
        NewTokenRequest { label, scopes, plugins: None, tools: None, read_only: false, expires_at: None, rate: None };
    store_token(service, Actor::Service, &secret, request).await?;
    service.is_new.store(true, Ordering::Release);
    Ok(())
}

/// Makes a token; its secret is returned once and kept nowhere.
pub async fn create_token(
    service: &Service,
    caller: &Caller,
    request: NewTokenRequest,
) -> Result<(String, TokenRecord), ServiceError> {
    let secret = draw_secret()?;
    let record = store_token(service, caller.into(), &secret, request).await?;
    Ok((secret, record))
}

async fn store_token(
    service: &Service,
    actor: Actor,
    secret: &str,
    request: NewTokenRequest,
) -> Result<TokenRecord, ServiceError> {
    let record = TokenRecord {
        id: TokenId::generate(),
        secret: hash(secret),
        label: request.label,
        scopes: request.scopes,
        plugins: request.plugins,
        tools: request.tools,
        read_only: request.read_only,
        rate: request.rate,
        created_at: service.now(),
        expires_at: request.expires_at,
        last_used_at: None,
        revoked_at: None,
    };
    let rate = record.rate.map(RequestRate::get);
    let detail = json!({
        "token": record.id,
        "label": record.label,
        "scopes": record.scopes.as_slice(),
        "tools": record.tools,
        "read_only": record.read_only,
        "rate": rate,
    });
    let mut tx = service.store.begin().await?;
    store::tokens::insert(&mut tx, &record).await?;
    service.registry.commit(tx, actor, "token.created", None, detail).await?;
    service.tokens.put(record.clone());
    Ok(record)
}

/// Every token, revoked ones included.
pub async fn list_tokens(service: &Service) -> Result<Vec<TokenRecord>, ServiceError> {
    note_token_uses(service).await?;
    Ok(store::tokens::list(&mut *service.store.reader().await?).await?)
}

/// Ends a token at once. The last one that can make tokens stays.
pub async fn revoke_token(service: &Service, caller: &Caller, wanted: &str) -> Result<TokenRecord, ServiceError> {
    let unknown = || ServiceError::TokenUnknown { wanted: escape(wanted) };
    let id: TokenId = wanted.parse().map_err(|_not_an_id| unknown())?;
    // Once it is revoked nobody asks when it was last used but those who investigate.
    note_token_uses(service).await?;
    let mut tx = service.store.begin().await?;
    let tokens = store::tokens::list(&mut tx).await?;
    let token = tokens.iter().find(|token| token.id == id).ok_or_else(unknown)?;
    let now = service.now();
    let can_administrate = |token: &&TokenRecord| {
        token.scopes.allows(Scope::Admin)
            && token.plugins.is_none()
            && token.revoked_at.is_none()
            && token.expires_at.is_none_or(|end| end > now)
    };
    if can_administrate(&token) && tokens.iter().filter(can_administrate).count() == 1 {
        return Err(ServiceError::LastAdmin { id });
    }
    let mut revoked = token.clone();
    if revoked.revoked_at.is_none() {
        revoked.revoked_at = Some(now);
        store::tokens::revoke(&mut tx, id, now).await?;
        let detail = json!({"token": id, "label": revoked.label});
        service.registry.commit(tx, caller, "token.revoked", None, detail).await?;
        service.tokens.put(revoked.clone());
    }
    Ok(revoked)
}

/// Stores when tokens were last used; called now and then, so that no request waits for it.
pub(crate) async fn note_token_uses(service: &Service) -> Result<(), ServiceError> {
    let uses = service.tokens.uses_to_store();
    if uses.is_empty() {
        return Ok(());
    }
    let mut tx = service.store.begin().await?;
    for (id, used_at) in &uses {
        store::tokens::touch(&mut tx, *id, *used_at).await?;
    }
    tx.commit().await?;
    for record in store::tokens::list(&mut *service.store.reader().await?).await? {
        if uses.iter().any(|(id, _)| *id == record.id) {
            service.tokens.put_used(record);
        }
    }
    Ok(())
}

impl TokenBook {
    /// Replaces a record without losing a use that came in between.
    fn put_used(&self, record: TokenRecord) {
        let mut book = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let last_used = book.get(&record.secret).map_or(0, |held| held.last_used.load(Ordering::Relaxed));
        book.insert(record.secret, Arc::new(Held { record, last_used: AtomicI64::new(last_used) }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base62_writes_the_whole_range_in_43_digits() {
        assert_eq!(base62([0; 32]), "0".repeat(DIGITS));
        let mut sixty_two = [0; 32];
        sixty_two[31] = 62;
        assert!(base62(sixty_two).ends_with("10"));
        // 2^256 - 1 in base 62.
        assert_eq!(base62([0xff; 32]).len(), DIGITS);
        assert_ne!(base62([0xff; 32]), base62([0xfe; 32]));
    }
}
