-- What reading the code of a version said, as JSON: verdict, the rules by which it was judged, hits. NULL: not read yet.
ALTER TABLE versions ADD COLUMN scan TEXT CHECK (scan IS NULL OR json_valid(scan));
