-- What uninstalled plugins left: whose it was, and what becomes of it. Rows go when their files have gone or moved on.
CREATE TABLE kept_data (
    plugin_id           TEXT NOT NULL PRIMARY KEY,
    name                TEXT NOT NULL,
    key_id              TEXT,
    kept_at             INTEGER NOT NULL,
    fate                TEXT NOT NULL CHECK (fate IN ('kept', 'attached', 'purged')),
    attached_to         TEXT UNIQUE,
    CHECK ((fate = 'attached') = (attached_to IS NOT NULL))
) STRICT;

CREATE INDEX kept_data_by_name ON kept_data (name, kept_at);
