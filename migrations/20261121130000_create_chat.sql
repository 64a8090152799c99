-- Conversations and their messages, which hooks and commands of plugins see.
CREATE TABLE conversations (
    seq                 INTEGER PRIMARY KEY AUTOINCREMENT,
    id                  TEXT NOT NULL UNIQUE,
    title               TEXT,
    created_at          INTEGER NOT NULL,
    used_at             INTEGER NOT NULL
) STRICT;

CREATE TABLE messages (
    seq                 INTEGER PRIMARY KEY AUTOINCREMENT,
    id                  TEXT NOT NULL UNIQUE,
    conversation_id     TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    -- A message is held while a hook may still refuse it; nobody sees it until then.
    held                INTEGER NOT NULL CHECK (held IN (0, 1)),
    at                  INTEGER NOT NULL,
    text                TEXT NOT NULL,
    user                TEXT,
    channel             TEXT,
    -- The plugin that wrote it; else somebody outside did.
    plugin              TEXT CHECK (plugin IS NULL OR (user IS NULL AND channel IS NULL AND file IS NULL)),
    -- Name, media type, size and hash as JSON; the content is not kept.
    file                TEXT
) STRICT;

CREATE INDEX messages_of_conversation ON messages (conversation_id, seq);
