-- The audit chain: each row's hash covers the row before it; the head is sealed, so that cut-off rows are missed.
CREATE TABLE audit (
    seq                 INTEGER NOT NULL PRIMARY KEY,
    at                  INTEGER NOT NULL,
    actor               TEXT NOT NULL,
    action              TEXT NOT NULL,
    plugin              TEXT,
    detail              TEXT NOT NULL,
    request_id          TEXT,
    hash                TEXT NOT NULL
) STRICT;

CREATE INDEX audit_by_plugin ON audit (plugin, seq);

CREATE TABLE audit_head (
    one                 INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    seq                 INTEGER NOT NULL,
    hash                TEXT NOT NULL,
    seal                TEXT NOT NULL
) STRICT;
