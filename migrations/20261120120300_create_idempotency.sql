-- Answers already given to a request that carried an Idempotency-Key.
CREATE TABLE idempotency (
    token_id            TEXT NOT NULL,
    route               TEXT NOT NULL,
    key                 TEXT NOT NULL,
    fingerprint         TEXT NOT NULL,
    status              INTEGER NOT NULL,
    body                TEXT NOT NULL,
    created_at          INTEGER NOT NULL,
    PRIMARY KEY (token_id, route, key)
) STRICT;
