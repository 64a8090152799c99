#!/usr/bin/env bash
# Measures plugbay on this machine and shows the numbers beside their goals.
#
#   scripts/bench.sh install|call|chat|host|update|overload [--judge] [--record]
#
#   install   large archives, the memory they take, the start of the service
#   call      calls, starts and memory of running plugins beside their floors, and a column per engine; needs Docker
#   chat      a real model server by way of plugbay and plugins, beside the same asked directly; needs Docker
#   host      what plugins ask of the service, and downloads on their way out; needs Docker
#   update    a plugin that is updated twenty times while it is called all the time; needs Docker
#   overload  a plugin that gets ten times what it can take, and another one beside it; needs Docker
#
# Builds the release binary first; PLUGBAY_BIN names another. --judge: exit code 1 if a goal is missed. --record: also
# write the table into benches/RESULTS.md.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/docker.sh
. scripts/lib/docker.sh
# shellcheck source=scripts/lib/bubblewrap.sh
. scripts/lib/bubblewrap.sh

what=${1:-}
case $what in
install | call | chat | host | update | overload) shift ;;
-h | --help) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 0 ;;
*)
    echo "usage: scripts/bench.sh install|call|chat|host|update|overload [--judge] [--record]" >&2
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
if [ "$what" != install ]; then
    ensure_docker yes >&2
    docker/python/build.sh >&2
fi
if [ "$what" = call ]; then
    # Without it, or without root, the table has no column for the process engine.
    ensure_bubblewrap yes >&2 || true
fi
case $what in call | update | overload) cargo build --release --locked --example load >&2 ;; esac
if [ -z "${PLUGBAY_BIN:-}" ]; then cargo build --release --locked --bin plugbay >&2; fi
exec python3 -B "benches/$what.py" "$@"
