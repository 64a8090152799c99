#!/usr/bin/env bash
# Kills the service at random moments of its work and checks what is left.
#
#   scripts/chaos.sh install RUNS [--seed SEED] [--keep]
#
# Uses target/release/plugbay or target/debug/plugbay, whichever is newer; PLUGBAY_BIN names another. Progress goes to
# stderr, one JSON line to stdout. Exit code: 0 nothing found, 1 findings, 2 wrong usage.
set -euo pipefail
exec python3 "$(dirname "$0")/chaos.py" "$@"
