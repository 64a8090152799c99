#!/usr/bin/env bash
# Tests a running service against its own OpenAPI document with generated requests.
#
#   scripts/schemathesis.sh URL TOKEN
#   scripts/schemathesis.sh http://127.0.0.1:8000 "$(cat data/admin.token)"
#
# A finding is an answer 500, a status, content type or body that the document does not declare, or
# a request without an answer. 502, 503, 504 and 507 have meanings of their own (a plugin's fault, an
# engine that is away, a full disk): they are findings only where the document does not declare them.
# The service is changed by the run: give it a data directory to throw away and a token with scope
# admin. At most five minutes; seed and version are fixed, so the same service gets the same requests.
#
# Not called: what streams without end (events, logs, execute), and DELETE of a token, which would
# soon end the run's own.
#
# Exit code: 0 no finding, 1 findings (printed), 2 wrong usage, a service that is not there or a
# tool that cannot be installed.
set -euo pipefail

version=4.32.5
# It makes the requests, so they depend on its version too.
hypothesis=6.170.15
seed=20261120
examples=150
# For the requests alone; the installation and the stop are beside it.
seconds=540

if [ $# -ne 2 ]; then
    echo "usage: scripts/schemathesis.sh URL TOKEN" >&2
    exit 2
fi
url=${1%/}
token=$2

root=$(cd "$(dirname "$0")/.." && pwd)
venv=$root/target/venvs/schemathesis-$version
run=$root/target/schemathesis
# Made last, so that an interrupted installation is done again.
if [ ! -e "$venv/installed" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv" || exit 2
    "$venv/bin/pip" install --quiet --disable-pip-version-check \
        "schemathesis==$version" "hypothesis==$hypothesis" || exit 2
    touch "$venv/installed"
fi

# An own folder, because the tool writes to the current one and reads a configuration from it.
rm -rf "$run"
mkdir -p "$run"
cd "$run"
cat >schemathesis.toml <<'END'
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "502", "503", "504", "507"]
END

if ! python3 - "$url/api/openapi.json" <<'END'; then
import json, sys, urllib.request
try:
    with urllib.request.urlopen(sys.argv[1], timeout=10) as answer:
        version = json.load(answer)["openapi"]
except (OSError, ValueError, KeyError, TypeError) as error:
    sys.exit(f"{sys.argv[1]}: {error or type(error).__name__}")
if not version.startswith("3.1"):
    sys.exit(f"{sys.argv[1]}: expected OpenAPI 3.1, found {version}")
END
    exit 2
fi

# One expression over "METHOD PATH": what matches only one of several filters is not excluded.
excluded='( /api/events|/execute|/logs|^DELETE /api/tokens/\{[^}]+\})$'

code=0
timeout --signal=INT --kill-after=20 "$seconds" \
    "$venv/bin/schemathesis" run "$url/api/openapi.json" \
    --header "Authorization: Bearer $token" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --phases examples,coverage,fuzzing \
    --exclude-name-regex "$excluded" \
    --max-examples "$examples" \
    --seed "$seed" \
    --generation-database none \
    --request-timeout 15 \
    --continue-on-failure \
    --suppress-health-check all \
    --warnings off \
    --no-color || code=$?

case $code in
0 | 1) exit "$code" ;;
124 | 137)
    echo "schemathesis did not finish within $seconds seconds" >&2
    exit 1
    ;;
*)
    echo "schemathesis itself failed with exit code $code" >&2
    exit 1
    ;;
esac
