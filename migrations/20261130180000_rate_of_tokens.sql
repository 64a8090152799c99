-- A token may have its own number of requests per second; 0 is no limit. Rows without one go by the setting
-- `server.requests_per_second`.
ALTER TABLE tokens ADD COLUMN rate INTEGER CHECK (rate IS NULL OR rate BETWEEN 0 AND 1000000);
