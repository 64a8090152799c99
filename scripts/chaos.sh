#!/usr/bin/env bash
# Kills things at random moments and checks what is left.
#
#   scripts/chaos.sh install KILLS [--seed SEED] [--keep]
#   scripts/chaos.sh calls SECONDS [--every S] [--seed SEED] [--keep]
#
#   install  kills the service while it installs, updates and uninstalls; everything must be there wholly or not at all
#   calls    calls six enabled plugins all the time. One of them is killed every S seconds (30), another plugin every two
#            seconds; thirty callers per second hang up in the middle, twenty read a byte per second. The six must
#            answer in 99.9 % of the time. Then the service itself is killed three times: every plugin must answer within
#            ten seconds, which is not part of the share. Needs Docker, or bubblewrap
#
# Uses target/release/plugbay or target/debug/plugbay, whichever is newer; PLUGBAY_BIN names another. Progress goes to
# stderr, one JSON line to stdout. Exit code: 0 nothing found, 1 findings, 2 wrong usage.
set -euo pipefail
exec python3 "$(dirname "$0")/chaos.py" "$@"
