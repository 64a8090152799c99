-- What a secret was set for: how the versions treat it that may have it, as JSON, sealed together with the value. Rows of
-- before have none; the service binds them to the version that serves when it starts.
ALTER TABLE secrets ADD COLUMN policies TEXT;
