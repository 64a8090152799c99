-- Risks that administrators accepted by name, for one archive each.
CREATE TABLE accepted_risks (
    plugin_id           TEXT NOT NULL REFERENCES plugins (id) ON DELETE CASCADE,
    digest              TEXT NOT NULL,
    risk                TEXT NOT NULL,
    accepted_by         TEXT NOT NULL,
    label               TEXT NOT NULL,
    accepted_at         INTEGER NOT NULL,
    note                TEXT,
    PRIMARY KEY (plugin_id, digest, risk)
) STRICT;
