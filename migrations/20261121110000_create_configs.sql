-- What operators set for plugins: plain values as JSON, secrets sealed one by one. Both are gone with their plugin.
CREATE TABLE configs (
    plugin_id           TEXT NOT NULL PRIMARY KEY REFERENCES plugins (id) ON DELETE CASCADE,
    revision            INTEGER NOT NULL CHECK (revision > 0),
    fields              TEXT NOT NULL
) STRICT;

CREATE TABLE secrets (
    plugin_id           TEXT NOT NULL REFERENCES plugins (id) ON DELETE CASCADE,
    field               TEXT NOT NULL,
    revision            INTEGER NOT NULL CHECK (revision > 0),
    nonce               BLOB NOT NULL CHECK (length(nonce) = 24),
    sealed              BLOB NOT NULL CHECK (length(sealed) >= 16),
    PRIMARY KEY (plugin_id, field)
) STRICT;

-- A known text under the key that seals: another master.key is told from a changed row by it.
CREATE TABLE sealing_check (
    one                 INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    nonce               BLOB NOT NULL CHECK (length(nonce) = 24),
    sealed              BLOB NOT NULL
) STRICT;

-- What a waiting version waits for: an administrator, or a configuration that it accepts.
ALTER TABLE plugins ADD COLUMN pending_for TEXT NOT NULL DEFAULT 'approval' CHECK (pending_for IN ('approval', 'config'));
