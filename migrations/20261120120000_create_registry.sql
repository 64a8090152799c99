-- Plugins, their versions, and the highest version a name has ever served.
CREATE TABLE plugins (
    id                  TEXT NOT NULL PRIMARY KEY,
    name                TEXT NOT NULL UNIQUE,
    status              TEXT NOT NULL CHECK (status IN ('installed', 'enabled', 'disabled')),
    serving             TEXT NOT NULL,
    pending             TEXT,
    signer_changed      INTEGER NOT NULL DEFAULT 0 CHECK (signer_changed IN (0, 1)),
    quarantine_reason   TEXT,
    quarantined_at      INTEGER,
    installed_at        INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    CHECK ((quarantine_reason IS NULL) = (quarantined_at IS NULL))
) STRICT;

CREATE TABLE versions (
    plugin_id           TEXT NOT NULL REFERENCES plugins (id) ON DELETE CASCADE,
    version             TEXT NOT NULL,
    digest              TEXT NOT NULL,
    manifest            TEXT NOT NULL,
    default_config      TEXT,
    files               TEXT NOT NULL,
    signature_status    TEXT NOT NULL CHECK (signature_status IN ('valid', 'unsigned', 'untrusted')),
    key_id              TEXT,
    signature           TEXT,
    archive_bytes       INTEGER NOT NULL,
    served              INTEGER NOT NULL CHECK (served IN (0, 1)),
    installed_at        INTEGER NOT NULL,
    PRIMARY KEY (plugin_id, version),
    CHECK ((signature_status = 'unsigned') = (key_id IS NULL))
) STRICT;

CREATE INDEX versions_by_digest ON versions (digest);

-- Outlives an uninstall, so that removing a plugin does not open the way to an older one.
CREATE TABLE floors (
    name                TEXT NOT NULL PRIMARY KEY,
    version             TEXT NOT NULL,
    ever_signed         INTEGER NOT NULL CHECK (ever_signed IN (0, 1))
) STRICT;
