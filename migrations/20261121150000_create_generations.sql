-- What a plugin keeps is counted in generations. An update works on a copy, the next generation; one row says which is the
-- plugin's own, so that code, data and small values change together or not at all.
ALTER TABLE plugins ADD COLUMN generation INTEGER NOT NULL DEFAULT 0 CHECK (generation >= 0);

-- What became of the last update, as JSON.
ALTER TABLE plugins ADD COLUMN last_update TEXT;

ALTER TABLE versions ADD COLUMN last_served_at INTEGER;
UPDATE versions SET last_served_at = installed_at WHERE served = 1;

ALTER TABLE kept_data ADD COLUMN generation INTEGER NOT NULL DEFAULT 0 CHECK (generation >= 0);

-- What a plugin kept when the version that serves took over.
CREATE TABLE snapshots (
    plugin_id           TEXT NOT NULL PRIMARY KEY REFERENCES plugins (id) ON DELETE CASCADE,
    generation          INTEGER NOT NULL CHECK (generation >= 0),
    version             TEXT NOT NULL,
    taken_at            INTEGER NOT NULL
) STRICT;

CREATE TABLE kv_of_generations (
    plugin_id           TEXT NOT NULL,
    generation          INTEGER NOT NULL CHECK (generation >= 0),
    key                 TEXT NOT NULL,
    value               TEXT NOT NULL,
    expires_at          INTEGER,
    PRIMARY KEY (plugin_id, generation, key)
) STRICT, WITHOUT ROWID;

INSERT INTO kv_of_generations (plugin_id, generation, key, value, expires_at)
SELECT plugin_id, 0, key, value, expires_at FROM kv;

DROP TABLE kv;
ALTER TABLE kv_of_generations RENAME TO kv;
