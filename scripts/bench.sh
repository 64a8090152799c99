#!/usr/bin/env bash
# Measures plugbay on this machine and shows the numbers beside their goals.
#
#   scripts/bench.sh install [--judge] [--record]
#
# Builds the release binary first; PLUGBAY_BIN names another. --judge: exit code 1 if a goal is missed. --record: also
# write the table into benches/RESULTS.md.
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-} in
install) shift ;;
-h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
*)
    echo "usage: scripts/bench.sh install [--judge] [--record]" >&2
    exit 2
    ;;
esac
for argument in "$@"; do
    case $argument in
    --judge | --record) ;;
    *)
        echo "error: unknown argument: $argument" >&2
        exit 2
        ;;
    esac
done
if [ -z "${PLUGBAY_BIN:-}" ]; then cargo build --release --locked --bin plugbay >&2; fi
exec python3 benches/install.py "$@"
