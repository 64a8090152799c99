-- Each row of the audit log lists the rows of other tables that its action wrote, with their hashes, as JSON: what is in the
-- database is compared with what the log says was put there. Rows from before have none.
ALTER TABLE audit ADD COLUMN changes TEXT;
