-- What administrators decided about permissions: one row for each decision, kept when it has ended, gone with its plugin.
CREATE TABLE grants (
    id                  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    plugin_id           TEXT NOT NULL REFERENCES plugins (id) ON DELETE CASCADE,
    digest              TEXT NOT NULL,
    permission          TEXT NOT NULL,
    scope               TEXT NOT NULL,
    decision            TEXT NOT NULL CHECK (decision IN ('granted', 'denied')),
    decided_by          TEXT NOT NULL,
    label               TEXT NOT NULL,
    decided_at          INTEGER NOT NULL,
    note                TEXT,
    expires_at          INTEGER,
    carried_from        TEXT,
    warned_at           INTEGER,
    ended_at            INTEGER,
    ended_by            TEXT,
    ended_reason        TEXT CHECK (ended_reason IN ('revoked', 'expired', 'replaced', 'superseded')),
    ended_note          TEXT,
    CHECK ((ended_at IS NULL) = (ended_reason IS NULL) AND (ended_at IS NULL) = (ended_by IS NULL))
) STRICT;

CREATE INDEX grants_by_plugin ON grants (plugin_id, ended_at);
