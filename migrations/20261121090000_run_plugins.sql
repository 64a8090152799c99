-- What running plugins need beyond their record: the operator's limits, when they were last called, their users.
ALTER TABLE plugins ADD COLUMN limits TEXT;
ALTER TABLE plugins ADD COLUMN last_called_at INTEGER;

-- A user belongs to a plugin as long as files of that user may lie in its volume, also after an uninstall.
CREATE TABLE sandbox_users (
    number              INTEGER NOT NULL PRIMARY KEY CHECK (number > 0),
    plugin_id           TEXT NOT NULL UNIQUE
) STRICT;
