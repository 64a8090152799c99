-- Signing keys the operator trusts, and the tokens callers hold.
CREATE TABLE keys (
    key_id              TEXT NOT NULL PRIMARY KEY,
    public_key          TEXT NOT NULL,
    label               TEXT NOT NULL,
    names               TEXT NOT NULL,
    not_before          INTEGER,
    not_after           INTEGER,
    revoked_at          INTEGER,
    reason              TEXT,
    added_at            INTEGER NOT NULL
) STRICT;

CREATE TABLE tokens (
    id                  TEXT NOT NULL PRIMARY KEY,
    secret_sha256       TEXT NOT NULL UNIQUE,
    label               TEXT NOT NULL,
    scopes              TEXT NOT NULL,
    plugins             TEXT,
    created_at          INTEGER NOT NULL,
    expires_at          INTEGER,
    last_used_at        INTEGER,
    revoked_at          INTEGER
) STRICT;
