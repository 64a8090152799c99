-- Small values that plugins keep. Not tied to the plugin's row: they outlive an uninstall that keeps data.
CREATE TABLE kv (
    plugin_id           TEXT NOT NULL,
    key                 TEXT NOT NULL,
    value               TEXT NOT NULL,
    expires_at          INTEGER,
    PRIMARY KEY (plugin_id, key)
) STRICT, WITHOUT ROWID;
