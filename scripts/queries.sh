#!/usr/bin/env bash
# Checks every SQL query against a freshly migrated database and writes .sqlx/, from which plain builds read.
#   scripts/queries.sh          rewrite .sqlx/
#   scripts/queries.sh --check  fail if .sqlx/ is not what the queries need
set -euo pipefail
cd "$(dirname "$0")/.."

work="$PWD/target/queries"
rm -rf "$work" && mkdir -p "$work/sqlx"
python3 - "$work/plugbay.db" <<'PYTHON'
import pathlib, sqlite3, sys
with sqlite3.connect(sys.argv[1]) as database:
    for migration in sorted(pathlib.Path("migrations").glob("*.sql")):
        database.executescript(migration.read_text())
PYTHON

# The macros run again only when the file they stand in is compiled again.
touch crates/store/src/lib.rs
DATABASE_URL="sqlite://$work/plugbay.db" SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$work/sqlx" \
    cargo check --quiet --package plugbay-store --lib

if [ "${1:-}" = --check ]; then
    diff -r "$work/sqlx" .sqlx || { echo "error: .sqlx/ is stale; run scripts/queries.sh" >&2; exit 1; }
else
    rm -rf .sqlx && cp -r "$work/sqlx" .sqlx
fi
